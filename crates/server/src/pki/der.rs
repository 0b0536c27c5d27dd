//! The few DER structures that no library at hand writes.

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const NULL: u8 = 0x05;
const OID: u8 = 0x06;
const SEQUENCE: u8 = 0x30;

/// 1.2.840.113549.1.1.1
const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
/// 1.2.840.10045.2.1
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
/// 1.2.840.10045.3.1.7
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// 1.3.132.0.34
const P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];

fn value(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = vec![tag];
    if length < 128 {
        out.push(length as u8);
    } else {
        let bytes = length.to_be_bytes();
        let skip = bytes.iter().take_while(|byte| **byte == 0).count();
        out.push(0x80 | (bytes.len() - skip) as u8);
        out.extend_from_slice(&bytes[skip..]);
    }
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

fn rsa_algorithm() -> Vec<u8> {
    value(SEQUENCE, &[&value(OID, &[RSA_ENCRYPTION]), &value(NULL, &[])])
}

fn p256_algorithm() -> Vec<u8> {
    value(SEQUENCE, &[&value(OID, &[EC_PUBLIC_KEY]), &value(OID, &[P256])])
}

fn p384_algorithm() -> Vec<u8> {
    value(SEQUENCE, &[&value(OID, &[EC_PUBLIC_KEY]), &value(OID, &[P384])])
}

/// PKCS #8 around a PKCS #1 RSA key ("RSA PRIVATE KEY", what kubeadm writes).
pub(super) fn pkcs8_from_pkcs1(key: &[u8]) -> Vec<u8> {
    pkcs8(&rsa_algorithm(), key)
}

/// PKCS #8 around a SEC 1 P-256 key ("EC PRIVATE KEY", what Go writes).
pub(super) fn pkcs8_from_sec1(key: &[u8]) -> Vec<u8> {
    pkcs8(&p256_algorithm(), key)
}

fn pkcs8(algorithm: &[u8], key: &[u8]) -> Vec<u8> {
    value(SEQUENCE, &[&value(INTEGER, &[&[0]]), algorithm, &value(OCTET_STRING, &[key])])
}

/// SubjectPublicKeyInfo of an uncompressed P-256 point.
pub(super) fn p256_public_key_info(point: &[u8]) -> Vec<u8> {
    value(SEQUENCE, &[&p256_algorithm(), &value(BIT_STRING, &[&[0], point])])
}

/// The same of a P-384 point.
pub(super) fn p384_public_key_info(point: &[u8]) -> Vec<u8> {
    value(SEQUENCE, &[&p384_algorithm(), &value(BIT_STRING, &[&[0], point])])
}

/// SubjectPublicKeyInfo of a PKCS #1 RSA public key.
pub(super) fn rsa_public_key_info(key: &[u8]) -> Vec<u8> {
    value(SEQUENCE, &[&rsa_algorithm(), &value(BIT_STRING, &[&[0], key])])
}

pub(super) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    value(SEQUENCE, parts)
}

/// A BIT STRING of whole bytes.
pub(super) fn bits(bytes: &[u8]) -> Vec<u8> {
    value(BIT_STRING, &[&[0], bytes])
}

/// Tag and length of well-formed DER, in bytes, and the length that they tell.
fn header(der: &[u8]) -> (usize, usize) {
    let first = usize::from(der[1]);
    if first < 128 {
        return (2, first);
    }
    let count = first - 128;
    (2 + count, der[2..2 + count].iter().fold(0, |length, byte| length << 8 | usize::from(*byte)))
}

/// What is in the value that well-formed DER begins with.
pub(super) fn content(der: &[u8]) -> &[u8] {
    let (skip, length) = header(der);
    &der[skip..skip + length]
}

/// What comes after the value that well-formed DER begins with.
pub(super) fn after_first(der: &[u8]) -> &[u8] {
    let (skip, length) = header(der);
    &der[skip + length..]
}
