//! Bodies in CBOR, and the JSON that becomes CBOR: what was encoded reads back the same.

use orlop_api::codec::cbor::{decode, encode, from_cbor};
use orlop_api::codec::json::{self, FieldValidation};
use orlop_api::schema;

use crate::Target;

pub const TARGET: Target = Target {
    name: "cbor",
    corpus: None, seeds: &[
        super::POD,
        b"\xd9\xd9\xf7\xa4DkindFSecretDdata\xa1Ak\xd6C\0\x01\xffHmetadata\xa1Dname\x61aJapiVersionBv1",
        b"\xbf\x61a\x9f\x18\x64\x38\x64\x1a\0\x01\0\0\xf9\x3e\0\xfa\x47\xc3\x50\0\xfb\x3f\xb9\x99\x99\x99\x99\x99\x9a\xf4\xf6\xff\x61b\x5fAaAb\xff\x61c\xc1\x1a\x51\x4b\x67\xb0\xff",
    ],
    run,
};

fn run(bytes: &[u8]) {
    let pod = schema::builtin().of("v1", "Pod").expect("a built-in kind");
    let _ = decode(bytes, Some(pod.get()), "Pod", FieldValidation::Strict);
    if let Ok(value) = from_cbor(bytes) {
        assert!(json::encode(&value).len() <= bytes.len() * MOST_JSON_OF_A_BYTE + 4);
        // A whole number where floats stand is one from then on: the second writing is the first.
        let encoded = encode(&value);
        assert_eq!(encode(&from_cbor(&encoded).expect("what was encoded is valid")), encoded);
    }
    let Ok((value, _)) = json::decode(bytes, Some(pod.get()), FieldValidation::Ignore) else { return };
    assert_eq!(from_cbor(&encode(&value)), Ok(value));
}

/// A byte that is no UTF-8 becomes three, a control character six; an instant's few digits become a date.
const MOST_JSON_OF_A_BYTE: usize = 16;
