//! Giving a Service its cluster IPs.

use std::net::IpAddr;
use std::time::Instant;

use orlop_api::field::{ErrorList, Path};
use orlop_api::status::StatusError;
use orlop_api::{Value, meta};
use serde_json::json;

use super::families::{self, is_external_name, is_headless};
use super::ip_pool::{Family, IpPool};
use super::metrics::{METRICS, Scope};
use super::pool::PoolError;
use super::{Held, Reservation, texts};

/// Keeps `clusterIP` and `clusterIPs` together for clients that know only the first
/// (`normalizeClusterIPs`).
pub fn normalise(service: &mut Value, old: Option<&Value>) {
    let one = service["spec"]["clusterIP"].as_str().unwrap_or_default().to_owned();
    let none_given = texts(&service["spec"]["clusterIPs"]).next().is_none();
    let spec = meta::child_mut(service, "spec");
    let Some(old) = old else {
        if !one.is_empty() && none_given {
            spec.insert("clusterIPs".into(), vec![one].into());
        }
        return;
    };
    let old_one = old["spec"]["clusterIP"].as_str().unwrap_or_default();
    let old_all = &old["spec"]["clusterIPs"];
    if none_given && old_one == one && old_all.is_array() {
        spec.insert("clusterIPs".into(), old_all.clone());
    }
    if old_one != one && spec.get("clusterIPs") == old.pointer("/spec/clusterIPs") {
        if one.is_empty() {
            spec.remove("clusterIPs");
        } else {
            spec.insert("clusterIPs".into(), vec![one].into());
        }
    }
}

/// What an update left out stays as it was (`patchAllocatedValues`).
pub fn keep_old(service: &mut Value, old: &Value) {
    if is_external_name(service) || is_external_name(old) {
        return;
    }
    let spec = meta::child_mut(service, "spec");
    if spec.get("clusterIP").and_then(Value::as_str).unwrap_or_default().is_empty()
        && let Some(ip) = old["spec"].get("clusterIP")
    {
        spec.insert("clusterIP".into(), ip.clone());
    }
    let given = spec.get("clusterIPs").and_then(Value::as_array).is_some_and(|list| !list.is_empty());
    if !given && let Some(ips) = old["spec"].get("clusterIPs") {
        spec.insert("clusterIPs".into(), ips.clone());
    }
}

/// Allocates what a new Service, or one that stops being an ExternalName, needs.
pub fn allocate(service: &mut Value, reservation: &mut Reservation) -> Result<(), StatusError> {
    if is_external_name(service) || is_headless(service) {
        return Ok(());
    }
    let wanted: Vec<Family> = texts(&service["spec"]["ipFamilies"]).filter_map(Family::parse).collect();
    let mut ips: Vec<String> = texts(&service["spec"]["clusterIPs"]).map(str::to_owned).collect();
    for (i, family) in wanted.into_iter().enumerate() {
        if ips.len() <= i {
            ips.push(String::new());
        }
        ips[i] = allocate_one(service, family, &ips[i], reservation)?;
    }
    store(service, ips);
    Ok(())
}

fn store(service: &mut Value, ips: Vec<String>) {
    let spec = meta::child_mut(service, "spec");
    if let Some(first) = ips.first() {
        spec.insert("clusterIP".into(), first.as_str().into());
    }
    spec.insert("clusterIPs".into(), ips.into());
}

/// The pinned address, or any of the family.
fn allocate_one(
    service: &Value,
    family: Family,
    pinned: &str,
    reservation: &mut Reservation,
) -> Result<String, StatusError> {
    let allocators = reservation.allocators.clone();
    let mut pools = allocators.lock();
    let pool = &mut pools.ips;
    pool.follow(&reservation.snapshot, allocators.config());
    let wanted = pinned.parse::<IpAddr>().ok();
    let drawn = match (wanted, reservation.dry_run) {
        // Validation says what is wrong with an address that is none.
        (None, _) if !pinned.is_empty() => return Ok(pinned.to_owned()),
        (None, true) => pool.try_allocate_next(family),
        (None, false) => allocate_any(pool, family, reservation),
        (Some(ip), true) => pool.try_allocate(ip).map(|()| ip),
        (Some(ip), false) => allocate_pinned(pool, ip, reservation),
    };
    match drawn {
        Ok(ip) if wanted.is_none() => Ok(ip.to_string()),
        Ok(_) => Ok(pinned.to_owned()),
        Err(why) if wanted.is_none() => Err(not_drawn(service, &why)),
        Err(why) => {
            let detail = format!("failed to allocate IP {pinned}: {why}");
            Err(refused(service, &service["spec"]["clusterIPs"], &detail))
        }
    }
}

