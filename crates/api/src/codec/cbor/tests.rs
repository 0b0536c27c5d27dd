use serde_json::{Value, json};

use super::head::{from_half, to_half};
use super::*;
use crate::schema::builtin;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn shown(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn as_config_map(bytes: &[u8], validation: FieldValidation) -> Result<(Value, Vec<String>), String> {
    let schema = builtin().of("v1", "ConfigMap").unwrap();
    decode(bytes, Some(schema.get()), "ConfigMap", validation).map_err(|error| error.message)
}

#[test]
fn values_take_as_little_room_as_they_can() {
    let cases = [
        (json!({}), "a0"),
        (
            json!({"a": [0, 23, 24, 255, 256, 65536, 4_294_967_296_i64]}),
            "a14161870017181818ff1901001a000100001b0000000100000000",
        ),
        (json!({"a": [-1, -24, -25, i64::MIN]}), "a1416184203738183b7fffffffffffffff"),
        (json!({"a": [true, false, null, "b"]}), "a1416184f5f4f64162"),
        // Halves, singles, doubles.
        (
            json!({"a": [1.5, 65504.5, 0.1, 5.960_464_477_539_063e-8, -0.0]}),
            "a1416185f93e00fa477fe080fb3fb999999999999af90001f98000",
        ),
        (json!({"bb": 1, "a": 2, "c": 3}), "a341610241630342626201"),
    ];
    for (value, want) in cases {
        let encoded = encode(&value);
        assert_eq!(shown(&encoded), format!("d9d9f7{want}"), "{value}");
        assert_eq!(from_cbor(&encoded).unwrap(), value);
    }
}

#[test]
fn halves_are_exact_both_ways() {
    for bits in 0..=u16::MAX {
        let number = from_half(bits);
        if number.is_finite() {
            assert_eq!(to_half(number as f32), Some(bits), "{number}");
        }
    }
    for number in [65520.0, 1e-8, 0.1, f32::MAX, f32::MIN_POSITIVE] {
        assert_eq!(to_half(number), None, "{number}");
    }
}

#[test]
fn the_field_table_tells_bytes_and_floats() {
    let secret = json!({"kind": "Secret", "apiVersion": "v1", "data": {"k": "AAE="}, "metadata": {}});
    let encoded = encode(&secret);
    assert!(shown(&encoded).contains("416bd6420001"), "a tag and two bytes: {}", shown(&encoded));
    assert_eq!(from_cbor(&encoded).unwrap(), secret);
    // In a row of a Table too.
    let table = json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "rows": [{"object": secret}]});
    assert!(shown(&encode(&table)).contains("416bd6420001"));
    let schema = json!({"kind": "CustomResourceDefinition", "apiVersion": "apiextensions.k8s.io/v1", "spec": {
        "versions": [{"schema": {"openAPIV3Schema": {"items": {"maximum": 1, "minLength": 1}}}}]}});
    let encoded = shown(&encode(&schema));
    assert!(encoded.contains("476d6178696d756df93c00") && encoded.contains("496d696e4c656e67746801"), "{encoded}");
    assert_eq!(shown(&encode(&json!({"data": {"k": "AAE="}}))), "d9d9f7a14464617461a1416b444141453d");
    let loose = json!({"kind": "Secret", "apiVersion": "v1", "data": {"k": "AAF="}});
    assert_eq!(from_cbor(&encode(&loose)).unwrap(), loose);
}

#[test]
fn lists_and_events_are_made_of_what_is_encoded() {
    let item = json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "x"}});
    let (meta, encoded) = (json!({"resourceVersion": "7"}), encode(&item));
    let list = encode_list("v1", "ConfigMapList", &meta, [&encoded[..], &encoded].into_iter());
    let want = json!({"kind": "ConfigMapList", "apiVersion": "v1", "metadata": meta, "items": [item, item]});
    assert_eq!(list, encode(&want));
    let event = encode_watch_event("ADDED", &encoded);
    assert!(shown(&event).starts_with("d9d9f7a24474797065454144444544466f626a656374d9d9f7"));
    assert_eq!(from_cbor(&event).unwrap(), json!({"type": "ADDED", "object": item}));
}

