//! The ciphers that upstream's providers use, and how each lays its output out
//! (`k8s.io/apiserver/pkg/storage/value/encrypt`).

use aes_gcm::aead::{AeadInOut, KeyInit, Nonce, Tag};
use aes_gcm::aes::cipher::array::typenum::U12;
use aes_gcm::aes::cipher::{Block, BlockCipherDecrypt, BlockCipherEncrypt};
use aes_gcm::aes::{Aes128, Aes192, Aes256};
use aes_gcm::{Aes128Gcm, Aes256Gcm, AesGcm};
use poly1305::Poly1305;
use ring::rand::{SecureRandom as _, SystemRandom};
use salsa20::XSalsa20;
use salsa20::cipher::{KeyIvInit as _, StreamCipher as _};

type Aes192Gcm = AesGcm<Aes192, U12>;

const GCM_NONCE: usize = 12;
const GCM_TAG: usize = 16;
const BLOCK: usize = 16;
const BOX_NONCE: usize = 24;
const BOX_TAG: usize = 16;
const BOX_KEY: usize = 32;

/// Go's words, which upstream's users know.
const NOT_AUTHENTIC: &str = "cipher: message authentication failed";
pub const TOO_SHORT: &str = "the stored data was shorter than the required size";

/// A cipher with its key.
pub enum Cipher {
    Gcm128(Box<Aes128Gcm>),
    Gcm192(Box<Aes192Gcm>),
    Gcm256(Box<Aes256Gcm>),
    Cbc128(Box<Aes128>),
    Cbc192(Box<Aes192>),
    Cbc256(Box<Aes256>),
    Secretbox(Box<[u8; BOX_KEY]>),
}

impl Cipher {
    /// Keys of 16, 24 or 32 bytes.
    pub fn gcm(key: &[u8]) -> Option<Self> {
        Some(match key.len() {
            16 => Self::Gcm128(Box::new(Aes128Gcm::new_from_slice(key).ok()?)),
            24 => Self::Gcm192(Box::new(Aes192Gcm::new_from_slice(key).ok()?)),
            _ => Self::Gcm256(Box::new(Aes256Gcm::new_from_slice(key).ok()?)),
        })
    }

    /// Keys of 16, 24 or 32 bytes.
    pub fn cbc(key: &[u8]) -> Option<Self> {
        Some(match key.len() {
            16 => Self::Cbc128(Box::new(Aes128::new_from_slice(key).ok()?)),
            24 => Self::Cbc192(Box::new(Aes192::new_from_slice(key).ok()?)),
            _ => Self::Cbc256(Box::new(Aes256::new_from_slice(key).ok()?)),
        })
    }

    /// Keys of 32 bytes.
    pub fn secretbox(key: &[u8]) -> Option<Self> {
        Some(Self::Secretbox(Box::new(key.try_into().ok()?)))
    }

    /// Appends what `plain` becomes. `authenticated` must be the same when it is opened; only GCM can tell.
    pub fn seal(&self, plain: &[u8], authenticated: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Gcm128(cipher) => seal_gcm(&**cipher, plain, authenticated, out),
            Self::Gcm192(cipher) => seal_gcm(&**cipher, plain, authenticated, out),
            Self::Gcm256(cipher) => seal_gcm(&**cipher, plain, authenticated, out),
            Self::Cbc128(cipher) => seal_cbc(&**cipher, plain, out),
            Self::Cbc192(cipher) => seal_cbc(&**cipher, plain, out),
            Self::Cbc256(cipher) => seal_cbc(&**cipher, plain, out),
            Self::Secretbox(key) => seal_box(key, plain, out),
        }
    }

    pub fn open(&self, sealed: &[u8], authenticated: &[u8]) -> Result<Vec<u8>, String> {
        match self {
            Self::Gcm128(cipher) => open_gcm(&**cipher, sealed, authenticated),
            Self::Gcm192(cipher) => open_gcm(&**cipher, sealed, authenticated),
            Self::Gcm256(cipher) => open_gcm(&**cipher, sealed, authenticated),
            Self::Cbc128(cipher) => open_cbc(&**cipher, sealed),
            Self::Cbc192(cipher) => open_cbc(&**cipher, sealed),
            Self::Cbc256(cipher) => open_cbc(&**cipher, sealed),
            Self::Secretbox(key) => open_box(key, sealed),
        }
    }
}

