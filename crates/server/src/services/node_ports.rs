//! Giving a Service its node ports and its health check port.

use std::collections::BTreeMap;

use orlop_api::field::{ErrorList, Path};
use orlop_api::status::StatusError;
use orlop_api::{Value, meta};

use super::pool::PoolError;
use super::{Held, Reservation, port};

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
                named.get(name).filter(|known| port(&entry["nodePort"]).is_none() && !used.contains(known))
            {
                entry["nodePort"] = (*known).into();
            }
        }
    }
    let kept = port(&old["spec"]["healthCheckNodePort"]);
    if needs_health_check(service) && needs_health_check(old) && port(&service["spec"]["healthCheckNodePort"]).is_none()
    {
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
        let mut by_port: BTreeMap<u64, u16> = BTreeMap::new();
        for i in 0..ports(service).len() {
            let entry = &ports(service)[i];
            let (number, pinned) = (entry["port"].as_u64().unwrap_or(0), port(&entry["nodePort"]));
            if pinned.is_none() && !wants_node_ports(service) {
                continue;
            }
            let chosen = match (by_port.get(&number), pinned) {
                (Some(known), None) => *known,
                (Some(known), Some(pinned)) if *known == pinned => pinned,
                (Some(_), Some(pinned)) => take(service, i, pinned, reservation)?,
                (None, _) => match requested(service, number) {
                    Some(pinned) => take(service, i, pinned, reservation)?,
                    None => take_any(reservation)?,
                },
            };
            by_port.entry(number).or_insert(chosen);
            set(service, i, chosen);
        }
    }
    if needs_health_check(service) {
        allocate_health_check(service, reservation)?;
    }
    Ok(())
}

/// The first node port that any entry of this port number pins.
fn requested(service: &Value, number: u64) -> Option<u16> {
    ports(service)
        .iter()
        .filter(|entry| entry["port"].as_u64() == Some(number))
        .find_map(|entry| port(&entry["nodePort"]))
}

fn set(service: &mut Value, i: usize, node_port: u16) {
    if let Some(entry) = service["spec"]["ports"].get_mut(i) {
        entry["nodePort"] = node_port.into();
    }
}

fn take(service: &Value, i: usize, pinned: u16, reservation: &mut Reservation) -> Result<u16, StatusError> {
    let result = if reservation.dry_run { reservation.show(pinned) } else { reservation.pin(pinned) };
    result.map(|()| pinned).map_err(|why| {
        let mut errors = ErrorList::default();
        let path = Path::new("spec.ports");
        errors.invalid(&path.index(i).child("nodePort"), pinned, why.to_string());
        StatusError::invalid("", "Service", meta::name(service), &errors)
    })
}

impl Reservation {
    fn pin(&mut self, port: u16) -> Result<(), PoolError> {
        self.allocators.lock().ports.allocate(port)?;
        self.taken.ports.push(port);
        Ok(())
    }

    /// A dry run knows neither the range nor who holds what, only itself (`portAllocationOperation`).
    fn show(&mut self, port: u16) -> Result<(), PoolError> {
        if self.shown.contains(&port) {
            return Err(PoolError::PortTaken);
        }
        self.shown.push(port);
        Ok(())
    }

    fn show_any(&mut self) -> u16 {
        let port = self.shown.iter().max().map_or(DRY_RUN_PORT, |last| last.saturating_add(1));
        self.shown.push(port);
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
    let sent = &service["spec"]["healthCheckNodePort"];
    let Some(pinned) = port(sent) else {
        if sent.as_i64().is_some_and(|number| number != 0) {
            // No port at all: validation says so.
            return Ok(());
        }
        let number = take_any(reservation)?;
        set_health_check(service, Some(number));
        return Ok(());
    };
    let result = if reservation.dry_run { reservation.show(pinned) } else { reservation.pin(pinned) };
    result.map_err(|why| {
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
    let mut seen: Vec<(String, u16)> = Vec::new();
    for i in 0..ports(service).len() {
        let entry = &ports(service)[i];
        let protocol = entry["protocol"].as_str().unwrap_or("TCP").to_owned();
        let node_port = match port(&entry["nodePort"]) {
            None if !wants_node_ports(service) => continue,
            None => {
                let number = take_any(reservation)?;
                set(service, i, number);
                number
            }
            Some(pinned) if known.contains(&pinned) || reservation.taken.ports.contains(&pinned) => pinned,
            Some(pinned) => take(service, i, pinned, reservation)?,
        };
        if node_port != 0 && seen.contains(&(protocol.clone(), node_port)) {
            return Err(StatusError::new(500, "", format!("duplicate nodePort: {{{protocol} {node_port}}}")));
        }
        seen.push((protocol, node_port));
    }
    let kept: Vec<u16> = of(service).collect();
    released.ports.extend(known.into_iter().filter(|number| !kept.contains(number)));
    Ok(())
}
