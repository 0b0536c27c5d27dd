//! Every plugin: one file each, one line here, in upstream's order.

use crate::framework::Plugin;

mod balanced_allocation;
mod image_locality;
mod node_affinity;
mod node_name;
mod node_ports;
mod node_resources_fit;
mod node_unschedulable;
mod taint_toleration;

/// The default profile.
pub static PLUGINS: &[&Plugin] = &[
    &node_name::PLUGIN,
    &node_unschedulable::PLUGIN,
    &taint_toleration::PLUGIN,
    &node_affinity::PLUGIN,
    &node_ports::PLUGIN,
    &node_resources_fit::PLUGIN,
    &balanced_allocation::PLUGIN,
    &image_locality::PLUGIN,
];
