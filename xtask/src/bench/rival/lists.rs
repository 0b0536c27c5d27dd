//! Long lists, in each form a client asks for.

use std::time::Instant;

use anyhow::{Result, bail};

use super::figures::{Figures, Unit};
use super::scale::Scale;
use super::side::Side;
use super::world;
use crate::bench::connection::{Call, JSON};
use crate::bench::flood::flood;
use crate::bench::load::pod;

const CLIENTS: usize = 64;
/// How many pods, how often listed, and the namespace they are in.
const LISTS: [(usize, usize, &str); 3] = [(1000, 11, "list-1k"), (10_000, 5, "list-10k"), (50_000, 3, "list-50k")];
const FORMS: [(&str, &str); 3] = [
    ("JSON", JSON),
    ("protobuf", "application/vnd.kubernetes.protobuf"),
    ("Table", "application/json;as=Table;v=v1;g=meta.k8s.io"),
];

pub async fn measure(sides: &[Side; 2], scale: Scale, figures: &mut Figures) -> Result<()> {
    for (count, rounds, namespace) in LISTS {
        let count = scale.of(count);
        for side in sides {
            fill(side, namespace, count).await?;
        }
        for (form, accept) in FORMS {
            let figure = format!("list of {count} pods as {form}");
            for _ in 0..scale.rounds(rounds) {
                for side in sides {
                    let milliseconds = list(side, namespace, accept).await?;
                    figures.add(side.who, &figure, Unit::Milliseconds, milliseconds)?;
                }
            }
        }
    }
    Ok(())
}

/// In all lists together.
pub fn pods(scale: Scale) -> usize {
    LISTS.iter().map(|(count, ..)| scale.of(*count)).sum()
}

async fn fill(side: &Side, namespace: &str, count: usize) -> Result<()> {
    world::make_namespace(&mut side.client().await?, namespace).await?;
    let path = format!("/api/v1/namespaces/{namespace}/pods");
    flood(side.clients(CLIENTS).await?, count, move |n| Call::post(path.clone(), pod(&format!("pod-{n}")))).await?;
    Ok(())
}

/// Milliseconds until the last byte.
async fn list(side: &Side, namespace: &str, accept: &'static str) -> Result<f64> {
    let mut client = side.client().await?;
    let call = Call { accept, ..Call::get(format!("/api/v1/namespaces/{namespace}/pods")) };
    let began = Instant::now();
    let answer = client.answer(call).await?;
    let took = began.elapsed().as_secs_f64() * 1e3;
    if !answer.status.is_success() {
        bail!("listing pods as {accept}: {}", answer.status);
    }
    Ok(took)
}
