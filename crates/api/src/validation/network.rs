//! Addresses, and what a pod knows of names.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde_json::Value;

use super::prelude::*;
use crate::names;

/// Reads as Go once did: leading zeros in IPv4 are decimal.
pub(crate) fn parse_ip_sloppy(text: &str) -> Option<IpAddr> {
    let v4 = |text: &str| -> Option<Ipv4Addr> {
        let parts: Vec<u8> = text
            .split('.')
            .map(|part| part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse().ok()).flatten())
            .collect::<Option<_>>()?;
        <[u8; 4]>::try_from(parts).ok().map(Ipv4Addr::from)
    };
    if !text.contains(':') {
        return v4(text).map(IpAddr::V4);
    }
    match text.rsplit_once(':').filter(|(_, tail)| tail.contains('.')) {
        Some((head, tail)) => format!("{head}:{}", v4(tail)?).parse::<Ipv6Addr>().ok(),
        None => text.parse::<Ipv6Addr>().ok(),
    }
    .map(IpAddr::V6)
}

fn mapped(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some())
}

/// As Go prints it: an IPv4 address in IPv6's clothes loses them.
pub(crate) fn canonical(ip: IpAddr) -> String {
    ip.to_canonical().to_string()
}

pub(crate) fn is_ipv6(text: &str) -> bool {
    parse_ip_sloppy(text).is_some_and(|ip| ip.to_canonical().is_ipv6())
}

/// `Some(true)`: one of each family at least. `None`: not all are addresses.
pub(crate) fn is_dual_stack<'a>(texts: impl Iterator<Item = &'a str>) -> Option<bool> {
    let families: Vec<bool> =
        texts.map(|text| parse_ip_sloppy(text).map(|ip| ip.to_canonical().is_ipv6())).collect::<Option<_>>()?;
    Some(families.contains(&true) && families.contains(&false))
}

/// An address in a field from before addresses were checked strictly (KEP 4858); old values may stay.
pub(crate) fn legacy_ip(text: &str, old: &[Value], path: &Path<'_>, errors: &mut ErrorList) {
    if !old.iter().any(|old| old == text) {
        checked_ip(text, path, errors);
    }
}

fn checked_ip(text: &str, path: &Path<'_>, errors: &mut ErrorList) -> Option<IpAddr> {
    let Some(ip) = parse_ip_sloppy(text) else {
        errors.invalid(path, text, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
        return None;
    };
    if text.parse::<IpAddr>().is_err() {
        errors.invalid(path, text, "must not have leading 0s");
        return None;
    }
    if mapped(ip) {
        errors.invalid(path, text, "must not be an IPv4-mapped IPv6 address");
        return None;
    }
    Some(ip)
}

/// An address in its one canonical form.
pub(crate) fn ip(text: &str, path: &Path<'_>, errors: &mut ErrorList) {
    if let Some(ip) = checked_ip(text, path, errors)
        && ip.to_string() != text
    {
        errors.invalid(path, text, format!("must be in canonical form (\"{ip}\")"));
    }
}

/// Network and prefix length, as Go once read them.
pub(crate) fn parse_cidr_sloppy(text: &str) -> Option<(IpAddr, u8)> {
    let (ip, bits) = text.split_once('/')?;
    let ip = parse_ip_sloppy(ip)?;
    let max = if ip.is_ipv4() { 32 } else { 128 };
    let bits = bits.bytes().all(|b| b.is_ascii_digit()).then(|| bits.parse::<u8>().ok()).flatten()?;
    (bits <= max).then_some((ip, bits))
}

pub(crate) fn network_of(ip: IpAddr, bits: u8) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            IpAddr::V4((u32::from(ip) & mask).into())
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            IpAddr::V6((u128::from(ip) & mask).into())
        }
    }
}

/// [`legacy_ip`] for networks.
pub(crate) fn legacy_cidr(text: &str, old: &[Value], path: &Path<'_>, errors: &mut ErrorList) {
    if old.iter().filter_map(Value::as_str).any(|old| old.trim() == text) {
        return;
    }
    let Some((ip, bits)) = parse_cidr_sloppy(text) else {
        return errors.invalid(path, text, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)");
    };
    let (address, length) = text.split_once('/').unwrap_or((text, ""));
    if address.parse::<IpAddr>().is_err() || length.len() > 1 && length.starts_with('0') {
        errors.invalid(path, text, "must not have leading 0s in IP or prefix length");
    } else if mapped(ip) {
        errors.invalid(path, text, "must not have an IPv4-mapped IPv6 address");
    } else if network_of(ip, bits) != ip {
        errors.invalid(path, text, "must not have bits set beyond the prefix length");
    }
}

