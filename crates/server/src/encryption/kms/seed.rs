//! Keys that seal objects: one for each, derived from a seed, or the very key that an early version 2 kept
//! (`k8s.io/apiserver/pkg/storage/value/encrypt/aes/aes_extended_nonce.go`).

use ring::hmac;

use crate::encryption::cipher::{Cipher, TOO_SHORT, random};

/// Of a seed, of what is mixed into it, and of a derived key: what SHA-256 puts out.
pub const SEED_BYTES: usize = 32;
const INFO_BYTES: usize = 32;

pub enum DataKey {
    Seed(hmac::Key),
    Key(Box<Cipher>),
}

impl DataKey {
    pub fn new(plain: &[u8], derived: bool) -> Result<Self, String> {
        if !derived {
            return match plain.len() {
                16 | 24 | 32 => Ok(Self::Key(Box::new(Cipher::gcm(plain).ok_or("the key is of no use")?))),
                size => Err(format!("crypto/aes: invalid key size {size}")),
            };
        }
        if plain.len() < SEED_BYTES {
            return Err(format!("invalid seed length {} used for key generation", plain.len()));
        }
        Ok(Self::Seed(hmac::Key::new(hmac::HMAC_SHA256, plain)))
    }

    /// What goes into `EncryptedObject.encryptedData`. Only seeds seal: their keys are used once.
    pub fn seal(&self, plain: &[u8], authenticated: &[u8]) -> Vec<u8> {
        match self {
            Self::Key(cipher) => {
                let mut out = Vec::new();
                cipher.seal(plain, authenticated, &mut out);
                out
            }
            Self::Seed(seed) => {
                let info = random::<INFO_BYTES>();
                let mut out = info.to_vec();
                derive(seed, &info).seal(plain, authenticated, &mut out);
                out
            }
        }
    }

    pub fn open(&self, sealed: &[u8], authenticated: &[u8]) -> Result<Vec<u8>, String> {
        match self {
            Self::Key(cipher) => cipher.open(sealed, authenticated),
            Self::Seed(seed) => {
                let (info, sealed) = sealed.split_at_checked(INFO_BYTES).ok_or(TOO_SHORT)?;
                derive(seed, info).open(sealed, authenticated)
            }
        }
    }
}

/// HKDF-Expand, whose first block is all that a key takes (RFC 5869, 2.3).
fn derive(seed: &hmac::Key, info: &[u8]) -> Cipher {
    let mut context = hmac::Context::with_key(seed);
    context.update(info);
    context.update(&[1]);
    Cipher::gcm(context.sign().as_ref()).expect("AES-256 takes 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_seed_seals_opens_again_and_never_looks_the_same() {
        let seed = DataKey::new(&[7; SEED_BYTES], true).expect("a seed");
        let (one, other) = (seed.seal(b"hush", b"/registry/a"), seed.seal(b"hush", b"/registry/a"));
        assert_ne!(one[..INFO_BYTES], other[..INFO_BYTES]);
        assert_eq!(seed.open(&one, b"/registry/a").as_deref(), Ok(&b"hush"[..]));
        assert_eq!(seed.open(&one, b"/registry/b"), Err("cipher: message authentication failed".into()));
        assert_eq!(seed.open(&one[..20], b""), Err(TOO_SHORT.into()));
        let short = DataKey::new(&[7; 31], true).err();
        assert_eq!(short.as_deref(), Some("invalid seed length 31 used for key generation"));
    }

    /// RFC 5869, test case 1: the first 32 bytes.
    #[test]
    fn keys_are_expanded_as_hkdf_does() {
        let hex = |text: &str| -> Vec<u8> {
            (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex")).collect()
        };
        let seed = hex("077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5");
        let okm = hex("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf");
        let info = hex("f0f1f2f3f4f5f6f7f8f9");
        let mut sealed = Vec::new();
        Cipher::gcm(&okm).expect("a key").seal(b"x", b"", &mut sealed);
        let derived = derive(&hmac::Key::new(hmac::HMAC_SHA256, &seed), &info);
        assert_eq!(derived.open(&sealed, b"").as_deref(), Ok(&b"x"[..]));
    }
}
