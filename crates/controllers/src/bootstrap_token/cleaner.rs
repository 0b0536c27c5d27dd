//! Tokens go when their time is over (`pkg/controller/bootstrap/tokencleaner.go`).

use jiff::Timestamp;
use orlop_api::typed::kinds::Secret;
use orlop_client::engine::{Controller, Grant, Key, Plan, Source, View, Write};

use super::{expiration, is_token};

pub fn controller() -> Controller {
    let secrets = Source::of::<Secret>(|delta, _, wake| {
        if is_token(delta.object()) {
            wake(Key::of(&**delta.object()));
        }
    });
    let mut grants = vec![Grant::new("", &["secrets"], &["delete"])];
    grants.extend(Grant::EVENTS);
    Controller::new("token-cleaner", "token_cleaner", vec![secrets], grants, decide)
}

fn decide(key: &Key, view: &View, now: Timestamp) -> Plan {
    let Some(secret) = view.subject::<Secret>(key).filter(|secret| is_token(secret)) else { return Plan::none() };
    match expiration(secret) {
        None => Plan::none(),
        Some(end) if end > now => Plan::wake_at(end),
        Some(_) => {
            let mut plan = Plan::none();
            plan.write(Write::delete(&**secret));
            plan
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::common::fixture::decide;

    pub const CONVERGED: &str = "
kind: Secret
metadata: {name: bootstrap-token-abcdef, namespace: kube-system}
type: bootstrap.kubernetes.io/token
";

    #[test]
    fn tokens_go_when_their_time_is_over() {
        let lines = |expiration: &str, ty: &str| {
            use base64::Engine as _;
            let expiration = base64::engine::general_purpose::STANDARD.encode(expiration);
            let world = CONVERGED.replace("bootstrap.kubernetes.io/token", ty);
            let world = format!("{world}data: {{expiration: {expiration}}}\n");
            decide(&controller(), "kube-system/bootstrap-token-abcdef", &world).lines()
        };
        let delete = ["delete secrets kube-system/bootstrap-token-abcdef"];
        assert_eq!(lines("2026-01-01T14:00:00+01:00", super::super::TYPE), ["wake 2026-01-01T13:00:00Z"]);
        assert_eq!(lines("2026-01-01T12:00:00Z", super::super::TYPE), delete);
        assert_eq!(lines("soon", super::super::TYPE), delete);
        assert!(lines("soon", "Opaque").is_empty());
    }
}
