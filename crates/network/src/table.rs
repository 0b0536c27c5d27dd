//! The table as it stands in the kernel, and the change that a new decision makes to it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::nft::{Batch, Element, Op};
use crate::ruleset::{self, HAIRPIN, Layout, NodeNetwork, octets};
use crate::service::Contribution;

/// Ours, in the kernel's list of tables.
pub const TABLE: &str = "orlop";

/// A flow to forget: UDP to this destination that `endpoint` answered (`None`: whoever did).
pub type StaleFlow = (IpAddr, u16, Option<IpAddr>);

/// All contributions of one address family. Every method returns the operations that bring the
/// kernel along; they must be applied in order.
#[derive(Debug)]
pub struct Table {
    layout: Layout,
    services: BTreeMap<String, Contribution>,
    /// How many contributions use the shared chains of each endpoint count.
    counts: BTreeMap<u32, usize>,
    /// How many want each hairpin address.
    hairpin: BTreeMap<IpAddr, usize>,
}

impl Table {
    pub fn new(layout: Layout) -> Self {
        Self { layout, services: BTreeMap::new(), counts: BTreeMap::new(), hairpin: BTreeMap::new() }
    }

    /// Replaces the kernel's table by this one, whole: at start, and to recover from any error.
    pub fn rebuild(&self, node: &NodeNetwork) -> Batch {
        let mut fresh = Self::new(self.layout);
        let mut ops = ruleset::base(self.layout, node);
        for (key, contribution) in &self.services {
            ops.extend(fresh.set(key, contribution.clone()).0);
        }
        self.batch(merge_elements(ops))
    }

    pub fn batch(&self, ops: Vec<Op>) -> Batch {
        Batch { family: self.layout.family, table: TABLE.into(), ops }
    }

    pub fn layout(&self) -> Layout {
        self.layout
    }

    pub fn keys(&self) -> impl Iterator<Item = &String> {
        self.services.keys()
    }

    /// A Service's new contribution (default: none). Returns the change and the flows it makes stale.
    pub fn set(&mut self, key: &str, new: Contribution) -> (Vec<Op>, Vec<StaleFlow>) {
        let old = self.services.remove(key).unwrap_or_default();
        if old == new {
            self.keep(key, new);
            return (Vec::new(), Vec::new());
        }
        let mut ops = Vec::new();
        let replaces_own = old.own != new.own;
        for n in &new.counts {
            if !old.counts.contains(n) && grow(&mut self.counts, *n) {
                ops.extend(ruleset::shared_chains(self.layout, *n));
            }
        }
        self.remove_elements(&old, &new, &mut ops);
        if replaces_own {
            ops.extend(dismantle(&old.own, &new.own));
            ops.extend(assemble(&new.own, &old.own));
        }
        self.add_elements(&old, &new, replaces_own, &mut ops);
        for n in &old.counts {
            if !new.counts.contains(n) && shrink(&mut self.counts, *n) {
                ops.extend(ruleset::remove_shared_chains(*n));
            }
        }
        let stale = stale_flows(&old, &new);
        self.keep(key, new);
        (ops, stale)
    }

    fn keep(&mut self, key: &str, contribution: Contribution) {
        if contribution != Contribution::default() {
            self.services.insert(key.into(), contribution);
        }
    }

    /// Elements that go, or whose value changes; those in dismantled sets go with their set.
    fn remove_elements(&mut self, old: &Contribution, new: &Contribution, ops: &mut Vec<Op>) {
        let mut gone: BTreeMap<&str, Vec<Vec<u8>>> = BTreeMap::new();
        let dropped =
            own_sets(&old.own).filter(|set| !own_sets(&new.own).any(|kept| kept == *set)).collect::<BTreeSet<_>>();
        for ((set, key), value) in &old.elements {
            let same = new.elements.get(&(set.clone(), key.clone())) == Some(value);
            if !same && !dropped.contains(set.as_str()) {
                gone.entry(set).or_default().push(key.clone());
            }
        }
        for ip in old.hairpin.difference(&new.hairpin) {
            if shrink(&mut self.hairpin, *ip) {
                gone.entry(HAIRPIN).or_default().push(octets(*ip).repeat(2));
            }
        }
        ops.extend(gone.into_iter().map(|(set, keys)| Op::DeleteElements { set: set.into(), keys }));
    }

