//! Requests: each verb, what it costs, and how many clients at once are served.

use std::time::Instant;

use anyhow::Result;
use bytes::Bytes;
use http::Method;
use serde_json::json;

use super::figures::{Figures, Unit};
use super::scale::Scale;
use super::side::Side;
use crate::bench::connection::Call;
use crate::bench::flood::{flood, steadily};
use crate::bench::load::config_map;
use crate::bench::report::quantile;

pub const PATH: &str = "/api/v1/namespaces/default/configmaps";
const CLIENTS: usize = 16;
const ROUNDS: usize = 3;
const OBJECTS: usize = 1000;
/// Clients at once, and requests in a round of theirs: all that wait for one slow flush must be less than a hundredth.
const CROWDS: [(usize, usize); 4] = [(1, 500), (16, 4000), (64, 20_000), (256, 40_000)];
const CROWD_ROUNDS: usize = 3;
/// Requests that fall due in a second, for how long, and the clients who send them. Upstream can just do the most.
const STEADY: [usize; 3] = [100, 300, 900];
const STEADY_SECONDS: usize = 10;
const STEADY_CLIENTS: usize = 64;

struct Verb {
    name: &'static str,
    call: fn(&str) -> Call,
}

/// In the order in which they are asked of the same objects.
const VERBS: [Verb; 6] = [
    Verb { name: "create", call: create },
    Verb { name: "get", call: get },
    Verb { name: "update", call: update },
    Verb { name: "patch", call: patch },
    Verb { name: "apply", call: apply },
    Verb { name: "delete", call: delete },
];

/// Each verb by itself: how many a second, and the CPU time of all the side's processes.
pub async fn each(sides: &[Side; 2], scale: Scale, figures: &mut Figures) -> Result<()> {
    let count = scale.of(OBJECTS);
    for round in 0..scale.rounds(ROUNDS) {
        for side in sides {
            let mut clients = side.clients(CLIENTS).await?;
            for verb in &VERBS {
                let call = verb.call;
                let (cpu, began) = (side.cpu_seconds()?, Instant::now());
                (clients, _) = flood(clients, count, move |n| call(&format!("v{round}-{n}"))).await?;
                let (took, cpu) = (began.elapsed().as_secs_f64(), side.cpu_seconds()? - cpu);
                let figure = format!("{}, {CLIENTS} clients", verb.name);
                figures.add(side.who, &figure, Unit::PerSecond, count as f64 / took)?;
                let figure = format!("CPU for 10,000 × {}", verb.name);
                figures.add(side.who, &figure, Unit::CpuSeconds, cpu * 1e4 / count as f64)?;
            }
        }
    }
    Ok(())
}

/// Few and many clients at once, writing and reading.
pub async fn crowds(sides: &[Side; 2], scale: Scale, figures: &mut Figures) -> Result<()> {
    for (clients, count) in CROWDS {
        let count = scale.of(count);
        for round in 0..scale.rounds(CROWD_ROUNDS) {
            for side in sides {
                for verb in &VERBS[..2] {
                    let call = verb.call;
                    let all = side.clients(clients).await?;
                    let began = Instant::now();
                    let (_, mut took) = flood(all, count, move |n| call(&format!("t{clients}-{round}-{n}"))).await?;
                    let rate = count as f64 / began.elapsed().as_secs_f64();
                    let figure = format!("throughput: {}, {clients} clients", verb.name);
                    figures.add(side.who, &figure, Unit::PerSecond, rate)?;
                    delays(side, &figure, &mut took, figures)?;
                }
            }
        }
    }
    Ok(())
}

/// As many creates a second for either side, below what it can do.
pub async fn steady(sides: &[Side; 2], scale: Scale, figures: &mut Figures) -> Result<()> {
    for per_second in STEADY {
        let count = scale.of(per_second * STEADY_SECONDS);
        for round in 0..scale.rounds(CROWD_ROUNDS) {
            for side in sides {
                let all = side.clients(STEADY_CLIENTS).await?;
                let call = move |n| create(&format!("s{per_second}-{round}-{n}"));
                let (_, mut took) = steadily(all, count, per_second as f64, call).await?;
                delays(side, &format!("steady: {per_second} creates a second"), &mut took, figures)?;
            }
        }
    }
    Ok(())
}

/// How long the middle one and the slowest hundredth took, in milliseconds.
fn delays(side: &Side, figure: &str, took: &mut [f64], figures: &mut Figures) -> Result<()> {
    took.sort_by(f64::total_cmp);
    [("p50", 0.5), ("p99", 0.99)].into_iter().try_for_each(|(name, q)| {
        figures.add(side.who, &format!("{figure}, {name}"), Unit::Milliseconds, quantile(took, q))
    })
}

fn create(name: &str) -> Call {
    Call::post(PATH, config_map(name))
}

fn get(name: &str) -> Call {
    Call::get(format!("{PATH}/{name}"))
}

fn update(name: &str) -> Call {
    updated(name, "u")
}

/// A kilobyte that differs from what was there.
pub fn updated(name: &str, filler: &str) -> Call {
    let object = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
        "data": {"content": filler.repeat(1024 / filler.len())},
    });
    Call::with_body(Method::PUT, format!("{PATH}/{name}"), object.to_string().into())
}

fn patch(name: &str) -> Call {
    let body = Bytes::from_static(br#"{"data":{"patched":"yes"}}"#);
    Call {
        content_type: "application/merge-patch+json",
        ..Call::with_body(Method::PATCH, format!("{PATH}/{name}"), body)
    }
}

fn apply(name: &str) -> Call {
    let object = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"applied": "yes"},
    });
    let path = format!("{PATH}/{name}?fieldManager=bench");
    Call {
        content_type: "application/apply-patch+yaml",
        ..Call::with_body(Method::PATCH, path, object.to_string().into())
    }
}

fn delete(name: &str) -> Call {
    Call::with_body(Method::DELETE, format!("{PATH}/{name}"), Bytes::new())
}
