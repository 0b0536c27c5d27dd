//! What goes wrong in a run, and when: drawn from the seed beforehand.

use std::time::Duration;

use orlop_store::EtcdFaults;

use crate::network::Rates;
use crate::node::Temper;

/// One disaster.
#[derive(Clone, Copy, Debug)]
pub enum Disaster {
    /// The control plane loses power; its managers go with it, or live in a process of their own.
    Crash {
        managers: bool,
        disk: u64,
    },
    /// After a crash, or nothing.
    Recover,
    /// Controllers and scheduler die and start again elsewhere.
    RestartManagers,
    /// A node's agent dies, or the whole machine.
    KillNode {
        node: usize,
        power: bool,
    },
    StartNode {
        node: usize,
    },
    /// A node cannot reach the control plane.
    Partition {
        node: usize,
        cut: bool,
    },
    /// Managers cannot renew their lease, or reach nothing at all.
    Depose {
        standby: bool,
        leases_only: bool,
    },
    /// The end of every [`Disaster::Depose`].
    Restore,
    /// Only where there is one.
    Etcd(EtcdTrouble),
}

/// What the cluster below the store suffers.
#[derive(Clone, Copy, Debug)]
pub enum EtcdTrouble {
    /// Every connection breaks.
    Cut,
    /// There is no leader for so long.
    Election(Duration),
}

/// A run's misfortunes.
#[derive(Clone, Debug)]
pub struct Chaos {
    pub rates: Rates,
    pub nodes: usize,
    /// Other managers stand by to lead.
    pub standby: bool,
    pub temper: Temper,
    pub flush_delay: Duration,
    pub etcd: EtcdFaults,
    /// In order of time.
    pub disasters: Vec<(Duration, Disaster)>,
}

pub fn draw(rng: &mut fastrand::Rng, length: Duration) -> Chaos {
    let nodes = rng.usize(3..=5);
    let mut disasters = Vec::new();
    let pick = |rng: &mut fastrand::Rng| length.mul_f64(0.05 + 0.85 * rng.f64());
    for _ in 0..rng.usize(..4) {
        let at = pick(rng);
        let down = Duration::from_millis(rng.u64(100..12_000));
        disasters.push((at, Disaster::Crash { managers: rng.bool(), disk: rng.u64(..) }));
        disasters.push((at + down, Disaster::Recover));
    }
    for _ in 0..rng.usize(..3) {
        let (at, node) = (pick(rng), rng.usize(..nodes));
        let gone = Duration::from_secs(rng.u64(2..120));
        if rng.u32(..3) == 0 {
            disasters.push((at, Disaster::Partition { node, cut: true }));
            disasters.push((at + gone, Disaster::Partition { node, cut: false }));
        } else {
            disasters.push((at, Disaster::KillNode { node, power: rng.bool() }));
            disasters.push((at + gone, Disaster::StartNode { node }));
        }
    }
    if rng.u32(..3) == 0 {
        disasters.push((pick(rng), Disaster::RestartManagers));
    }
    let standby = rng.bool();
    if rng.bool() {
        let (at, leases_only) = (pick(rng), rng.bool());
        disasters.push((at, Disaster::Depose { standby: standby && rng.bool(), leases_only }));
        disasters.push((at + Duration::from_secs(rng.u64(5..60)), Disaster::Restore));
    }
    let (rates, temper) = (rates(rng), temper(rng));
    let flush_delay = Duration::from_millis([1, 1, 3, 20][rng.usize(..4)]);
    // Drawn apart, so that a seed means the same to the other backend whatever is drawn here.
    let mut apart = rng.clone().fork();
    for _ in 0..apart.usize(..6) {
        disasters.push((pick(&mut apart), Disaster::Etcd(etcd_trouble(&mut apart))));
    }
    disasters.sort_by_key(|(at, _)| *at);
    Chaos { rates, nodes, standby, temper, flush_delay, etcd: etcd_faults(&mut apart), disasters }
}

fn etcd_trouble(rng: &mut fastrand::Rng) -> EtcdTrouble {
    match rng.u8(..3) {
        0 => EtcdTrouble::Cut,
        // Now and then longer than anybody tries.
        1 => EtcdTrouble::Election(Duration::from_millis(rng.u64(100..20_000))),
        _ => EtcdTrouble::Election(Duration::from_millis(rng.u64(100..3000))),
    }
}

fn etcd_faults(rng: &mut fastrand::Rng) -> EtcdFaults {
    let mut rate = |max: u32| if rng.u32(..3) == 0 { 0 } else { rng.u32(..max) };
    let (lost, unanswered, late) = (rate(20), rate(20), rate(20));
    EtcdFaults { lost, unanswered, late, late_max: Duration::from_millis(rng.u64(1..3000)) }
}

/// Some seeds suffer a little of everything, some much of one thing, and one in ten nothing.
fn rates(rng: &mut fastrand::Rng) -> Rates {
    if rng.u32(..10) == 0 {
        return Rates::default();
    }
    let mut rate = |max: u32| if rng.u32(..3) == 0 { 0 } else { rng.u32(..max) };
    let (lost_request, lost_reply, silence) = (rate(60), rate(60), rate(8));
    let (delayed, cut_watch, lagging) = (rate(200), rate(500), rate(200));
    let delay_max = Duration::from_millis(rng.u64(1..1500));
    let lag_max = Duration::from_millis(rng.u64(1..8000));
    Rates { lost_request, lost_reply, silence, delayed, delay_max, cut_watch, lagging, lag_max }
}

fn temper(rng: &mut fastrand::Rng) -> Temper {
    Temper {
        start_max: Duration::from_millis(rng.u64(200..6000)),
        stop_max: Duration::from_millis(rng.u64(100..8000)),
        crashing: if rng.bool() { rng.u32(..200) } else { 0 },
        failing: if rng.u32(..4) == 0 { rng.u32(..80) } else { 0 },
        work_max: Duration::from_millis(rng.u64(500..20_000)),
    }
}
