//! Everything about who may do what, put together: one value to hand to the server's
//! configuration, and the work it does beside the server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use orlop_base::backoff::Backoff;
use orlop_client::Client;
use orlop_client::transport::UserInfo;
use orlop_store::Store;

use crate::admission::Choice;
use crate::authn::jwt::{Issuers, JwtReload};
use crate::authn::{
    Anonymous, Authentication, Authorities, AuthorityFile, BootstrapTokens, FrontProxy, RequestHeaders,
    TokenAuthenticator, TokenFile,
    trust::{self, Trust},
};
use crate::authz::{
    Authorization, ClaimStatus, Escalation, Link, Mode, NodeRestriction, Reload, aggregation, bootstrap,
};
use crate::connect::{self, Connections};
use crate::health::Check;
use crate::pki::{Pki, PkiError, SigningKey};
use crate::review::{self, Reviews};
use crate::token::{External, Issuer, IssuerConfig, discovery, tracking};
use crate::{Server, ServerConfig};

/// What an operator may choose.
pub struct SecurityConfig {
    pub issuer: IssuerConfig,
    /// Instead of the key we keep (`--service-account-signing-key-file`).
    pub signing_key: Option<Arc<SigningKey>>,
    /// Signs instead of any key of ours (`--service-account-signing-endpoint`).
    pub external_signer: Option<Arc<External>>,
    pub token_file: Option<TokenFile>,
    /// `--enable-bootstrap-token-auth`.
    pub bootstrap_tokens: bool,
    /// Who else knows bearers of tokens, in the order in which they are asked.
    pub token_authenticators: Vec<Arc<dyn TokenAuthenticator>>,
    /// OpenID issuers, and the file they are from.
    pub issuers: Option<(Issuers, Option<JwtReload>)>,
    pub request_headers: RequestHeaders,
    /// Who vouches for users besides our own authority (`--client-ca-file`).
    pub client_authorities: Option<AuthorityFile>,
    /// Who vouches for proxies besides our own authority (`--requestheader-client-ca-file`).
    pub proxy_authorities: Option<AuthorityFile>,
    pub anonymous: Anonymous,
    /// Who decides, in this order.
    pub chain: Vec<Link>,
    /// The file that the chain is from.
    pub reload: Option<Reload>,
    /// Which admission plugins run.
    pub admission: Choice,
}

impl Default for SecurityConfig {
    fn default() -> Self {
        Self {
            issuer: IssuerConfig::default(),
            signing_key: None,
            external_signer: None,
            token_file: None,
            bootstrap_tokens: false,
            token_authenticators: Vec::new(),
            issuers: None,
            request_headers: RequestHeaders::default(),
            client_authorities: None,
            proxy_authorities: None,
            anonymous: Anonymous::Everywhere,
            chain: vec![Link::of(Mode::Node), Link::of(Mode::Rbac)],
            reload: None,
            admission: Choice::default(),
        }
    }
}

/// Keys, authentication, authorization, and what depends on them.
#[derive(Clone)]
pub struct Security {
    pki: Arc<Pki>,
    authentication: Arc<Authentication>,
    authorization: Authorization,
    trust: Trust,
    /// Files that authorities are from: of users, of proxies.
    authority_files: Arc<[Option<AuthorityFile>; 2]>,
    reload: Option<Arc<Reload>>,
    issuers: Option<Arc<(Issuers, Option<JwtReload>)>>,
    admission: Arc<Choice>,
    connections: Connections,
    store: Store,
    /// The default policy stands.
    policy_ready: Arc<AtomicBool>,
}

/// Upstream's name of the check that waits for the default policy.
const POLICY_CHECK: &str = "poststarthook/rbac/bootstrap-roles";

/// Between tries to bring the default policy about.
const RETRY: Backoff = Backoff { initial: Duration::from_millis(100), max: Duration::from_secs(10) };

impl Security {
    pub fn new(store: &Store, pki: Arc<Pki>, config: SecurityConfig) -> Result<Self, PkiError> {
        let key = config.signing_key.unwrap_or_else(|| pki.service_account_key().clone());
        let issuer = Issuer::new(config.issuer, key, store);
        let issuer = Arc::new(match config.external_signer {
            Some(external) => issuer.with_external(external),
            None => issuer,
        });
        let files = [config.client_authorities, config.proxy_authorities];
        let trust = Trust {
            clients: Arc::new(Authorities::new(pki.cluster_ca(), files[0].as_ref())?),
            proxies: Arc::new(Authorities::new(pki.front_proxy_ca(), files[1].as_ref())?),
            headers: config.request_headers,
        };
        let jwt = config.issuers.iter().map(|(issuers, _)| Arc::new(issuers.clone()) as Arc<dyn TokenAuthenticator>);
        let others = jwt.chain(config.token_authenticators).collect();
        let mut authentication = Authentication::new(&pki, issuer)?
            .with_users_of(trust.clients.clone())
            .with_front_proxy(FrontProxy::new(trust.proxies.clone(), trust.headers.clone()))
            .with_others(others)
            .with_anonymous(config.anonymous);
        if let Some(file) = config.token_file {
            authentication = authentication.with_token_file(file);
        }
        if config.bootstrap_tokens {
            authentication = authentication.with_bootstrap_tokens(BootstrapTokens::new(store));
        }
        Ok(Self {
            authentication: Arc::new(authentication),
            authorization: Authorization::with_chain(store, config.chain),
            trust,
            authority_files: Arc::new(files),
            reload: config.reload.map(Arc::new),
            issuers: config.issuers.map(Arc::new),
            admission: Arc::new(config.admission),
            connections: Connections::new(store, &pki)?,
            pki,
            store: store.clone(),
            policy_ready: Arc::default(),
        })
    }

