//! The contract over a real etcd.
#![allow(clippy::unwrap_used)]

#[path = "common/etcd.rs"]
mod common;
#[path = "common/tls.rs"]
mod tls;

use std::sync::atomic::{AtomicUsize, Ordering};

use common::EtcdCluster;
use futures_util::future::BoxFuture;
use orlop_store::contract::{self, Place, Subject};
use orlop_store::{EtcdConfig, Store};
use tls::Certificates;

struct Prefixes {
    cluster: EtcdCluster,
    next: AtomicUsize,
}

struct Prefix(EtcdConfig);

impl Subject for Prefixes {
    fn place(&self) -> BoxFuture<'_, Box<dyn Place>> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let place = Prefix(self.cluster.config(&format!("/registry{number}")));
        Box::pin(async { Box::new(place) as Box<dyn Place> })
    }

    fn is_durable(&self) -> bool {
        true
    }
}

impl Place for Prefix {
    fn open(&self) -> BoxFuture<'_, Store> {
        Box::pin(common::open(self.0.clone()))
    }
}

async fn keeps_the_contract(cluster: EtcdCluster) {
    contract::run(&Prefixes { cluster, next: AtomicUsize::new(0) }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_member() {
    keeps_the_contract(EtcdCluster::start(1)).await;
}

#[tokio::test]
async fn one_member_from_one_thread() {
    keeps_the_contract(EtcdCluster::start(1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_members_with_tls() {
    let certificates = Certificates::make();
    keeps_the_contract(EtcdCluster::start_with(3, Some(certificates.client()), &certificates.arguments())).await;
}
