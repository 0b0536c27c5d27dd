//! Old requests go: an hour after their end, a day after nobody cared, and with their certificate.

use jiff::{SignedDuration, Timestamp};
use orlop_api::typed::kinds::CertificateSigningRequest;
use orlop_client::engine::{Controller, Grant, Key, Plan, Source, View, Write};

use super::{NAME, is_issued};

const SETTLED: SignedDuration = SignedDuration::from_hours(1);
const PENDING: SignedDuration = SignedDuration::from_hours(24);

pub fn controller() -> Controller {
    let grants = vec![Grant::new("certificates.k8s.io", &["certificatesigningrequests"], &["delete"])];
    let sources = vec![Source::subject::<CertificateSigningRequest>()];
    Controller::new(NAME, "csrcleaner", sources, grants, decide)
}

fn decide(key: &Key, view: &View, now: Timestamp) -> Plan {
    let Some(csr) = view.subject::<CertificateSigningRequest>(key) else { return Plan::none() };
    match end(csr) {
        None => Plan::none(),
        Some(end) if end > now => Plan::wake_at(end),
        Some(_) => {
            let mut plan = Plan::none();
            plan.write(Write::delete(&**csr).gone_is_fine());
            plan
        }
    }
}

/// When the request has had its time.
fn end(csr: &CertificateSigningRequest) -> Option<Timestamp> {
    let status = csr.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    if conditions.is_empty() {
        return csr.metadata.creation_timestamp.as_ref().map(|created| created.0 + PENDING);
    }
    let ends = conditions.iter().filter_map(|condition| {
        let since = condition.last_update_time.as_ref()?.0;
        match condition.type_.as_str() {
            "Approved" if !is_issued(csr) => Some(since + PENDING),
            "Approved" | "Denied" | "Failed" => Some(since + SETTLED),
            _ => None,
        }
    });
    let approved = conditions.iter().any(|condition| condition.type_ == "Approved");
    ends.chain(status.filter(|_| approved).and_then(|status| expiry(&status.certificate.as_ref()?.0))).min()
}

/// When a certificate in PEM ends.
fn expiry(pem: &[u8]) -> Option<Timestamp> {
    let (_, block) = x509_parser::pem::parse_x509_pem(pem).ok()?;
    let certificate = block.parse_x509().ok()?;
    Timestamp::from_second(certificate.validity().not_after.timestamp()).ok()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::common::fixture::decide;

    /// Made half a day ago, and nobody has cared yet.
    pub const CONVERGED: &str = super::super::approver::tests::CONVERGED;

    #[test]
    fn requests_go_when_their_time_is_over() {
        let lines = |status: &str| {
            decide(&controller(), "c", &format!("{}status: {{{status}}}\n", CONVERGED.trim_start())).lines()
        };
        let condition = |ty: &str, at: &str| {
            format!("conditions: [{{type: {ty}, status: 'True', lastUpdateTime: '2026-01-01T{at}Z'}}]")
        };
        assert_eq!(lines(""), ["wake 2026-01-02T00:00:00Z"]);
        assert_eq!(lines(&condition("Denied", "11:30:00")), ["wake 2026-01-01T12:30:00Z"]);
        assert_eq!(lines(&condition("Failed", "10:30:00")), ["delete certificatesigningrequests c"]);
        assert_eq!(lines(&condition("Approved", "10:30:00")), ["wake 2026-01-02T10:30:00Z"]);
        let issued = format!("certificate: eA==, {}", condition("Approved", "10:30:00"));
        assert_eq!(lines(&issued), ["delete certificatesigningrequests c"]);
    }
}
