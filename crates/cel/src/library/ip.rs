//! IP addresses, without zones and without IPv4 in IPv6's clothes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::strings::text;
use crate::decls::Op;
use crate::value::{Result, Value, fail, no_overload};

pub fn op(_function: &str, overload: &str) -> Option<Op> {
    Some(match overload {
        "string_to_ip" => |_, args| parse(text(&args[0])?).map(Value::Ip).or_else(fail),
        "is_ip" => |_, args| Ok(Value::Bool(parse(text(&args[0])?).is_ok())),
        "ip_is_canonical" => |_, args| {
            let written = text(&args[0])?;
            let ip = parse(written).or_else(fail)?;
            Ok(Value::Bool(format(ip) == written))
        },
        "ip_family" => |_, args| Ok(Value::Int(if address(&args[0])?.is_ipv4() { 4 } else { 6 })),
        "ip_is_unspecified" => |_, args| Ok(Value::Bool(address(&args[0])?.is_unspecified())),
        "ip_is_loopback" => |_, args| Ok(Value::Bool(address(&args[0])?.is_loopback())),
        "ip_is_link_local_multicast" => |_, args| Ok(Value::Bool(is_link_local_multicast(address(&args[0])?))),
        "ip_is_link_local_unicast" => |_, args| Ok(Value::Bool(is_link_local_unicast(address(&args[0])?))),
        "ip_is_global_unicast" => |_, args| Ok(Value::Bool(is_global_unicast(address(&args[0])?))),
        _ => return None,
    })
}

fn address(value: &Value<'_>) -> Result<IpAddr> {
    match value {
        Value::Ip(ip) => Ok(*ip),
        _ => no_overload(),
    }
}

/// Reads an address; an error says why in upstream's words.
pub fn parse(text: &str) -> Result<IpAddr, String> {
    let (bare, zone) = text.split_once('%').map_or((text, None), |(bare, zone)| (bare, Some(zone)));
    let Ok(ip) = bare.parse::<IpAddr>() else {
        let why = reason(bare);
        return Err(format!(
            "IP Address {text:?} parse error during conversion from string: ParseAddr({text:?}): {why}"
        ));
    };
    if zone.is_some() {
        return Err(format!("IP address {text:?} with zone value is not allowed"));
    }
    if is_mapped(ip) {
        return Err(format!("IPv4-mapped IPv6 address {text:?} is not allowed"));
    }
    Ok(ip)
}

pub fn is_mapped(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some())
}

/// What Go says of a text that is no address.
fn reason(text: &str) -> String {
    let first = text.find(['.', ':', '%']).map(|at| text.as_bytes()[at]);
    match first {
        Some(b'.') => ipv4_reason(text),
        Some(b':') => ipv6_reason(text),
        Some(_) => "missing IPv6 address".to_owned(),
        None => "unable to parse IP".to_owned(),
    }
}

fn ipv6_reason(text: &str) -> String {
    let at = |what: &str, rest: &str| format!("{what} (at {rest:?})");
    let mut rest = text;
    let mut gap = false;
    let mut fields = 0;
    if let Some(after) = rest.strip_prefix("::") {
        gap = true;
        rest = after;
    }
    while fields < 8 && !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_hexdigit).count();
        if digits == 0 {
            return at("each colon-separated field must have at least one digit", rest);
        }
        if digits > 4 {
            return at("each group must have 4 or less digits", rest);
        }
        let after = &rest[digits..];
        if after.starts_with('.') {
            if !gap && fields != 6 {
                return at("embedded IPv4 address must replace the final 2 fields of the address", rest);
            }
            return ipv4_reason(rest);
        }
        fields += 1;
        rest = after;
        if rest.is_empty() {
            break;
        }
        let Some(after) = rest.strip_prefix(':') else { return at("unexpected character, want colon", rest) };
        if after.is_empty() {
            return at("colon must be followed by more characters", rest);
        }
        rest = after;
        if let Some(after) = rest.strip_prefix(':') {
            if gap {
                return at("multiple :: in address", rest);
            }
            gap = true;
            rest = after;
        }
    }
    if !rest.is_empty() {
        return at("trailing garbage after address", rest);
    }
    if gap {
        "the :: must expand to at least one field of zeros".to_owned()
    } else {
        "address string too short".to_owned()
    }
}

fn ipv4_reason(text: &str) -> String {
    let mut fields = 0;
    let mut value = 0;
    let mut digits = 0;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'0'..=b'9' => {
                if digits == 1 && value == 0 {
                    return "IPv4 field has octet with leading zero".to_owned();
                }
                value = value * 10 + u32::from(byte - b'0');
                digits += 1;
                if value > 255 {
                    return "IPv4 field has value >255".to_owned();
                }
            }
            b'.' if at == 0 || digits == 0 || at + 1 == text.len() => {
                return format!("IPv4 field must have at least one digit (at {:?})", &text[at..]);
            }
            b'.' if fields == 3 => return "IPv4 address too long".to_owned(),
            b'.' => {
                fields += 1;
                value = 0;
                digits = 0;
            }
            _ => return format!("unexpected character (at {:?})", &text[at..]),
        }
    }
    "IPv4 address too short".to_owned()
}

/// The canonical form.
pub fn format(ip: IpAddr) -> String {
    ip.to_string()
}

fn is_link_local_multicast(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.octets()[..3] == [224, 0, 0],
        IpAddr::V6(ip) => ip.segments()[0] & 0xff0f == 0xff02,
    }
}

fn is_link_local_unicast(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.segments()[0] & 0xffc0 == 0xfe80,
    }
}

/// Go's notion: private addresses are global too.
fn is_global_unicast(ip: IpAddr) -> bool {
    let special = match ip {
        IpAddr::V4(ip) => ip == Ipv4Addr::UNSPECIFIED || ip == Ipv4Addr::BROADCAST,
        IpAddr::V6(ip) => ip == Ipv6Addr::UNSPECIFIED,
    };
    !special && !ip.is_loopback() && !ip.is_multicast() && !is_link_local_unicast(ip)
}
