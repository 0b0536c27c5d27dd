//! Every plugin: one file each, one line here, in upstream's order.

use crate::framework::Plugin;

mod balanced_allocation;
mod image_locality;
pub mod inter_pod_affinity;
mod node_affinity;
mod node_name;
mod node_ports;
mod node_resources_fit;
mod node_unschedulable;
pub mod pod_topology_spread;
mod taint_toleration;
pub mod volume_binding;
pub mod volume_restrictions;
mod volume_zone;

/// The default profile.
pub static PLUGINS: &[&Plugin] = &[
    &node_name::PLUGIN,
    &node_unschedulable::PLUGIN,
    &taint_toleration::PLUGIN,
    &node_affinity::PLUGIN,
    &node_ports::PLUGIN,
    &node_resources_fit::PLUGIN,
    &volume_restrictions::PLUGIN,
    &volume_binding::PLUGIN,
    &volume_zone::PLUGIN,
    &pod_topology_spread::PLUGIN,
    &inter_pod_affinity::PLUGIN,
    &balanced_allocation::PLUGIN,
    &image_locality::PLUGIN,
];
