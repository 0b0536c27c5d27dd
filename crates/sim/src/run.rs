//! One seed from start to end.

use std::time::Duration;

use orlop_api::typed::kinds::{Deployment, Pod};
use orlop_client::{Client, ListOptions, Object, Patch};
use orlop_server::authz;
use orlop_store::{EtcdFaults, Event};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::chaos::{self, Chaos, Disaster, EtcdTrouble};
use crate::follower::Follower;
use crate::history::History;
use crate::network::{Counts, Cut, Network, Process};
use crate::node::SimNode;
use crate::plane::{self, Backend, Managers, Place, Plane};
use crate::script::{self, Deed};
use crate::settle;
use crate::surge::Surge;
use crate::violation::Violation;

/// How long things go wrong, at most.
const STORM_MAX_SECONDS: u64 = 150;
/// How often the checkers look.
const STEP: Duration = Duration::from_millis(250);
/// All must be settled by then. Twice the longest that one retry may have been put off by failures
/// during the storm, plus a node's way back.
const PATIENCE: Duration = Duration::from_secs(900);
/// Nothing was written for so long: it may be over.
const LULL: Duration = Duration::from_secs(20);
/// And then nothing for so long, though timers may still be set.
const REST: Duration = Duration::from_secs(180);

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Of every event, to the byte.
    pub hash: u64,
    pub events: usize,
    pub counts: Counts,
    /// From the end of the faults until all was settled.
    pub settled_after: Duration,
}

/// Runs `seed` on this thread.
pub fn run(seed: u64, backend: Backend) -> Result<Report, Violation> {
    let place = plane::fresh(backend, seed)?;
    orlop_base::id::seed_thread(seed);
    let runtime = plane::runtime()?;
    runtime.block_on(async {
        orlop_base::clock::use_virtual_time();
        let mut rng = fastrand::Rng::with_seed(seed);
        let length = Duration::from_secs(rng.u64(40..STORM_MAX_SECONDS));
        let (deeds, chaos) = (script::draw(&mut rng, length), chaos::draw(&mut rng, length));
        let mut simulation = Simulation::start(place, chaos, rng).await?;
        simulation.storm(length, deeds).await?;
        simulation.calm().await?;
        let settled_after = simulation.settle().await?;
        simulation.rest().await?;
        simulation.judge()?;
        let history = &simulation.history;
        let counts = simulation.network.counts();
        Ok(Report { hash: history.hash(), events: history.events().len(), counts, settled_after })
    })
}

struct Simulation {
    network: Network,
    /// Its store is looked at even when it is dead.
    plane: Plane,
    is_down: bool,
    managers: Managers,
    standby: Option<Managers>,
    nodes: Vec<SimNode>,
    history: History,
    surge: Surge,
    followers: Vec<Follower>,
    user: Client,
    rng: fastrand::Rng,
    flush_delay: Duration,
    /// Deeds under way.
    deeds: JoinSet<()>,
    disasters: Vec<(Duration, Disaster)>,
    generation: u32,
    /// Managers whose way is cut.
    deposed: Vec<String>,
}

impl Simulation {
    async fn start(place: Place, chaos: Chaos, mut rng: fastrand::Rng) -> Result<Self, Violation> {
        let network = Network::new(rng.u64(..));
        let plane = Plane::start(place, chaos.flush_delay, &network).await?;
        let history = History::new(&plane.store)?;
        let desk = Process { name: "user".to_owned(), dead: CancellationToken::new() };
        let user = plane::client(&network, "kubernetes-admin", &[authz::MASTERS], &desk);
        let followers =
            vec![Follower::start::<Pod>("pods", &user), Follower::start::<Deployment>("apps/deployments", &user)];
        let managers = Managers::start(&network, "managers-0");
        let standby = chaos.standby.then(|| Managers::start(&network, "standby"));
        let mut nodes: Vec<_> = (0..chaos.nodes).map(|n| SimNode::new(n, &network, chaos.temper)).collect();
        nodes.iter_mut().for_each(SimNode::start);
        network.start_faults(chaos.rates);
        if let Place::Etcd(etcd) = &plane.place {
            etcd.set_faults(chaos.etcd);
        }
        let (flush_delay, disasters) = (chaos.flush_delay, chaos.disasters);
        let surge = Surge::default();
        Ok(Self {
            network,
            plane,
            is_down: false,
            managers,
            standby,
            nodes,
            history,
            surge,
            followers,
            user,
            rng,
            flush_delay,
            deeds: JoinSet::new(),
            disasters,
            generation: 0,
            deposed: Vec::new(),
        })
    }

