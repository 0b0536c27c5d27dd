//! The allocators around the writes of Services.

use std::sync::Arc;

use orlop_api::Value;
use orlop_api::status::StatusError;

use super::{Allocators, Held, Reservation, cluster_ips, families, node_ports};
use crate::Server;
use crate::extend::{Hooks, Undo};

pub struct ServiceHooks(pub Arc<Allocators>);

impl Hooks for ServiceHooks {
    fn begin_create(&self, server: &Server, service: &mut Value, dry_run: bool) -> Result<Undo, StatusError> {
        cluster_ips::normalise(service, None);
        families::initialise(service, None, &self.0.families())?;
        let mut reservation = Reservation::new(&self.0, server.store.snapshot(), dry_run);
        cluster_ips::allocate(service, &mut reservation)?;
        node_ports::allocate(service, &mut reservation)?;
        Ok(undo(reservation, Held::default()))
    }

    fn begin_update(
        &self,
        server: &Server,
        service: &mut Value,
        old: &Value,
        dry_run: bool,
    ) -> Result<Undo, StatusError> {
        cluster_ips::keep_old(service, old);
        node_ports::keep_old(service, old);
        cluster_ips::normalise(service, Some(old));
        families::initialise(service, Some(old), &self.0.families())?;
        let mut reservation = Reservation::new(&self.0, server.store.snapshot(), dry_run);
        let mut released = Held::default();
        cluster_ips::update(service, old, &mut reservation, &mut released)?;
        node_ports::update(service, old, &mut reservation, &mut released)?;
        Ok(undo(reservation, released))
    }

    fn after_delete(&self, server: &Server, service: &Value) {
        // Where others allocate, what is free is known by the next turn: one of them may hold it again by now.
        if !server.store.is_shared() {
            self.0.release(&Held::of(service));
        }
    }
}

fn undo(reservation: Reservation, released: Held) -> Undo {
    Undo::new(move |committed| {
        if committed {
            reservation.commit(&released);
        }
    })
}
