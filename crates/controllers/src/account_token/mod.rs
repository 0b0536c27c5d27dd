//! Secrets of type `kubernetes.io/service-account-token`: those that somebody made get their token, those of an
//! account that is gone go with it (`pkg/controller/serviceaccount/tokens_controller.go`).

pub mod cleaner;

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use orlop_api::typed::Typed;
use orlop_api::typed::k8s_openapi::ByteString;
use orlop_api::typed::kinds::{Secret, ServiceAccount};
use orlop_client::cache::Index;
use orlop_client::engine::{Controller, Grant, Key, Plan, Source, View, Write};
use orlop_client::{Client, Result};
use serde_json::{Value, json};

use crate::list::MANAGER;

const TYPE: &str = "kubernetes.io/service-account-token";
const ACCOUNT_NAME: &str = "kubernetes.io/service-account.name";
const ACCOUNT_UID: &str = "kubernetes.io/service-account.uid";
const ROOT_CA: &str = "ca.crt";
const NAMESPACE: &str = "namespace";
const TOKEN: &str = "token";

/// Who signs tokens that never expire.
const ISSUER: &str = "kubernetes/serviceaccount";

const OF_ACCOUNT: Index<Secret> = Index { name: "account", values: accounts };

/// Makes a token of its claims.
#[derive(Clone)]
pub struct TokenSigner(Arc<dyn Fn(&Value) -> String + Send + Sync>);

impl TokenSigner {
    pub fn new(sign: impl Fn(&Value) -> String + Send + Sync + 'static) -> Self {
        Self(Arc::new(sign))
    }
}

impl fmt::Debug for TokenSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSigner")
    }
}

pub fn controller(signer: TokenSigner, root_ca: String) -> Controller {
    let secrets = Source::indexed::<Secret>(vec![OF_ACCOUNT], |delta, _, wake| {
        if is_token(delta.object()) {
            wake(Key::of(&**delta.object()));
        }
    });
    let accounts = Source::of::<ServiceAccount>(|delta, view, wake| {
        let account = delta.object();
        let key = Key::of(&**account);
        view.of::<Secret>().indexed(OF_ACCOUNT.name, key.as_str()).for_each(|secret| wake(Key::of(&**secret)));
    });
    let grants = vec![
        Grant::new("", &["secrets"], &["delete", "update"]),
        Grant::new("", &["serviceaccounts"], &["get", "update"]),
    ];
    let decide = move |key: &Key, view: &View, _: Timestamp| decide(key, view, &root_ca);
    let mut controller =
        Controller::new(MANAGER, "serviceaccount_tokens_secret", vec![secrets, accounts], grants, decide);
    controller.look = Some(Box::new(move |client, key, view| {
        let signer = signer.clone();
        Box::pin(async move { look(&client, &signer, &key, view).await })
    }));
    controller
}

fn is_token(secret: &Secret) -> bool {
    secret.type_.as_deref() == Some(TYPE)
}

fn annotation<'a>(secret: &'a Secret, key: &str) -> &'a str {
    let value = secret.metadata.annotations.as_ref().and_then(|all| all.get(key));
    value.map(String::as_str).unwrap_or_default()
}

fn accounts(secret: &Secret) -> Vec<String> {
    let name = annotation(secret, ACCOUNT_NAME);
    let names = is_token(secret) && !name.is_empty();
    names.then(|| Key::new(secret.namespace(), name).as_str().to_owned()).into_iter().collect()
}

fn data<'a>(secret: &'a Secret, key: &str) -> &'a [u8] {
    secret.data.as_ref().and_then(|data| data.get(key)).map(|value| &*value.0).unwrap_or_default()
}

fn is_of(account: &ServiceAccount, secret: &Secret) -> bool {
    let uid = annotation(secret, ACCOUNT_UID);
    uid.is_empty() || Typed::uid(account) == uid
}

fn refers_to(account: &ServiceAccount, secret: &str) -> bool {
    account.secrets.iter().flatten().any(|reference| reference.name.as_deref() == Some(secret))
}

/// The account of a secret, as the server itself knows it, and a token for it where it has none.
#[derive(Clone, Debug)]
struct Facts {
    account: Option<Arc<ServiceAccount>>,
    token: Option<String>,
}

/// A cache may not know an account yet: that would cost its secrets. And signing is chance, which no decision does.
async fn look(client: &Client, signer: &TokenSigner, key: &Key, view: View) -> Result<View> {
    let Some(secret) = view.subject::<Secret>(key).filter(|secret| is_token(secret)).cloned() else { return Ok(view) };
    let name = annotation(&secret, ACCOUNT_NAME);
    if name.is_empty() {
        return Ok(view);
    }
    let known = view.of::<ServiceAccount>().get(key.namespace(), name).filter(|account| is_of(account, &secret));
    let account = match known {
        Some(account) => Some(account.clone()),
        None => client.api::<ServiceAccount>(key.namespace()).get_opt(name).await?.map(Arc::new),
    };
    let account = account.filter(|account| is_of(account, &secret));
    let lacking = account.as_ref().filter(|_| data(&secret, TOKEN).is_empty());
    let token = lacking.map(|account| (signer.0)(&claims(account, secret.name())));
    Ok(view.with(Facts { account, token }))
}