    /// Deeds and disasters, each at its time.
    async fn storm(&mut self, length: Duration, deeds: Vec<(Duration, Deed)>) -> Result<(), Violation> {
        let start = Instant::now();
        let (mut deeds, mut disasters) =
            (deeds.into_iter().peekable(), std::mem::take(&mut self.disasters).into_iter().peekable());
        while start.elapsed() < length {
            let is_due = |at: Duration| at <= start.elapsed();
            while let Some((_, deed)) = deeds.next_if(|(at, _)| is_due(*at)) {
                self.attempt(deed);
            }
            while let Some((_, disaster)) = disasters.next_if(|(at, _)| is_due(*at)) {
                tracing::info!(?disaster, "happens");
                self.strike(disaster).await?;
            }
            self.step(start.elapsed()).await?;
        }
        Ok(())
    }

    fn attempt(&mut self, deed: Deed) {
        let (client, mut rng) = (self.user.clone(), self.rng.fork());
        tracing::info!(?deed, "attempted");
        self.deeds.spawn(async move {
            if let Err(error) = deed.attempt(client, &mut rng).await {
                tracing::info!(error = orlop_base::error::chain(&error), "a deed failed");
            }
        });
    }

    /// Time passes, irregularly, and the checkers look.
    async fn step(&mut self, _elapsed: Duration) -> Result<(), Violation> {
        tokio::time::sleep(STEP + Duration::from_millis(self.rng.u64(..50))).await;
        self.look()
    }

    fn look(&mut self) -> Result<(), Violation> {
        let known = self.history.drain()?;
        for event in &self.history.events()[known..] {
            self.surge.see(event)?;
        }
        Ok(())
    }

    async fn strike(&mut self, disaster: Disaster) -> Result<(), Violation> {
        match disaster {
            Disaster::Crash { managers, disk } => self.crash(managers, disk)?,
            Disaster::Recover => self.recover().await?,
            Disaster::RestartManagers => {
                self.network.count(|counts| counts.restarts += 1);
                self.managers.kill();
                self.start_managers();
            }
            Disaster::KillNode { node, power } => {
                if self.nodes[node].is_alive() {
                    self.network.count(|counts| counts.node_deaths += 1);
                    self.nodes[node].kill(power);
                }
            }
            Disaster::StartNode { node } => {
                if !self.nodes[node].is_alive() {
                    self.nodes[node].start();
                }
            }
            Disaster::Partition { node, cut } => {
                self.network.cut_off(Cut::Process(self.nodes[node].name.clone()), cut);
            }
            Disaster::Depose { standby, leases_only } => self.depose(standby, leases_only),
            Disaster::Etcd(trouble) => {
                if let Place::Etcd(etcd) = &self.plane.place {
                    match trouble {
                        EtcdTrouble::Cut => etcd.cut(),
                        EtcdTrouble::Election(takes) => etcd.elect(takes),
                    }
                }
            }
            Disaster::Restore => {
                for identity in std::mem::take(&mut self.deposed) {
                    self.network.cut_off(Cut::Leases(identity.clone()), false);
                    self.network.cut_off(Cut::Process(identity), false);
                }
            }
        }
        Ok(())
    }

    fn depose(&mut self, standby: bool, leases_only: bool) {
        let whom = if standby { self.standby.as_ref() } else { Some(&self.managers) };
        let Some(identity) = whom.map(|managers| managers.identity.clone()) else { return };
        self.network.count(|counts| counts.lease_cuts += 1);
        let cut = if leases_only { Cut::Leases } else { Cut::Process };
        self.network.cut_off(cut(identity.clone()), true);
        self.deposed.push(identity);
    }

