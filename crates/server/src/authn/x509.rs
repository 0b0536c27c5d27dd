//! Client certificates: the common name is the user, organizations are groups.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use orlop_base::clock;
use orlop_client::transport::UserInfo;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;

use super::metrics::METRICS;
use super::{Authorities, Refused};
use crate::auth::Peer;

pub(super) struct Certificates {
    authorities: Arc<Authorities>,
    /// By leaf: verifying a chain costs a tenth of a millisecond, and every request would pay.
    known: Mutex<HashMap<Vec<u8>, Known>>,
}

#[derive(Clone)]
struct Known {
    user: UserInfo,
    /// Unix seconds.
    not_after: i64,
    /// Of the authorities that vouched for it.
    generation: u64,
}

/// Certificates remembered; all are forgotten at once beyond it.
const MAX_KNOWN: usize = 4096;

/// A certificate's user id (`AllowParsingUserUIDFromCertAuth`).
const UID_OID: &str = "1.3.6.1.4.1.57683.2";

impl Certificates {
    pub fn new(authorities: Arc<Authorities>) -> Self {
        Self { authorities, known: Mutex::default() }
    }

    pub fn identify(&self, peer: &Peer) -> Result<Option<UserInfo>, Refused> {
        let Some((leaf, _)) = peer.certificates.split_first() else { return Ok(None) };
        let (now, generation) = (clock::unix_seconds(), self.authorities.generation());
        let holds = |known: &&Known| now <= known.not_after && known.generation == generation;
        if let Some(known) = self.lock().get(leaf).filter(holds) {
            METRICS.certificate(known.not_after - now);
            return Ok(Some(known.user.clone()));
        }
        verify(&self.authorities.verifier(), peer)?;
        let Some(known) = read(leaf) else { return Ok(None) };
        METRICS.certificate(known.not_after - now);
        let known = Known { generation, ..known };
        let mut all = self.lock();
        if all.len() >= MAX_KNOWN {
            all.clear();
        }
        all.insert(leaf.clone(), known.clone());
        Ok(Some(known.user))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Vec<u8>, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the peer's chain leads to an authority of the verifier's.
pub(super) fn verify(verifier: &Arc<dyn ClientCertVerifier>, peer: &Peer) -> Result<(), Refused> {
    let Some((leaf, rest)) = peer.certificates.split_first() else { return Err(Refused) };
    let leaf = CertificateDer::from(leaf.as_slice());
    let rest: Vec<CertificateDer<'_>> = rest.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
    let now = UnixTime::since_unix_epoch(Duration::from_secs(clock::unix_seconds().max(0) as u64));
    verifier.verify_client_cert(&leaf, &rest, now).map(drop).map_err(|error| {
        tracing::debug!(%error, peer = ?peer.address, "client certificate refused");
        Refused
    })
}

/// `None` for a certificate without a name.
fn read(leaf: &[u8]) -> Option<Known> {
    let (_, certificate) = x509_parser::parse_x509_certificate(leaf).ok()?;
    let subject = certificate.subject();
    let name = subject.iter_common_name().next()?.as_str().ok().filter(|name| !name.is_empty())?;
    let groups = subject.iter_organization().filter_map(|group| group.as_str().ok()).map(str::to_owned);
    let uid = subject.iter_attributes().find(|attribute| attribute.attr_type().to_id_string() == UID_OID);
    let uid = uid.and_then(|attribute| attribute.as_str().ok()).unwrap_or_default();
    let digest = ring::digest::digest(&ring::digest::SHA256, leaf);
    let digest = digest.as_ref().iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    let user = UserInfo {
        name: name.into(),
        uid: uid.into(),
        groups: groups.collect(),
        extra: vec![("authentication.kubernetes.io/credential-id".into(), vec![format!("X509SHA256={digest}")])],
    };
    Some(Known { user, not_after: certificate.validity().not_after.timestamp(), generation: 0 })
}

/// Whom a certificate names, whoever signed it.
pub fn user_of(leaf: &[u8]) -> Option<UserInfo> {
    read(leaf).map(|known| known.user)
}

/// The common name of the peer's certificate.
pub(super) fn common_name(peer: &Peer) -> Option<String> {
    user_of(peer.certificates.first()?).map(|user| user.name)
}