/// Bytes nobody can guess.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).expect("the kernel always has random bytes");
    bytes
}

/// nonce, ciphertext, tag
fn seal_gcm<C: AeadInOut>(cipher: &C, plain: &[u8], authenticated: &[u8], out: &mut Vec<u8>) {
    let nonce = random::<GCM_NONCE>();
    out.extend_from_slice(&nonce);
    let start = out.len();
    out.extend_from_slice(plain);
    let nonce = Nonce::<C>::try_from(&nonce[..]).expect("GCM's nonces have twelve bytes");
    let tag = cipher.encrypt_inout_detached(&nonce, authenticated, (&mut out[start..]).into());
    out.extend_from_slice(&tag.expect("objects are far from GCM's 64 GiB"));
}

fn open_gcm<C: AeadInOut>(cipher: &C, sealed: &[u8], authenticated: &[u8]) -> Result<Vec<u8>, String> {
    let (nonce, sealed) = sealed.split_at_checked(GCM_NONCE).ok_or(TOO_SHORT)?;
    let nonce = Nonce::<C>::try_from(nonce).map_err(|_| TOO_SHORT)?;
    let (sealed, tag) = sealed.split_at(sealed.len().checked_sub(GCM_TAG).ok_or(NOT_AUTHENTIC)?);
    let tag = Tag::<C>::try_from(tag).map_err(|_| NOT_AUTHENTIC)?;
    let mut plain = sealed.to_vec();
    let opened = cipher.decrypt_inout_detached(&nonce, authenticated, plain.as_mut_slice().into(), &tag);
    opened.map_err(|_| NOT_AUTHENTIC)?;
    Ok(plain)
}

/// first vector, ciphertext; the last block is filled up with the number of bytes it lacks
fn seal_cbc<C: BlockCipherEncrypt>(cipher: &C, plain: &[u8], out: &mut Vec<u8>) {
    let mut chain = random::<BLOCK>();
    out.extend_from_slice(&chain);
    let padding = BLOCK - plain.len() % BLOCK;
    let padded = plain.iter().copied().chain(std::iter::repeat_n(padding as u8, padding));
    let mut filled = 0;
    for byte in padded {
        chain[filled] ^= byte;
        filled += 1;
        if filled == BLOCK {
            let mut block = Block::<C>::try_from(&chain[..]).expect("AES has blocks of sixteen bytes");
            cipher.encrypt_block(&mut block);
            chain.copy_from_slice(&block);
            out.extend_from_slice(&chain);
            filled = 0;
        }
    }
}

fn open_cbc<C: BlockCipherDecrypt>(cipher: &C, sealed: &[u8]) -> Result<Vec<u8>, String> {
    let (first, sealed) = sealed.split_at_checked(BLOCK).ok_or(TOO_SHORT)?;
    if sealed.len() % BLOCK != 0 {
        return Err("the stored data is not a multiple of the block size".into());
    }
    let mut plain = Vec::with_capacity(sealed.len());
    let mut before = first;
    for chunk in sealed.chunks_exact(BLOCK) {
        let mut block = Block::<C>::try_from(chunk).map_err(|_| TOO_SHORT)?;
        cipher.decrypt_block(&mut block);
        plain.extend(block.iter().zip(before).map(|(byte, chain)| byte ^ chain));
        before = chunk;
    }
    let padding = plain.last().copied().map_or(0, usize::from);
    if padding == 0 || padding > plain.len() {
        return Err("invalid PKCS7 data (empty or not padded)".into());
    }
    let size = plain.len() - padding;
    if plain[size..].iter().any(|byte| usize::from(*byte) != padding) {
        return Err("invalid padding on input".into());
    }
    plain.truncate(size);
    Ok(plain)
}