    fn crash(&mut self, managers: bool, seed: u64) -> Result<(), Violation> {
        if self.is_down {
            return Ok(());
        }
        self.is_down = true;
        self.network.count(|counts| counts.crashes += 1);
        self.look()?;
        self.plane.place = self.plane.kill(&self.network, seed);
        if managers {
            self.managers.kill();
        }
        Ok(())
    }

    async fn recover(&mut self) -> Result<(), Violation> {
        if !self.is_down {
            return Ok(());
        }
        self.is_down = false;
        // What was published to the very end counts.
        self.look()?;
        self.plane = Plane::start(self.plane.place.clone(), self.flush_delay, &self.network).await?;
        self.history.recovered(&self.plane.store)?;
        self.look()?;
        self.history.check_state(&self.plane.store, "a crash")?;
        self.check_acks()?;
        if self.managers.is_dead() {
            self.start_managers();
        }
        Ok(())
    }

    fn start_managers(&mut self) {
        self.generation += 1;
        self.managers = Managers::start(&self.network, &format!("managers-{}", self.generation));
    }

    fn check_acks(&self) -> Result<(), Violation> {
        self.network.take_acks().iter().try_for_each(|ack| self.history.check_ack(ack))
    }

    /// The faults stop: everybody is up and reachable, and paused rollouts go on.
    async fn calm(&mut self) -> Result<(), Violation> {
        self.recover().await?;
        self.network.calm();
        if let Place::Etcd(etcd) = &self.plane.place {
            etcd.set_faults(EtcdFaults::default());
        }
        for node in &mut self.nodes {
            if !node.is_alive() {
                node.start();
            }
            node.be_gentle();
        }
        // Or one would pause anew what is resumed here.
        while self.deeds.join_next().await.is_some() {}
        let failed =
            |error: orlop_client::Error| Violation::Setup(format!("in calm: {}", orlop_base::error::chain(&error)));
        let all = self.user.all::<Deployment>().list(&ListOptions::default()).await.map_err(failed)?;
        for deployment in all.items.iter().filter(|d| d.spec.paused == Some(true)) {
            let api = self.user.api::<Deployment>(Object::namespace(deployment));
            let patched = api.patch(Object::name(deployment), &Patch::Merge(json!({"spec": {"paused": false}}))).await;
            match patched {
                Err(error) if !error.is_not_found() => return Err(failed(error)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Waits until nothing is left to do and nobody has done anything for a while.
    async fn settle(&mut self) -> Result<Duration, Violation> {
        let start = Instant::now();
        let mut last_write = start;
        loop {
            let known = self.history.events().len();
            self.step(start.elapsed()).await?;
            if self.history.events()[known..].iter().any(|event| !is_routine(event)) {
                last_write = Instant::now();
            }
            if last_write.elapsed() < LULL {
                continue;
            }
            let left = settle::left_to_do(&self.history);
            if left.is_empty() {
                return Ok(last_write - start);
            }
            if start.elapsed() > PATIENCE {
                return Err(Violation::Unsettled { seconds: PATIENCE.as_secs(), left });
            }
            tokio::time::sleep(LULL / 4).await;
        }
    }

    /// Every decision is an empty plan now: nothing is written but Leases.
    async fn rest(&mut self) -> Result<(), Violation> {
        let (start, known) = (Instant::now(), self.history.events().len());
        while start.elapsed() < REST {
            tokio::time::sleep(REST / 6).await;
            self.look()?;
        }
        let written = self.history.events()[known..].iter().filter(|event| !is_routine(event));
        let written: Vec<String> = written.map(describe).collect();
        if written.is_empty() { Ok(()) } else { Err(Violation::Restless(written)) }
    }

    /// The last look at everything.
    fn judge(&mut self) -> Result<(), Violation> {
        self.history.check_state(&self.plane.store, "everything")?;
        self.check_acks()?;
        self.followers.iter().try_for_each(|follower| follower.check(&self.history))
    }
}

/// Written for ever, also when all is well.
fn is_routine(event: &Event) -> bool {
    &*event.entry.key.resource == "coordination.k8s.io/leases"
}

fn describe(event: &Event) -> String {
    let key = &event.entry.key;
    let what = if event.deleted { " deleted" } else { "" };
    format!("{} {}/{}{what} at {}", key.resource, key.namespace, key.name, event.revision)
}
