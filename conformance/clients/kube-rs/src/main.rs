//! What kube-rs does with a cluster, step by step.

mod controller;
mod objects;
mod streams;
mod tap;
mod watches;

use kube::Client;
use tap::Tap;

pub const NAMESPACE: &str = "kube-rs";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let client = Client::try_default().await?;
    let mut tap = Tap::default();
    objects::judge(&client, &mut tap).await;
    watches::judge(&client, &mut tap).await;
    controller::judge(&client, &mut tap).await;
    streams::judge(&client, &mut tap).await;
    tap.step("namespace goes", objects::leave(&client)).await;
    tap.end();
    Ok(())
}
