//! Giving a Service its node ports and its health check port.

use std::collections::BTreeMap;

use orlop_api::field::{ErrorList, Path};
use orlop_api::status::StatusError;
use orlop_api::{Value, meta};

use super::pool::PoolError;
use super::{Held, Reservation, number, port};

/// The first that a dry run gives: above every range, so that nobody takes it for a promise.
const DRY_RUN_PORT: u16 = 32769;

fn service_type(service: &Value) -> &str {
    service["spec"]["type"].as_str().unwrap_or("ClusterIP")
}

fn has_node_ports(service: &Value) -> bool {
    matches!(service_type(service), "NodePort" | "LoadBalancer")
}

/// Whether ports without a number get one; a LoadBalancer may do without (KEP 1864).
fn wants_node_ports(service: &Value) -> bool {
    match service_type(service) {
        "NodePort" => true,
        "LoadBalancer" => service["spec"]["allocateLoadBalancerNodePorts"] != false,
        _ => false,
    }
}

pub fn needs_health_check(service: &Value) -> bool {
    service_type(service) == "LoadBalancer" && service["spec"]["externalTrafficPolicy"] == "Local"
}

fn ports(service: &Value) -> &[Value] {
    service["spec"]["ports"].as_array().map_or(&[], Vec::as_slice)
}

/// The node ports a Service names.
pub fn of(service: &Value) -> impl Iterator<Item = u16> {
    ports(service).iter().filter_map(|entry| port(&entry["nodePort"]))
}

/// What an update left out stays as it was, by port name (`patchAllocatedValues`).
pub fn keep_old(service: &mut Value, old: &Value) {
    if wants_node_ports(service) && wants_node_ports(old) {
        let named: BTreeMap<&str, u16> = ports(old)
            .iter()
            .filter_map(|entry| Some((entry["name"].as_str().unwrap_or_default(), port(&entry["nodePort"])?)))
            .collect();
        let used: Vec<u16> = of(service).collect();
        for entry in service["spec"]["ports"].as_array_mut().into_iter().flatten() {
            let name = entry["name"].as_str().unwrap_or_default();
            if let Some(known) =
                named.get(name).filter(|known| number(&entry["nodePort"]).is_none() && !used.contains(known))
            {
                entry["nodePort"] = (*known).into();
            }
        }
    }
    let kept = port(&old["spec"]["healthCheckNodePort"]);
    let sent = number(&service["spec"]["healthCheckNodePort"]);
    if needs_health_check(service) && needs_health_check(old) && sent.is_none() {
        set_health_check(service, kept);
    }
}

fn set_health_check(service: &mut Value, number: Option<u16>) {
    if let Some(number) = number {
        meta::child_mut(service, "spec").insert("healthCheckNodePort".into(), number.into());
    }
}

/// Allocates for a new Service. Ports of one number share a node port across protocols.
pub fn allocate(service: &mut Value, reservation: &mut Reservation) -> Result<(), StatusError> {
    if has_node_ports(service) {
        let mut by_port: BTreeMap<i64, i64> = BTreeMap::new();
        for i in 0..ports(service).len() {
            let entry = &ports(service)[i];
            let (service_port, pinned) = (entry["port"].as_i64().unwrap_or(0), number(&entry["nodePort"]));
            if pinned.is_none() && !wants_node_ports(service) {
                continue;
            }
            let chosen = match (by_port.get(&service_port), pinned) {
                (Some(known), None) => *known,
                (Some(known), Some(pinned)) if *known == pinned => pinned,
                (Some(_), Some(pinned)) => take(service, i, pinned, reservation)?,
                (None, _) => match requested(service, service_port) {
                    Some(pinned) => take(service, i, pinned, reservation)?,
                    None => take_any(reservation)?.into(),
                },
            };
            by_port.entry(service_port).or_insert(chosen);
            set(service, i, chosen);
        }
    }
    if needs_health_check(service) {
        allocate_health_check(service, reservation)?;
    }
    Ok(())
}

/// The first node port that any entry of this port number pins.
fn requested(service: &Value, service_port: i64) -> Option<i64> {
    let mut of_this = ports(service).iter().filter(|entry| entry["port"].as_i64() == Some(service_port));
    of_this.find_map(|entry| number(&entry["nodePort"]))
}

fn set(service: &mut Value, i: usize, node_port: i64) {
    if let Some(entry) = service["spec"]["ports"].get_mut(i) {
        entry["nodePort"] = node_port.into();
    }
}

