//! A certificate in use, kept fresh.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use orlop_base::clock;
use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, SanType};
use rustls::client::ResolvesClientCert;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::sync::Notify;
use x509_parser::extensions::GeneralName;

use super::authority::{self, Authority};
use super::{PkiError, files, keys, tls};

/// As kubeadm: a year, so that a machine that slept through a quarter finds valid ones.
const VALIDITY: Duration = Duration::from_hours(365 * 24);

/// How far before now a certificate starts to be valid, for peers whose clock is behind.
const BACKDATE: Duration = Duration::from_hours(1);

/// Renewed when this share of the validity is left: 73 days, to give many failures their retry.
const RENEW_SHARE: i64 = 5;

/// What a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    Client,
    Server,
}

/// What a certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The user, for clients.
    pub common_name: String,
    /// The group, for clients; empty for none.
    pub organization: String,
    pub names: BTreeSet<String>,
    pub addresses: BTreeSet<IpAddr>,
    pub usage: Usage,
}

impl Profile {
    pub fn client(user: &str, group: &str) -> Self {
        Self {
            common_name: user.to_owned(),
            organization: group.to_owned(),
            names: BTreeSet::new(),
            addresses: BTreeSet::new(),
            usage: Usage::Client,
        }
    }
}

/// A certificate chain and its key, in the form TLS uses and in the form files have.
#[derive(Clone, Debug)]
pub struct Identity {
    pub key: Arc<CertifiedKey>,
    pub certificate_pem: String,
    pub key_pem: String,
}

/// One certificate of ours: `<path>.crt` and `<path>.key`.
#[derive(Debug)]
pub struct Leaf {
    path: PathBuf,
    authority: Arc<Authority>,
    profile: Mutex<Profile>,
    current: ArcSwap<Identity>,
    /// Unix seconds.
    renew_at: AtomicI64,
    /// Rung when a handshake finds the time come.
    due: Arc<Notify>,
}

impl Leaf {
    /// Reads the files, or issues anew when they are missing, unfit or near their end.
    pub(super) fn open(
        path: PathBuf,
        authority: Arc<Authority>,
        profile: Profile,
        due: Arc<Notify>,
    ) -> Result<Arc<Self>, PkiError> {
        let (identity, renew_at) = match read(&path, &authority, &profile)? {
            Some((identity, renew_at)) if renew_at > clock::unix_seconds() => (identity, renew_at),
            _ => issue(&path, &authority, &profile)?,
        };
        let (current, renew_at) = (ArcSwap::from_pointee(identity), AtomicI64::new(renew_at));
        Ok(Arc::new(Self { path, authority, profile: Mutex::new(profile), current, renew_at, due }))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn identity(&self) -> Arc<Identity> {
        self.current.load_full()
    }

    /// Unix seconds from which on this certificate should be replaced.
    pub fn renew_at(&self) -> i64 {
        self.renew_at.load(Ordering::Relaxed)
    }

    /// Issues anew for other names and addresses, if they differ from those there are.
    pub fn set_names(&self, names: BTreeSet<String>, addresses: BTreeSet<IpAddr>) -> Result<bool, PkiError> {
        let mut profile = self.profile.lock().unwrap_or_else(PoisonError::into_inner);
        if profile.names == names && profile.addresses == addresses {
            return Ok(false);
        }
        let wanted = Profile { names, addresses, ..profile.clone() };
        self.replace(&wanted)?;
        *profile = wanted;
        Ok(true)
    }

    #[cfg(test)]
    pub(super) fn make_due(&self) {
        self.renew_at.store(0, Ordering::Relaxed);
    }

    /// Whether it was time, and done.
    pub(super) fn renew_if_due(&self) -> Result<bool, PkiError> {
        if clock::unix_seconds() < self.renew_at() {
            return Ok(false);
        }
        let profile = self.profile.lock().unwrap_or_else(PoisonError::into_inner);
        self.replace(&profile).map(|()| true)
    }

    fn replace(&self, profile: &Profile) -> Result<(), PkiError> {
        let (identity, renew_at) = issue(&self.path, &self.authority, profile)?;
        self.current.store(Arc::new(identity));
        self.renew_at.store(renew_at, Ordering::Relaxed);
        Ok(())
    }

    fn certified_key(&self) -> Arc<CertifiedKey> {
        if clock::unix_seconds() >= self.renew_at() {
            self.due.notify_one();
        }
        self.current.load().key.clone()
    }
}

impl ResolvesServerCert for Leaf {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.certified_key())
    }
}