/// nonce, tag, ciphertext; the key stream's first bytes are the tag's key
fn seal_box(key: &[u8; BOX_KEY], plain: &[u8], out: &mut Vec<u8>) {
    let nonce = random::<BOX_NONCE>();
    let (mut stream, authenticator) = open_stream(key, &nonce);
    out.extend_from_slice(&nonce);
    let tag_at = out.len();
    out.extend_from_slice(&[0; BOX_TAG]);
    let start = out.len();
    out.extend_from_slice(plain);
    stream.apply_keystream(&mut out[start..]);
    let tag = authenticator.compute_unpadded(&out[start..]);
    out[tag_at..start].copy_from_slice(&tag);
}

fn open_box(key: &[u8; BOX_KEY], sealed: &[u8]) -> Result<Vec<u8>, String> {
    let (nonce, sealed) = sealed.split_at_checked(BOX_NONCE).ok_or(TOO_SHORT)?;
    let (tag, sealed) = sealed.split_at_checked(BOX_TAG).ok_or(TOO_SHORT)?;
    let (mut stream, authenticator) = open_stream(key, nonce.try_into().map_err(|_| TOO_SHORT)?);
    let computed = authenticator.compute_unpadded(sealed);
    // Compared as a whole, whatever differs: how long it takes tells nothing.
    if computed.iter().zip(tag).fold(0, |differing, (a, b)| differing | (a ^ b)) != 0 {
        return Err("output array was not large enough for encryption".into());
    }
    let mut plain = sealed.to_vec();
    stream.apply_keystream(&mut plain);
    Ok(plain)
}

fn open_stream(key: &[u8; BOX_KEY], nonce: &[u8; BOX_NONCE]) -> (XSalsa20, Poly1305) {
    use poly1305::universal_hash::KeyInit as _;
    let mut stream = XSalsa20::new(key.into(), nonce.into());
    let mut first = [0; BOX_KEY];
    stream.apply_keystream(&mut first);
    (stream, Poly1305::new(&first.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_again() {
        let key = [7; 32];
        let ciphers = [16, 24, 32].into_iter().flat_map(|n| [Cipher::gcm(&key[..n]), Cipher::cbc(&key[..n])]);
        for cipher in ciphers.chain([Cipher::secretbox(&key)]).map(|cipher| cipher.expect("a key of the right size")) {
            for plain in [&b""[..], b"x", &[5; 16], &[9; 1000]] {
                let mut sealed = b"prefix".to_vec();
                cipher.seal(plain, b"/registry/a", &mut sealed);
                let sealed = &sealed[6..];
                assert_eq!(cipher.open(sealed, b"/registry/a").expect("opened"), plain);
                assert_eq!(cipher.open(&sealed[..10], b"").expect_err("cut"), TOO_SHORT);
            }
        }
    }

    #[test]
    fn gcm_is_bound_to_the_key_it_is_stored_under() {
        let cipher = Cipher::gcm(&[1; 32]).expect("a key");
        let mut sealed = Vec::new();
        cipher.seal(b"secret", b"/registry/secrets/a/x", &mut sealed);
        assert_eq!(cipher.open(&sealed, b"/registry/secrets/b/x").expect_err("moved"), NOT_AUTHENTIC);
    }

    /// What Go's nacl/secretbox makes of a key of ones, a nonce of twos and a message of threes.
    #[test]
    fn secretboxes_are_nacls() {
        let sealed = "8442bc313f4626f1359e3b50122b6ce6fe66ddfe7d39d14e637eb4fd5b45beadab55198df6ab5368439792a23c87db70acb6156dc5ef957ac04f6276cf6093b84be77ff0849cc33e34b7254d5a8f65ad";
        let bytes = |hex: &str| -> Vec<u8> {
            (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex")).collect()
        };
        let mut sealed_with_nonce = vec![2; BOX_NONCE];
        sealed_with_nonce.extend(bytes(sealed));
        let plain = Cipher::secretbox(&[1; 32]).expect("a key").open(&sealed_with_nonce, b"");
        assert_eq!(plain.expect("opened"), [3; 64]);
    }
}
