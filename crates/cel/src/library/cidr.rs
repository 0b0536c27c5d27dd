//! Networks in CIDR notation.

use std::fmt;
use std::net::IpAddr;

use super::ip;
use super::strings::text;
use crate::decls::Op;
use crate::value::{Result, Value, fail, no_overload};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    pub address: IpAddr,
    pub bits: u8,
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl Cidr {
    fn contains(&self, other: IpAddr) -> bool {
        match (self.address, other) {
            (IpAddr::V4(net), IpAddr::V4(ip)) => same_bits(net.to_bits().into(), ip.to_bits().into(), 32 - self.bits),
            (IpAddr::V6(net), IpAddr::V6(ip)) => same_bits(net.to_bits(), ip.to_bits(), 128 - self.bits),
            _ => false,
        }
    }

    fn masked(&self) -> Self {
        let address = match self.address {
            IpAddr::V4(ip) => IpAddr::V4(mask(ip.to_bits().into(), 32 - self.bits).try_into().map_or(ip, u32::into)),
            IpAddr::V6(ip) => IpAddr::V6(mask(ip.to_bits(), 128 - self.bits).into()),
        };
        Self { address, bits: self.bits }
    }
}

fn mask(bits: u128, host_bits: u8) -> u128 {
    bits.checked_shr(host_bits.into()).unwrap_or_default().checked_shl(host_bits.into()).unwrap_or_default()
}

fn same_bits(a: u128, b: u128, host_bits: u8) -> bool {
    mask(a, host_bits) == mask(b, host_bits)
}

pub fn op(_function: &str, overload: &str) -> Option<Op> {
    Some(match overload {
        "string_to_cidr" => |_, args| parse(text(&args[0])?).map(Value::Cidr),
        "is_cidr" => |_, args| Ok(Value::Bool(parse(text(&args[0])?).is_ok())),
        "cidr_contains_ip_string" => |_, args| {
            let Ok(ip) = ip::parse(text(&args[1])?) else { return no_overload() };
            Ok(Value::Bool(net(&args[0])?.contains(ip)))
        },
        "cidr_contains_ip_ip" => |_, args| match &args[1] {
            Value::Ip(ip) => Ok(Value::Bool(net(&args[0])?.contains(*ip))),
            _ => no_overload(),
        },
        "cidr_contains_cidr_string" => |_, args| contains(&net(&args[0])?, &parse(text(&args[1])?)?),
        "cidr_contains_cidr" => |_, args| contains(&net(&args[0])?, &net(&args[1])?),
        "cidr_ip" => |_, args| Ok(Value::Ip(net(&args[0])?.address)),
        "cidr_prefix_length" => |_, args| Ok(Value::Int(i64::from(net(&args[0])?.bits))),
        "cidr_masked" => |_, args| Ok(Value::Cidr(net(&args[0])?.masked())),
        _ => return None,
    })
}

fn net(value: &Value<'_>) -> Result<Cidr> {
    match value {
        Value::Cidr(cidr) => Ok(*cidr),
        _ => no_overload(),
    }
}

fn contains<'a>(outer: &Cidr, inner: &Cidr) -> Result<Value<'a>> {
    Ok(Value::Bool(outer.bits <= inner.bits && outer.contains(inner.address)))
}

const FAILED: &str = "network address parse error during conversion from string";

fn parse(text: &str) -> Result<Cidr> {
    // The context is added twice upstream too.
    let wrong = |why: String| fail(format!("{FAILED}: {FAILED}: netip.ParsePrefix({text:?}): {why}"));
    let Some((address, bits)) = text.rsplit_once('/') else { return wrong("no '/'".to_owned()) };
    let Ok(address) = address.parse::<IpAddr>() else {
        return wrong(match ip::parse(address) {
            Err(why) => {
                why.rsplit_once(": ParseAddr").map_or_else(|| why.clone(), |(_, rest)| format!("ParseAddr{rest}"))
            }
            Ok(_) => "unable to parse IP".to_owned(),
        });
    };
    let plain = bits.bytes().all(|byte| byte.is_ascii_digit()) && (bits.len() == 1 || !bits.starts_with('0'));
    let Ok(length) = bits.parse::<u8>() else { return wrong(format!("bad bits after slash: {bits:?}")) };
    if !plain {
        return wrong(format!("bad bits after slash: {bits:?}"));
    }
    if length > if address.is_ipv4() { 32 } else { 128 } {
        return wrong("prefix length out of range".to_owned());
    }
    if ip::is_mapped(address) {
        return fail(format!("{FAILED}: IPv4-mapped IPv6 address {text:?} is not allowed"));
    }
    Ok(Cidr { address, bits: length })
}
