//! The contract, over each kind of store there is.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use futures_util::future::BoxFuture;
use orlop_store::contract::{self, Place, Subject};
use orlop_store::disk::SimDisk;
use orlop_store::{Config, Store};

enum Kind {
    Memory,
    Simulated,
    Directory,
}

enum Somewhere {
    Memory,
    Simulated(SimDisk),
    Directory(tempfile::TempDir),
}

impl Subject for Kind {
    fn place(&self) -> BoxFuture<'_, Box<dyn Place>> {
        let place = match self {
            Kind::Memory => Somewhere::Memory,
            Kind::Simulated => Somewhere::Simulated(SimDisk::new()),
            Kind::Directory => Somewhere::Directory(tempfile::tempdir().unwrap()),
        };
        Box::pin(async { Box::new(place) as Box<dyn Place> })
    }

    fn is_durable(&self) -> bool {
        !matches!(self, Kind::Memory)
    }
}

impl Place for Somewhere {
    fn open(&self) -> BoxFuture<'_, Store> {
        let config = match self {
            Somewhere::Memory => Config::in_memory(),
            Somewhere::Simulated(disk) => Config::on(Arc::new(disk.clone())),
            Somewhere::Directory(dir) => Config::at(dir.path()),
        };
        Box::pin(async { Store::open(config).await.unwrap() })
    }
}

#[tokio::test(start_paused = true)]
async fn in_memory() {
    contract::run(&Kind::Memory).await;
}

#[tokio::test(start_paused = true)]
async fn on_a_simulated_disk() {
    contract::run(&Kind::Simulated).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_directory() {
    contract::run(&Kind::Directory).await;
}

#[tokio::test]
async fn in_a_directory_from_one_thread() {
    contract::run(&Kind::Directory).await;
}