/// A network in its one canonical form.
pub(crate) fn cidr(text: &str, path: &Path<'_>, errors: &mut ErrorList) {
    let before = errors.0.len();
    legacy_cidr(text, &[], path, errors);
    if let Some((ip, bits)) = parse_cidr_sloppy(text).filter(|_| errors.0.len() == before)
        && format!("{ip}/{bits}") != text
    {
        errors.invalid(path, text, format!("must be in canonical form (\"{ip}/{bits}\")"));
    }
}

/// What to warn of in an address that passed.
pub(crate) fn ip_warning(text: &str, path: &Path<'_>, warnings: &mut Vec<String>) {
    let Some(ip) = parse_ip_sloppy(text) else { return };
    if text.parse::<IpAddr>().is_err() || mapped(ip) {
        warnings.push(format!("{path}: non-standard IP address {text:?} is invalid: use \"{}\"", canonical(ip)));
    } else if ip.is_ipv6() && ip.to_string() != text {
        warnings.push(format!("{path}: IPv6 address {text:?} should be in RFC 5952 canonical format (\"{ip}\")"));
    }
}

pub(crate) fn cidr_warnings(text: &str, path: &Path<'_>, warnings: &mut Vec<String>) {
    let Some((ip, bits)) = parse_cidr_sloppy(text) else { return };
    let before = warnings.len();
    let network = format!("{}/{bits}", canonical(network_of(ip, bits)));
    if network_of(ip, bits) != ip {
        let single = format!("{}/{}", canonical(ip), if ip.is_ipv4() { 32 } else { 128 });
        warnings.push(format!(
            "{path}: CIDR value {text:?} is ambiguous in this context (should be {network:?} or {single:?}?)"
        ));
    }
    let (address, length) = text.split_once('/').unwrap_or((text, ""));
    if address.parse::<IpAddr>().is_err() || length.len() > 1 && length.starts_with('0') || mapped(ip) {
        warnings.push(format!("{path}: non-standard CIDR value {text:?} is invalid: use {network:?}"));
    }
    let plain = format!("{ip}/{bits}");
    if warnings.len() == before && ip.is_ipv6() && plain != text {
        warnings.push(format!("{path}: IPv6 CIDR value {text:?} should be in RFC 5952 canonical format ({plain:?})"));
    }
}

/// What resolv.conf takes: more than glibc once did (KEP 2595).
const MAX_NAMESERVERS: usize = 3;
const MAX_SEARCHES: usize = 32;
const MAX_SEARCH_CHARACTERS: usize = 2048;

pub(crate) fn pod_dns(spec: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let config = &spec["dnsConfig"];
    let servers = path.child("nameservers");
    if spec.text("dnsPolicy") == "None" {
        if config.is_null() {
            return errors.required(path, "must provide `dnsConfig` when `dnsPolicy` is None");
        }
        if config.list("nameservers").is_empty() {
            let detail = "must provide at least one DNS nameserver when `dnsPolicy` is None";
            return errors.required(&servers, detail);
        }
    }
    if config.is_null() {
        return;
    }
    if config.list("nameservers").len() > MAX_NAMESERVERS {
        let detail = format!("must not have more than {MAX_NAMESERVERS} nameservers");
        errors.invalid(&servers, config["nameservers"].clone(), detail);
    }
    for (i, server) in texts(config, "nameservers").enumerate() {
        legacy_ip(server, &[], &servers.index(i), errors);
    }
    let searches = path.child("searches");
    let count = config.list("searches").len();
    if count > MAX_SEARCHES {
        let detail = format!("must not have more than {MAX_SEARCHES} search paths");
        errors.invalid(&searches, config["searches"].clone(), detail);
    }
    if texts(config, "searches").map(|s| s.len() + 1).sum::<usize>() > MAX_SEARCH_CHARACTERS + 1 {
        let detail =
            format!("must not have more than {MAX_SEARCH_CHARACTERS} characters (including spaces) in the search list");
        errors.invalid(&searches, config["searches"].clone(), detail);
    }
    for (i, search) in texts(config, "searches").enumerate().filter(|(_, search)| *search != ".") {
        let search = search.strip_suffix('.').unwrap_or(search);
        errors.each_invalid(&searches.index(i), search, names::dns1123_subdomain_with_underscore(search));
    }
    let options = path.child("options");
    for (i, option) in config.list("options").iter().enumerate() {
        if option.text("name").is_empty() {
            errors.required(&options.index(i), "must not be empty");
        }
    }
}

pub(crate) fn host_aliases(spec: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    for (i, alias) in spec.list("hostAliases").iter().enumerate() {
        let path = path.index(i);
        legacy_ip(alias.text("ip"), &[], &path.child("ip"), errors);
        let names = path.child("hostnames");
        for (i, name) in texts(alias, "hostnames").enumerate() {
            dns1123_subdomain(name, &names.index(i), errors);
        }
    }
}