#[test]
fn more_is_read_than_written() {
    let cases = [
        // Text strings, indefinite lengths, no tag.
        ("bf6161 7f6162 6163 ff 4162 9f01ff ff", json!({"a": "bc", "b": [1]})),
        ("a1 4161 5f 4162 4163 ff", json!({"a": "bc"})),
        // Tags: how bytes are to be written, the nearest counts; instants; any other.
        ("a1 4161 d6 82 42fbff d5 42fbff", json!({"a": ["+/8=", "-_8"]})),
        ("a1 4161 d7 42fbff", json!({"a": "fbff"})),
        ("a1 4161 c1 1a514b67b0", json!({"a": "2013-03-21T20:04:00Z"})),
        ("a1 4161 c1 fb41d452d9ec200000", json!({"a": "2013-03-21T20:04:00.5Z"})),
        ("a1 4161 c1 1b0000003afff4417f", json!({"a": "9999-12-31T23:59:59Z"})),
        ("a1 4161 c1 3b0000000e79747bff", json!({"a": "0000-01-01T00:00:00Z"})),
        ("a1 4161 c0 74323031332d30332d32315432303a30343a30305a", json!({"a": "2013-03-21T20:04:00Z"})),
        ("d9d9f7 d9d9f7 a1 4161 d8 64 01", json!({"a": 1})),
        // No UTF-8 becomes what JSON would make of it.
        ("a1 4161 42ff61", json!({"a": "\u{fffd}a"})),
        ("a1 4161 fa47c35000", json!({"a": 100_000.0})),
        ("f6", Value::Null),
    ];
    for (bytes, want) in cases {
        assert_eq!(from_cbor(&hex(bytes)), Ok(want), "{bytes}");
    }
}

#[test]
fn refusals_in_upstreams_words() {
    let no_year = "cbor: decoded time cannot be represented in RFC3339 format with sub-second precision: \
                   Time.MarshalText: year outside of range [0,9999]";
    let cases = [
        ("", "EOF"),
        ("a1", "unexpected EOF"),
        ("a0 00", "cbor: 1 bytes of extraneous data starting at index 1"),
        ("1c", "cbor: invalid additional information 28 for type positive integer"),
        ("a1 4161 ff", "cbor: unexpected \"break\" code"),
        ("bf 4161 ff", "cbor: unexpected \"break\" code"),
        ("a1 4161 f810", "cbor: invalid simple value 16 for type primitives"),
        (
            "a1 4161 f7",
            "cbor: data item of cbor type primitives is not accepted by protocol: simple value 23 is not recognized",
        ),
        ("a1 4161 f97e00", "cbor: data item of cbor type primitives is not accepted by protocol: floating-point NaN"),
        (
            "a1 4161 fa7f800000",
            "cbor: data item of cbor type primitives is not accepted by protocol: floating-point infinity",
        ),
        ("a1 4161 c2 4101", "cbor: data item of cbor type tag is not accepted by protocol: bignum"),
        (
            "a1 4161 1bffffffffffffffff",
            "cbor: cannot unmarshal positive integer into Go value of type int64 (18446744073709551615 overflows Go's int64)",
        ),
        (
            "a1 4161 3bffffffffffffffff",
            "cbor: cannot unmarshal negative integer into Go value of type int64 (-18446744073709551616 overflows Go's int64)",
        ),
        ("a1 4161 62ff61", "cbor: invalid UTF-8 string"),
        ("a1 4161 a2 4162 01 6162 02", "cbor: found duplicate map key \"b\" at map element index 1"),
        ("a1 01 02", "cbor: cannot unmarshal positive integer into Go value of type string"),
        ("a1 4161 c0 4161", "cbor: tag number 0 must be followed by text string, got byte string"),
        ("a1 4161 c1 4161", "cbor: tag number 1 must be followed by integer or floating-point number, got byte string"),
        ("5f 6161 ff", "cbor: wrong element type UTF-8 text string for indefinite-length byte string"),
        ("5f 5f ff ff", "cbor: indefinite-length byte string chunk is not definite-length"),
        ("9bffffffffffffffff", "cbor: array length 18446744073709551615 is too large, it would cause integer overflow"),
        ("9affffffff", "cbor: exceeded max number of elements 2147483647 for CBOR array"),
        ("ba00200001", "cbor: exceeded max number of key-value pairs 2097152 for CBOR map"),
        ("5bffffffffffffffff", "cbor: byte string length 18446744073709551615 is too large, causing integer overflow"),
        ("16", "cbor: cannot unmarshal positive integer into Go value of type map[string]interface {}"),
        ("80", "cbor: cannot unmarshal array into Go value of type map[string]interface {}"),
        ("a1 4161 c1 1b0000003afff44180", no_year),
        ("a1 4161 c1 3b0000000e79747c00", no_year),
        ("c1 2f", "cbor: cannot unmarshal negative integer into Go value of type map[string]interface {}"),
    ];
    for (bytes, want) in cases {
        assert_eq!(from_cbor(&hex(bytes)), Err(want.to_owned()), "{bytes}");
    }
}

