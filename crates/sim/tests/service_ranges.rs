//! ServiceCIDRs by the real server and the real controller, in virtual time (KEP 1880).

#![cfg(test)]
#![allow(clippy::unwrap_used, reason = "clippy takes only #[test] functions for tests")]

use std::time::Duration;

use orlop_api::typed::Typed;
use orlop_api::typed::kinds::{IPAddress, Service, ServiceCIDR};
use orlop_client::cache::{Cache, Factory};
use orlop_client::{Client, DeleteOptions};
use orlop_server::authz;
use orlop_sim::Backend;
use orlop_sim::network::{Network, Process};
use orlop_sim::plane::{self, Managers, Plane};
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

struct World {
    user: Client,
    ranges: Cache<ServiceCIDR>,
    addresses: Cache<IPAddress>,
}

fn typed<K: Typed>(object: Value) -> K {
    K::decode(object.to_string().as_bytes()).unwrap()
}

impl World {
    async fn add_range(&self, name: &str, cidr: &str) {
        let range = json!({"metadata": {"name": name}, "spec": {"cidrs": [cidr]}});
        self.user.all().create(&typed::<ServiceCIDR>(range)).await.unwrap();
    }

    async fn delete_range(&self, name: &str) {
        self.user.all::<ServiceCIDR>().delete(name, &DeleteOptions::default()).await.unwrap();
    }

    async fn add_service(&self, name: &str, ip: &str) -> orlop_client::Result<Service> {
        let service = json!({"metadata": {"name": name, "namespace": "default"},
                             "spec": {"clusterIP": ip, "ports": [{"port": 80}]}});
        self.user.api("default").create(&typed::<Service>(service)).await
    }

    /// Until the range's condition has this status and reason.
    async fn says(&self, name: &'static str, status: &'static str, reason: &'static str) {
        self.ranges
            .wait_until(move |ranges| {
                let conditions = ranges.get("", name).and_then(|range| range.status.as_ref()?.conditions.as_ref());
                conditions.is_some_and(|all| all.iter().any(|c| c.status == status && c.reason == reason))
            })
            .await;
    }

    async fn is_gone(&self, name: &'static str) {
        self.ranges.wait_until(move |ranges| ranges.get("", name).is_none()).await;
    }
}

async fn story(world: World) {
    let denied = world.add_service("web", "10.200.0.9").await.unwrap_err().to_string();
    assert!(denied.contains("the provided network does not match the current range"), "{denied}");
    world.add_range("more", "10.200.0.0/24").await;
    world.says("more", "True", "").await;
    world.add_service("web", "10.200.0.9").await.unwrap();
    world.addresses.wait_until(|addresses| addresses.get("", "10.200.0.9").is_some()).await;

    world.delete_range("more").await;
    world.says("more", "False", "Terminating").await;
    world.add_service("late", "10.200.0.10").await.unwrap_err();

    // A range that has the address, too, releases it; after the time that servers have to hear of it.
    let asked = Instant::now();
    world.add_range("wide", "10.200.0.0/16").await;
    world.is_gone("more").await;
    world.add_service("late", "10.200.0.10").await.unwrap();

    world.delete_range("wide").await;
    world.says("wide", "False", "Terminating").await;
    for name in ["web", "late"] {
        world.user.api::<Service>("default").delete(name, &DeleteOptions::default()).await.unwrap();
    }
    world.is_gone("wide").await;
    assert!(asked.elapsed() >= Duration::from_secs(10), "{:?}", asked.elapsed());
    world.says("kubernetes", "True", "").await;
}

#[test]
fn a_range_is_drawn_from_kept_for_its_addresses_and_released() {
    for backend in [Backend::Embedded, Backend::Etcd] {
        let place = plane::fresh(backend, 0).unwrap();
        orlop_base::id::seed_thread(0);
        plane::runtime().unwrap().block_on(async {
            orlop_base::clock::use_virtual_time();
            let network = Network::new(0);
            let _plane = Plane::start(place, Duration::ZERO, &network).await.unwrap();
            let _managers = Managers::start(&network, "managers");
            let stop = CancellationToken::new();
            let process = Process { name: "user".to_owned(), dead: stop.clone() };
            let user = plane::client(&network, "admin", &[authz::MASTERS], &process);
            let factory = Factory::new(user.clone(), stop);
            story(World { ranges: factory.cache(), addresses: factory.cache(), user }).await;
        });
    }
}
