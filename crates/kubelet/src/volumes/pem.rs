//! Certificates as text: what is written is only ever certificates, whatever stood between and around
//! them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// RFC 7468, section 2.
const LINE: usize = 64;

/// The certificates of a text, in order, up to the first that cannot be read.
pub fn certificates(text: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(text.as_bytes()).map_while(Result::ok).collect()
}

pub fn encode<'a>(certificates: impl IntoIterator<Item = &'a CertificateDer<'static>>) -> String {
    let mut text = String::new();
    for certificate in certificates {
        let body = STANDARD.encode(certificate);
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        for line in body.as_bytes().chunks(LINE) {
            text.extend(line.iter().copied().map(char::from));
            text.push('\n');
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_certificates_remain() {
        let body = STANDARD.encode([7; 60]);
        let (first, rest) = body.split_at(LINE);
        let block = format!("-----BEGIN CERTIFICATE-----\n{first}\n{rest}\n-----END CERTIFICATE-----\n");
        let noise = format!("# a comment\n{block}between\n{block}after");
        assert_eq!(encode(&certificates(&noise)), format!("{block}{block}"));
    }
}