    fn add_elements(&mut self, old: &Contribution, new: &Contribution, replaces_own: bool, ops: &mut Vec<Op>) {
        let mut added: BTreeMap<&str, Vec<Element>> = BTreeMap::new();
        let fresh = if replaces_own {
            own_sets(&new.own).filter(|set| !own_sets(&old.own).any(|kept| kept == *set)).collect()
        } else {
            BTreeSet::new()
        };
        for ((set, key), value) in &new.elements {
            let same = old.elements.get(&(set.clone(), key.clone())) == Some(value);
            if !same || fresh.contains(set.as_str()) {
                added.entry(set).or_default().push(Element { key: key.clone(), value: value.clone() });
            }
        }
        for ip in new.hairpin.difference(&old.hairpin) {
            if grow(&mut self.hairpin, *ip) {
                added.entry(HAIRPIN).or_default().push(Element { key: octets(*ip).repeat(2), value: None });
            }
        }
        ops.extend(added.into_iter().map(|(set, elements)| Op::AddElements { set: set.into(), elements }));
    }
}

/// Removes own chains' rules and what the new decision does not name again. Sets that stay keep
/// their elements: clients stay with their endpoints.
fn dismantle(old: &[Op], new: &[Op]) -> Vec<Op> {
    let chains = |ops: &[Op]| -> Vec<String> {
        ops.iter().filter_map(|op| if let Op::AddChain { name, .. } = op { Some(name.clone()) } else { None }).collect()
    };
    let kept = chains(new);
    let mut ops: Vec<Op> = chains(old).into_iter().rev().map(|name| Op::FlushChain { name }).collect();
    ops.extend(chains(old).into_iter().rev().filter(|name| !kept.contains(name)).map(|name| Op::DeleteChain { name }));
    let gone = old.iter().filter(|op| !new.contains(op));
    ops.extend(
        gone.filter_map(
            |op| if let Op::AddSet(set) = op { Some(Op::DeleteSet { name: set.name.clone() }) } else { None },
        ),
    );
    ops
}

/// Makes what is not there yet, then all rules anew.
fn assemble(new: &[Op], old: &[Op]) -> Vec<Op> {
    new.iter().filter(|op| matches!(op, Op::AddRule { .. }) || !old.contains(op)).cloned().collect()
}

fn own_sets(ops: &[Op]) -> impl Iterator<Item = &str> {
    ops.iter().filter_map(|op| if let Op::AddSet(set) = op { Some(set.name.as_str()) } else { None })
}

fn stale_flows(old: &Contribution, new: &Contribution) -> Vec<StaleFlow> {
    let mut stale = Vec::new();
    for ((ip, port), before) in &old.udp {
        let after = new.udp.get(&(*ip, *port));
        stale.extend(before.iter().filter(|e| after.is_none_or(|a| !a.contains(e))).map(|e| (*ip, *port, Some(*e))));
    }
    for ((ip, port), after) in &new.udp {
        let had_none = old.udp.get(&(*ip, *port)).is_none_or(BTreeSet::is_empty);
        if had_none && !after.is_empty() {
            // Flows that began while nobody answered are tracked without NAT and would stay so.
            stale.push((*ip, *port, None));
        }
    }
    stale
}

/// Counts one more user; true for the first.
fn grow<K: Ord>(users: &mut BTreeMap<K, usize>, key: K) -> bool {
    let count = users.entry(key).or_default();
    *count += 1;
    *count == 1
}

/// Counts one user less; true for the last.
fn shrink<K: Ord>(users: &mut BTreeMap<K, usize>, key: K) -> bool {
    let Some(count) = users.get_mut(&key) else { return false };
    *count -= 1;
    if *count > 0 {
        return false;
    }
    users.remove(&key);
    true
}

/// Joins the additions to the same set: one message instead of one per Service.
fn merge_elements(ops: Vec<Op>) -> Vec<Op> {
    let mut others = Vec::with_capacity(ops.len());
    let mut elements: BTreeMap<String, Vec<Element>> = BTreeMap::new();
    for op in ops {
        match op {
            Op::AddElements { set, elements: more } => elements.entry(set).or_default().extend(more),
            other => others.push(other),
        }
    }
    // Verdict elements refer to chains, so all elements come after all chains.
    others.extend(elements.into_iter().map(|(set, elements)| Op::AddElements { set, elements }));
    others
}