#[test]
fn nesting_ends_somewhere() {
    for one in [0x81_u8, 0x9f, 0xc6] {
        let deep = from_cbor(&vec![one; 1 << 20]).unwrap_err();
        assert_eq!(deep, "cbor: exceeded max nested level 120");
    }
}

#[test]
fn objects_of_a_kind() {
    let map = json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "x"}, "data": {"a": "1"}, "binaryData": {"b": "AA=="}});
    let (read, warnings) = as_config_map(&encode(&map), FieldValidation::Strict).unwrap();
    assert_eq!((read, warnings.len()), (map, 0));
    // A byte string without a tag is base64 where bytes are wanted.
    let (read, _) =
        as_config_map(&hex("a1 4a62696e61727944617461 a1 4162 44 41413d3d"), FieldValidation::Strict).unwrap();
    assert_eq!(read["binaryData"]["b"], "AA==");
    let unknown = encode(&json!({"kind": "ConfigMap", "metadata": {"name": "x", "aa": 1, "zzzzz": 1}, "zz": 1}));
    let (_, warnings) = as_config_map(&unknown, FieldValidation::Warn).unwrap();
    assert_eq!(warnings, ["cbor: found unknown field at map element index 0"]);
    assert_eq!(
        as_config_map(&unknown, FieldValidation::Strict).unwrap_err(),
        "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: \
         cbor: found unknown field at map element index 0"
    );
    assert_eq!(as_config_map(&unknown, FieldValidation::Ignore).unwrap().1.len(), 0);
}

#[test]
fn objects_that_are_not_of_their_kind() {
    let wrong = |value: Value| as_config_map(&encode(&value), FieldValidation::Warn).unwrap_err();
    let said = "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: cbor: ";
    let cases = [
        (
            json!({"data": "x"}),
            "cannot unmarshal byte string into Go struct field v1.ConfigMap.data of type map[string]string",
        ),
        (
            json!({"metadata": {"generation": 1.5}}),
            "cannot unmarshal primitives into Go struct field v1.ConfigMap.metadata of type int64",
        ),
        (
            json!({"binaryData": {"a": "!"}}),
            "failed to decode base64 from byte string: illegal base64 data at input byte 0",
        ),
        (json!({"immutable": [1]}), "cannot unmarshal array into Go struct field v1.ConfigMap.immutable of type bool"),
    ];
    for (value, want) in cases {
        assert_eq!(wrong(value), format!("{said}{want}"));
    }
    let twice = hex("a2 446b696e64 49436f6e6669674d6170 4464617461 a2 4161 4162 4161 4163");
    assert_eq!(
        as_config_map(&twice, FieldValidation::Ignore).unwrap_err(),
        format!("{said}found duplicate map key \"a\" at map element index 1")
    );
    assert_eq!(
        as_config_map(&hex("a2 4161 01 4161 02"), FieldValidation::Ignore).unwrap_err(),
        "the object provided is unrecognized (must be of type ConfigMap): unable to determine group/version/kind: \
         cbor: found duplicate map key \"a\" at map element index 1 (a2416101416102)"
    );
    assert_eq!(
        as_config_map(b"", FieldValidation::Ignore).unwrap_err(),
        "the object provided is unrecognized (must be of type ConfigMap): unable to determine group/version/kind: \
         EOF (<empty>)"
    );
}