fn claims(account: &ServiceAccount, secret: &str) -> Value {
    let (namespace, name) = (account.namespace(), account.name());
    json!({
        "iss": ISSUER,
        "kubernetes.io/serviceaccount/namespace": namespace,
        "kubernetes.io/serviceaccount/secret.name": secret,
        "kubernetes.io/serviceaccount/service-account.name": name,
        "kubernetes.io/serviceaccount/service-account.uid": Typed::uid(account),
        "sub": format!("system:serviceaccount:{namespace}:{name}"),
    })
}

fn decide(key: &Key, view: &View, root_ca: &str) -> Plan {
    let mut plan = Plan::none();
    let Some(secret) = view.subject::<Secret>(key) else {
        let accounts = view.of::<ServiceAccount>().namespace(key.namespace());
        for account in accounts.filter(|account| refers_to(account, key.name())) {
            let mut account = (**account).clone();
            account.secrets.iter_mut().for_each(|all| all.retain(|one| one.name.as_deref() != Some(key.name())));
            plan.write(Write::update(&account).gone_is_fine());
        }
        return plan;
    };
    let Some(facts) = view.facts::<Facts>() else { return plan };
    match &facts.account {
        None => plan.write(Write::delete(&**secret)),
        Some(account) => {
            if let Some(secret) = filled(secret, account, facts.token.as_deref(), root_ca) {
                plan.write(Write::update(&secret));
            }
        }
    }
    plan
}

/// The secret with everything it lacks; `None` when it lacks nothing.
fn filled(secret: &Secret, account: &ServiceAccount, token: Option<&str>, root_ca: &str) -> Option<Secret> {
    let mut filled = secret.clone();
    let entries = filled.data.get_or_insert_default();
    if data(secret, ROOT_CA) != root_ca.as_bytes() {
        entries.insert(ROOT_CA.into(), ByteString(root_ca.as_bytes().to_vec()));
    }
    if data(secret, NAMESPACE).is_empty() {
        entries.insert(NAMESPACE.into(), ByteString(secret.namespace().as_bytes().to_vec()));
    }
    if let Some(token) = token.filter(|_| data(secret, TOKEN).is_empty()) {
        entries.insert(TOKEN.into(), ByteString(token.as_bytes().to_vec()));
    }
    if filled.data == secret.data {
        return None;
    }
    let annotations = filled.metadata.annotations.get_or_insert_default();
    annotations.insert(ACCOUNT_NAME.into(), account.name().into());
    annotations.insert(ACCOUNT_UID.into(), Typed::uid(account).into());
    Some(filled)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::common::fixture::{body, decide_view, objects};

    pub const CONVERGED: &str = "
kind: ServiceAccount
metadata: {name: sa}
---
kind: Secret
metadata: {name: t, annotations: {kubernetes.io/service-account.name: sa, kubernetes.io/service-account.uid: sa}}
type: kubernetes.io/service-account-token
data: {ca.crt: UEVN, namespace: ZA==, token: eA==}
";

    fn plan(key: &str, world: &str, account: Option<&str>) -> Plan {
        let controller = controller(TokenSigner::new(|_| String::new()), "PEM".to_owned());
        let mut view = controller.view_of(&objects(world));
        let found = account.and_then(|name| view.of::<ServiceAccount>().get("d", name).cloned());
        if view.subject::<Secret>(&Key::new("d", "t")).is_some() {
            view.set(Facts { account: found, token: Some("signed".to_owned()) });
        }
        decide_view(&controller, key, &view)
    }

    #[test]
    fn secrets_are_filled_and_go_with_their_account() {
        let update = "update secrets d/t";
        assert!(plan("d/t", CONVERGED, Some("sa")).is_converged());
        let empty = CONVERGED.replace("data: {ca.crt: UEVN, namespace: ZA==, token: eA==}", "");
        let written = body(&plan("d/t", &empty, Some("sa")), update);
        assert_eq!(written["data"], json!({"ca.crt": "UEVN", "namespace": "ZA==", "token": "c2lnbmVk"}));
        let stale = CONVERGED.replace("UEVN", "b2xk").replace(", kubernetes.io/service-account.uid: sa", "");
        let written = body(&plan("d/t", &stale, Some("sa")), update);
        assert_eq!(written["data"], json!({"ca.crt": "UEVN", "namespace": "ZA==", "token": "eA=="}));
        assert_eq!(written["metadata"]["annotations"][ACCOUNT_UID], "sa");
        assert_eq!(plan("d/t", CONVERGED, None).lines(), ["delete secrets d/t"]);
    }

    #[test]
    fn accounts_forget_secrets_that_are_gone() {
        let world = "kind: ServiceAccount\nmetadata: {name: sa}\nsecrets: [{name: t}, {name: other}]";
        let written = body(&plan("d/t", world, None), "update serviceaccounts d/sa");
        assert_eq!(written["secrets"], json!([{"name": "other"}]));
        assert!(plan("d/u", world, None).is_converged());
    }

    #[test]
    fn claims_are_upstreams() {
        let account = &objects("kind: ServiceAccount\nmetadata: {name: sa}")[0];
        let account = ServiceAccount::decode(account.to_string().as_bytes()).unwrap();
        let claims = claims(&account, "t");
        assert_eq!(claims["sub"], "system:serviceaccount:d:sa");
        assert_eq!(claims["kubernetes.io/serviceaccount/service-account.uid"], "sa");
    }
}
