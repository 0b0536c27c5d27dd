//! Everything about who may do what, put together: one value to hand to the server's
//! configuration, and the work it does beside the server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use orlop_base::backoff::Backoff;
use orlop_client::Client;
use orlop_client::transport::UserInfo;
use orlop_store::Store;

use crate::authn::{Authentication, TokenFile, trust};
use crate::authz::{Authorization, Escalation, NodeRestriction, aggregation, bootstrap};
use crate::connect::{self, Connections};
use crate::health::Check;
use crate::pki::{Pki, PkiError};
use crate::review::{self, Reviews};
use crate::token::{Issuer, IssuerConfig, discovery};
use crate::{Server, ServerConfig};

/// What an operator may choose.
#[derive(Debug)]
pub struct SecurityConfig {
    pub issuer: IssuerConfig,
    pub token_file: Option<TokenFile>,
    /// `--anonymous-auth`.
    pub anonymous: bool,
}

impl Default for SecurityConfig {
    fn default() -> Self {
        Self { issuer: IssuerConfig::default(), token_file: None, anonymous: true }
    }
}

/// Keys, authentication, authorization, and what depends on them.
#[derive(Clone)]
pub struct Security {
    pki: Arc<Pki>,
    authentication: Arc<Authentication>,
    authorization: Authorization,
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
        let issuer = Arc::new(Issuer::new(config.issuer, pki.service_account_key().clone(), store));
        let mut authentication = Authentication::new(pki.client_verifiers()?, issuer);
        if let Some(file) = config.token_file {
            authentication = authentication.with_token_file(file);
        }
        if !config.anonymous {
            authentication = authentication.without_anonymous();
        }
        Ok(Self {
            authentication: Arc::new(authentication),
            authorization: Authorization::new(store),
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

    /// Renews certificates, makes the default policy, keeps gathered rules current and tells extension
    /// API servers how to recognize callers, for as long as it is polled.
    pub async fn run(&self, server: &Arc<Server>) {
        tokio::join!(self.pki.run(), self.keep_policy(server), self.keep_trust(server));
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
        if let Err(error) = trust::run(&self.store, &client, &self.pki).await {
            tracing::debug!(%error, "publishing how callers are recognized ended");
        }
    }

    /// Brings the default policy about once; readiness waits for it.
    pub async fn make_policy(&self, server: &Arc<Server>) -> Result<(), bootstrap::BootstrapError> {
        bootstrap::ensure(&client(server, "system:apiserver", &[crate::authz::MASTERS])).await?;
        self.policy_ready.store(true, Ordering::Release);
        Ok(())
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