fn allocate_pinned(pool: &mut IpPool, ip: IpAddr, reservation: &mut Reservation) -> Result<IpAddr, PoolError> {
    let started = Instant::now();
    let mut result = pool.allocate(ip);
    if result.is_ok() && reservation.is_reserved(ip) {
        pool.release(ip);
        result = Err(PoolError::IpTaken);
    }
    if let Some(range) = pool.range_of(ip) {
        match &result {
            Ok(()) => METRICS.drawn(range, Scope::Static, started),
            Err(_) => METRICS.failed(range, Scope::Static),
        }
    }
    result.map(|()| {
        reservation.taken.ips.push(ip);
        ip
    })
}

/// An address that nobody has, nor has put aside.
fn allocate_any(pool: &mut IpPool, family: Family, reservation: &mut Reservation) -> Result<IpAddr, PoolError> {
    let (started, mut reserved) = (Instant::now(), Vec::new());
    let found = loop {
        match pool.allocate_next(family) {
            // Held until another is found, or it would be picked again.
            Ok(ip) if reservation.is_reserved(ip) => reserved.push(ip),
            found => break found,
        }
    };
    reserved.into_iter().for_each(|ip| pool.release(ip));
    match found.as_ref().map(|ip| pool.range_of(*ip)) {
        Ok(range) => range.into_iter().for_each(|range| METRICS.drawn(range, Scope::Dynamic, started)),
        Err(_) => pool.ranges_of(family).for_each(|range| METRICS.failed(range, Scope::Dynamic)),
    }
    reservation.taken.ips.extend(found.iter());
    found
}

fn not_drawn(service: &Value, why: &PoolError) -> StatusError {
    match why {
        PoolError::Full => {
            let name = meta::name(service);
            StatusError::internal(format!("failed to allocate a serviceIP for Service {name:?}: {why}"))
        }
        // As upstream shows the list by then.
        _ => refused(service, &json!([""]), &format!("failed to allocate IP: {why}")),
    }
}

fn refused(service: &Value, value: &Value, detail: &str) -> StatusError {
    let mut errors = ErrorList::default();
    errors.invalid(&Path::new("spec.clusterIPs"), value.clone(), detail);
    StatusError::invalid("", "Service", meta::name(service), &errors)
}

/// An update's changes; `released` collects what goes back once it is committed.
pub fn update(
    service: &mut Value,
    old: &Value,
    reservation: &mut Reservation,
    released: &mut Held,
) -> Result<(), StatusError> {
    if families::is_settled(service, Some(old)) {
        return Ok(());
    }
    match (is_external_name(old), is_external_name(service)) {
        (true, false) => return allocate(service, reservation),
        (false, true) if !is_headless(old) => {
            released.ips.extend(texts(&old["spec"]["clusterIPs"]).filter_map(|ip| ip.parse::<IpAddr>().ok()));
            return Ok(());
        }
        _ if is_headless(old) || is_external_name(service) => return Ok(()),
        _ => {}
    }
    let count = |service: &Value| texts(&service["spec"]["ipFamilies"]).count();
    match (count(old), count(service)) {
        (1, 2) => {
            let family = texts(&service["spec"]["ipFamilies"]).nth(1).and_then(Family::parse);
            let mut ips: Vec<String> = texts(&service["spec"]["clusterIPs"]).map(str::to_owned).collect();
            ips.resize(2, String::new());
            if let Some(family) = family {
                ips[1] = allocate_one(service, family, &ips[1], reservation)?;
            }
            store(service, ips);
        }
        (2, 1) => {
            let second = texts(&old["spec"]["clusterIPs"]).nth(1);
            released.ips.extend(second.and_then(|ip| ip.parse::<IpAddr>().ok()));
        }
        _ => {}
    }
    Ok(())
}