fn take(service: &Value, i: usize, pinned: i64, reservation: &mut Reservation) -> Result<i64, StatusError> {
    reservation.pin(pinned).map(|()| pinned).map_err(|why| {
        let mut errors = ErrorList::default();
        let path = Path::new("spec.ports");
        errors.invalid(&path.index(i).child("nodePort"), pinned, why.to_string());
        StatusError::invalid("", "Service", meta::name(service), &errors)
    })
}

impl Reservation {
    /// A dry run does not mind the range, only who else holds the port (`PortAllocationOperation`).
    fn pin(&mut self, pinned: i64) -> Result<(), PoolError> {
        let port = u16::try_from(pinned).ok();
        let mut pools = self.allocators.lock();
        if self.dry_run {
            if self.shown.contains(&pinned) || port.is_some_and(|port| pools.ports.is_taken(port)) {
                return Err(PoolError::PortTaken);
            }
            self.shown.push(pinned);
            return Ok(());
        }
        let port = port.ok_or_else(|| pools.ports.outside())?;
        pools.ports.allocate(port)?;
        self.taken.ports.push(port);
        Ok(())
    }

    fn has_pinned(&self, pinned: i64) -> bool {
        self.shown.contains(&pinned) || self.taken.ports.iter().any(|port| i64::from(*port) == pinned)
    }

    fn show_any(&mut self) -> u16 {
        let last = self.shown.iter().max().and_then(|last| u16::try_from(*last).ok());
        let port = last.map_or(DRY_RUN_PORT, |last| last.saturating_add(1));
        self.shown.push(port.into());
        port
    }
}

fn take_any(reservation: &mut Reservation) -> Result<u16, StatusError> {
    if reservation.dry_run {
        return Ok(reservation.show_any());
    }
    let next = reservation.allocators.lock().ports.allocate_next();
    let number = next.map_err(|why| StatusError::internal(format!("failed to allocate a nodePort: {why}")))?;
    reservation.taken.ports.push(number);
    Ok(number)
}

fn allocate_health_check(service: &mut Value, reservation: &mut Reservation) -> Result<(), StatusError> {
    let Some(pinned) = number(&service["spec"]["healthCheckNodePort"]) else {
        let drawn = take_any(reservation)?;
        set_health_check(service, Some(drawn));
        return Ok(());
    };
    reservation.pin(pinned).map_err(|why| {
        StatusError::internal(format!("failed to allocate requested HealthCheck NodePort {pinned}: {why}"))
    })
}

/// An update's changes; `released` collects what goes back once it is committed.
pub fn update(
    service: &mut Value,
    old: &Value,
    reservation: &mut Reservation,
    released: &mut Held,
) -> Result<(), StatusError> {
    if has_node_ports(old) && !has_node_ports(service) {
        released.ports.extend(of(old));
    }
    if has_node_ports(service) {
        update_ports(service, old, reservation, released)?;
    }
    match (needs_health_check(old), needs_health_check(service)) {
        (false, true) => allocate_health_check(service, reservation)?,
        (true, false) => released.ports.extend(port(&old["spec"]["healthCheckNodePort"])),
        _ => {}
    }
    Ok(())
}

fn update_ports(
    service: &mut Value,
    old: &Value,
    reservation: &mut Reservation,
    released: &mut Held,
) -> Result<(), StatusError> {
    let known: Vec<u16> = of(old).collect();
    let mut seen: Vec<(String, i64)> = Vec::new();
    for i in 0..ports(service).len() {
        let entry = &ports(service)[i];
        let protocol = entry["protocol"].as_str().unwrap_or("TCP").to_owned();
        let node_port = match number(&entry["nodePort"]) {
            None if !wants_node_ports(service) => continue,
            None => {
                let drawn = take_any(reservation)?.into();
                set(service, i, drawn);
                drawn
            }
            Some(pinned) if known.iter().any(|port| i64::from(*port) == pinned) => pinned,
            Some(pinned) if reservation.has_pinned(pinned) => pinned,
            Some(pinned) => take(service, i, pinned, reservation)?,
        };
        if seen.contains(&(protocol.clone(), node_port)) {
            return Err(StatusError::new(500, "", format!("duplicate nodePort: {{{protocol} {node_port}}}")));
        }
        seen.push((protocol, node_port));
    }
    let kept: Vec<u16> = of(service).collect();
    released.ports.extend(known.into_iter().filter(|number| !kept.contains(number)));
    Ok(())
}