    /// A configuration of the server that these decide for.
    pub fn server_config(&self) -> ServerConfig {
        let mut config = ServerConfig::new(self.store.clone(), Arc::new(self.authorization.clone()));
        config.authenticators.push(self.authentication.clone());
        config.front_proxy = Some(self.pki.front_proxy_client.clone());
        let reviews =
            Reviews { authentication: self.authentication.clone(), authorization: self.authorization.clone() };
        config.extensions.extend(review::extensions(&reviews));
        config.extensions.extend(connect::extensions(&self.connections));
        config.admission.push(Arc::new(NodeRestriction::new(&self.store, &self.authorization)));
        config.admission.push(Arc::new(Escalation(self.authorization.clone())));
        config.admission.push(Arc::new(ClaimStatus));
        config.admission.extend(self.admission.plugins.iter().cloned());
        config.disabled_admission.clone_from(&self.admission.disabled);
        let ready = self.policy_ready.clone();
        config.health_checks.push(Check::new(POLICY_CHECK, move |_| {
            if ready.load(Ordering::Acquire) { Ok(()) } else { Err("not finished".to_owned()) }
        }));
        config
    }

    /// Serves discovery of the token issuer; `address` is `host:port` as verifiers reach us.
    pub fn serve_discovery(&self, config: &mut ServerConfig, address: String) {
        let issuer = self.authentication.issuer().clone();
        config.paths.push(Arc::new(move |head| discovery::answer(head.uri.path(), &issuer, &address)));
    }

    /// Renews certificates, makes the default policy, keeps gathered rules current, tells extension API servers
    /// how to recognize callers, notes which tokens are used and follows configuration files, for as long as it is
    /// polled.
    pub async fn run(&self, server: &Arc<Server>) {
        tokio::join!(
            self.pki.run(),
            self.keep_policy(server),
            self.keep_trust(server),
            self.track_tokens(server),
            self.authentication.issuer().follow_keys(),
            self.follow_files()
        );
    }

    async fn follow_files(&self) {
        let chain = async {
            if let Some(reload) = &self.reload {
                reload.run(&self.authorization).await;
            }
        };
        let issuers = async {
            if let Some((issuers, Some(reload))) = self.issuers.as_deref() {
                reload.run(issuers).await;
            }
        };
        let [clients, proxies] = &*self.authority_files;
        let authorities = async {
            tokio::join!(
                follow_authorities(clients.as_ref(), &self.trust.clients),
                follow_authorities(proxies.as_ref(), &self.trust.proxies)
            )
        };
        tokio::join!(chain, issuers, authorities);
    }

    async fn track_tokens(&self, server: &Arc<Server>) {
        let client = client(server, "system:apiserver", &[crate::authz::MASTERS]);
        let uses = self.authentication.issuer().take_uses();
        if let Err(error) = tracking::run(&self.store, &client, uses).await {
            tracing::debug!(%error, "tracking the use of tokens ended");
        }
    }

    async fn keep_policy(&self, server: &Arc<Server>) {
        let mut failures = 0;
        while let Err(error) = self.make_policy(server).await {
            tracing::error!(error = orlop_base::error::chain(&error), "making the default policy failed");
            failures += 1;
            tokio::time::sleep(RETRY.delay(failures)).await;
        }
        let client = client(
            server,
            &format!("system:serviceaccount:kube-system:{}", aggregation::NAME),
            &["system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated"],
        );
        if let Err(error) = aggregation::run(&self.store, &client).await {
            tracing::debug!(%error, "aggregation of rules ended");
        }
    }

    async fn keep_trust(&self, server: &Arc<Server>) {
        let client = client(server, "system:apiserver", &[crate::authz::MASTERS]);
        if let Err(error) = trust::run(&self.store, &client, &self.trust).await {
            tracing::debug!(%error, "publishing how callers are recognized ended");
        }
    }

    /// Brings the default policy about once; readiness waits for it.
    pub async fn make_policy(&self, server: &Arc<Server>) -> Result<(), bootstrap::BootstrapError> {
        let client = client(server, "system:apiserver", &[crate::authz::MASTERS]);
        self.admission.provisioner.set(client.clone());
        bootstrap::ensure(&client).await?;
        self.policy_ready.store(true, Ordering::Release);
        Ok(())
    }

    /// For the API server's listener.
    pub fn tls(&self) -> Result<Arc<rustls::ServerConfig>, PkiError> {
        match &*self.authority_files {
            [None, None] => self.pki.server_config(),
            _ => self.pki.open_server_config(),
        }
    }

    pub fn pki(&self) -> &Arc<Pki> {
        &self.pki
    }

    pub fn authentication(&self) -> &Arc<Authentication> {
        &self.authentication
    }

    pub fn authorization(&self) -> &Authorization {
        &self.authorization
    }
}

async fn follow_authorities(file: Option<&AuthorityFile>, authorities: &Authorities) {
    if let Some(file) = file {
        file.run(authorities).await;
    }
}

fn client(server: &Arc<Server>, user: &str, groups: &[&str]) -> Client {
    let groups = groups.iter().map(|group| (*group).to_owned()).collect();
    let user = UserInfo { name: user.into(), groups, ..UserInfo::default() };
    let agent = match user.name.rsplit(':').next().unwrap_or_default() {
        // It goes by the name of its program.
        "apiserver" => "kube-apiserver".to_owned(),
        controller => controller.to_owned(),
    };
    Client::new(server.component(user), &agent)
}
