//! `format` of strings and numbers (`apiserver/validation/formats.go`, `k8s.io/kube-openapi/pkg/validation/strfmt`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use base64::Engine as _;
use regex::Regex;

use crate::{duration, names};

/// Whether a text breaks a format that is checked; unknown formats are not.
pub fn breaks(format: &str, text: &str) -> bool {
    // Dashes count only in Kubernetes' own names.
    let normal = if format.starts_with("k8s-") { format.to_owned() } else { format.replace('-', "") };
    let fits = match normal.as_str() {
        "uri" => text.parse::<http_like::Uri>().is_ok(),
        "email" => matches(&EMAIL, text),
        "hostname" => text.len() <= 255 && matches(&HOSTNAME, text),
        "ipv4" => text.parse::<Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<Ipv6Addr>().is_ok(),
        "cidr" => text.split_once('/').is_some_and(|(address, bits)| is_cidr(address, bits)),
        "mac" => matches(&MAC, text),
        "uuid" => matches(&UUID, text),
        "uuid3" => matches(&UUID, text) && version_of_uuid(text) == Some('3'),
        "uuid4" => matches(&UUID, text) && version_of_uuid(text) == Some('4'),
        "uuid5" => matches(&UUID, text) && version_of_uuid(text) == Some('5'),
        "hexcolor" => matches(&HEX_COLOR, text),
        "byte" => base64::engine::general_purpose::STANDARD.decode(text).is_ok(),
        "date" => text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok(),
        "datetime" => text.parse::<jiff::Timestamp>().is_ok(),
        "duration" => duration::parse(text).is_ok(),
        "k8s-short-name" => names::dns1123_label(text).is_empty(),
        "k8s-long-name" => names::dns1123_subdomain(text).is_empty(),
        _ => true,
    };
    !fits
}

/// Whether anything checks texts of this format.
pub fn is_known(format: &str) -> bool {
    const KNOWN: [&str; 24] = [
        "bsonobjectid",
        "uri",
        "email",
        "hostname",
        "ipv4",
        "ipv6",
        "cidr",
        "mac",
        "uuid",
        "uuid3",
        "uuid4",
        "uuid5",
        "isbn",
        "isbn10",
        "isbn13",
        "creditcard",
        "ssn",
        "hexcolor",
        "rgbcolor",
        "byte",
        "password",
        "date",
        "duration",
        "datetime",
    ];
    KNOWN.contains(&format.replace('-', "").as_str()) || matches!(format, "k8s-short-name" | "k8s-long-name")
}

/// The type that a number does not fit: too large, or with a fraction.
pub fn out_of_range(ty: &str, format: &str, value: f64) -> Option<&'static str> {
    let beyond = |least: f64, most: f64| value < least || value > most;
    match (ty, format) {
        ("integer", "int32") if value.fract() != 0.0 || beyond(i32::MIN.into(), i32::MAX.into()) => {
            Some("integer with format int32")
        }
        ("integer", "int64") if value.fract() != 0.0 || beyond(i64::MIN as f64, i64::MAX as f64) => {
            Some("integer with format int64")
        }
        ("integer", "") if value.fract() != 0.0 || beyond(i64::MIN as f64, i64::MAX as f64) => {
            Some("integer (default format)")
        }
        ("number", "float") if beyond(f32::MIN.into(), f32::MAX.into()) => Some("number with format float"),
        _ => None,
    }
}

mod http_like {
    /// A scheme, or a path from the root: what `url.ParseRequestURI` takes.
    pub struct Uri;

    impl std::str::FromStr for Uri {
        type Err = ();

        fn from_str(text: &str) -> Result<Self, ()> {
            let plain = !text.is_empty() && !text.contains(|c: char| c.is_ascii_control() || c == ' ');
            let scheme = text.split_once(':').is_some_and(|(scheme, _)| {
                scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                    && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
            });
            if plain && (scheme || text.starts_with('/')) { Ok(Self) } else { Err(()) }
        }
    }
}

fn is_cidr(address: &str, bits: &str) -> bool {
    let most = match address.parse() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    bits.parse::<u8>().is_ok_and(|bits| bits <= most)
}

fn version_of_uuid(text: &str) -> Option<char> {
    text.chars().filter(|c| *c != '-').nth(12)
}

type Compiled = LazyLock<Regex>;

fn matches(pattern: &Compiled, text: &str) -> bool {
    pattern.is_match(text)
}

fn compile(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the formats' patterns compile")
}

static EMAIL: Compiled = LazyLock::new(|| compile(r"^[^@\s<>]+@[^@\s<>]+$"));
static HOSTNAME: Compiled = LazyLock::new(|| {
    compile(r"^([a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)(\.[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*\.?$")
});
static MAC: Compiled = LazyLock::new(|| compile(r"^([0-9A-Fa-f]{2}[:-]){5}([0-9A-Fa-f]{2}[:-]){0,2}[0-9A-Fa-f]{2}$"));
static UUID: Compiled =
    LazyLock::new(|| compile(r"(?i)^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$"));
static HEX_COLOR: Compiled = LazyLock::new(|| compile(r"^#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})$"));