impl ResolvesClientCert for Leaf {
    fn resolve(&self, _issuers: &[&[u8]], _schemes: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.certified_key())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

fn issue(path: &Path, authority: &Authority, profile: &Profile) -> Result<(Identity, i64), PkiError> {
    issue_at(path, authority, profile, clock::unix_seconds())
}

pub(super) fn issue_at(
    path: &Path,
    authority: &Authority,
    profile: &Profile,
    now: i64,
) -> Result<(Identity, i64), PkiError> {
    let failed = |error| authority::issue(format!("certificate {}", path.display()), error);
    let key = KeyPair::generate().map_err(failed)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    if !profile.organization.is_empty() {
        params.distinguished_name.push(DnType::OrganizationName, profile.organization.as_str());
    }
    params.distinguished_name.push(DnType::CommonName, profile.common_name.as_str());
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![match profile.usage {
        Usage::Client => ExtendedKeyUsagePurpose::ClientAuth,
        Usage::Server => ExtendedKeyUsagePurpose::ServerAuth,
    }];
    for name in &profile.names {
        params.subject_alt_names.push(SanType::DnsName(name.as_str().try_into().map_err(failed)?));
    }
    params.subject_alt_names.extend(profile.addresses.iter().copied().map(SanType::IpAddress));
    params.serial_number = Some(authority::serial_number());
    params.use_authority_key_identifier_extension = true;
    let end = now + VALIDITY.as_secs() as i64;
    authority::set_validity(&mut params, now - BACKDATE.as_secs() as i64, end);
    let certificate_pem = params.signed_by(&key, authority.issuer()?).map_err(failed)?.pem();
    let key_pem = key.serialize_pem();
    // The key first: a certificate without its key would be taken for a user's mistake.
    files::write(&path.with_extension("key"), key_pem.as_bytes(), files::PRIVATE)?;
    files::write(&path.with_extension("crt"), certificate_pem.as_bytes(), files::PUBLIC)?;
    let identity = load(path, certificate_pem, key_pem)?;
    Ok((identity, end - VALIDITY.as_secs() as i64 / RENEW_SHARE))
}

/// The files' identity and when to renew it; `None` when they are missing or do not fit.
fn read(path: &Path, authority: &Authority, profile: &Profile) -> Result<Option<(Identity, i64)>, PkiError> {
    let (Some(crt), Some(key)) = (files::read(&path.with_extension("crt"))?, files::read(&path.with_extension("key"))?)
    else {
        return Ok(None);
    };
    let identity = match load(path, crt, key) {
        Ok(identity) => identity,
        // Torn by a death between the two writes, or by hand: ours to make anew.
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "certificate is replaced");
            return Ok(None);
        }
    };
    let renew_at = identity.key.cert.first().and_then(|leaf| fit_until(leaf, authority, profile));
    Ok(renew_at.map(|renew_at| (identity, renew_at)))
}

/// When to renew the certificate, if it is what we would issue; 0 when it is not valid now.
fn fit_until(leaf: &[u8], authority: &Authority, profile: &Profile) -> Option<i64> {
    let (_, certificate) = x509_parser::parse_x509_certificate(leaf).ok()?;
    let subject = certificate.subject();
    let common_name = subject.iter_common_name().next()?.as_str().ok()?;
    let organization = subject.iter_organization().next().and_then(|o| o.as_str().ok()).unwrap_or_default();
    let (names, addresses) = alternative_names(&certificate)?;
    let same = common_name == profile.common_name
        && organization == profile.organization
        && profile.names.is_subset(&names)
        && profile.addresses.is_subset(&addresses)
        && authority.signed(&certificate);
    let (start, end) = (certificate.validity().not_before.timestamp(), certificate.validity().not_after.timestamp());
    let valid = start <= clock::unix_seconds();
    same.then_some(if valid { end - (end - start) / RENEW_SHARE } else { 0 })
}

fn alternative_names(
    certificate: &x509_parser::certificate::X509Certificate<'_>,
) -> Option<(BTreeSet<String>, BTreeSet<IpAddr>)> {
    let (mut names, mut addresses) = (BTreeSet::new(), BTreeSet::new());
    let extension = certificate.subject_alternative_name().ok()?;
    for name in extension.iter().flat_map(|extension| &extension.value.general_names) {
        match name {
            GeneralName::DNSName(name) => drop(names.insert((*name).to_owned())),
            GeneralName::IPAddress(bytes) => {
                let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
                addresses.extend(v4.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from)));
            }
            _ => {}
        }
    }
    Some((names, addresses))
}

fn load(path: &Path, certificate_pem: String, key_pem: String) -> Result<Identity, PkiError> {
    let chain = authority::certificates(&path.with_extension("crt"), &certificate_pem)?;
    let pkcs8 = keys::pkcs8_from_pem(&path.with_extension("key"), &key_pem)?;
    let key = tls::provider().key_provider.load_private_key(PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pkcs8)))?;
    let key = CertifiedKey::new(chain, key);
    key.keys_match()?;
    Ok(Identity { key: Arc::new(key), certificate_pem, key_pem })
}
