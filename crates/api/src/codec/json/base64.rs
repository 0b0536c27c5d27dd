//! `[]byte` fields: standard base64, read as leniently as Go does.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Go's `StdEncoding`: padding is needed, stray bits in the last character are not looked at.
const GO: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

/// The bytes behind a text; line breaks do not count.
pub fn decode(text: &str) -> Result<Vec<u8>, String> {
    let joined: String;
    let text = if text.contains(['\r', '\n']) {
        joined = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
        &joined
    } else {
        text
    };
    GO.decode(text).map_err(|error| {
        let at = match error {
            base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _) => at,
            // Go points at the start of the unfinished group of four.
            base64::DecodeError::InvalidLength(_) | base64::DecodeError::InvalidPadding => text.len() / 4 * 4,
        };
        format!("illegal base64 data at input byte {at}")
    })
}

/// Standard base64 with padding.
pub fn encode(bytes: &[u8]) -> String {
    GO.encode(bytes)
}
