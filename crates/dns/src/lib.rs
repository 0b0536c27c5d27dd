//! Cluster DNS on one node: names of Services and Pods, answered from memory, everything else
//! forwarded to the node's own resolvers.
//!
//! [`zone`] is what the names mean (the Kubernetes DNS specification 1.1), [`answer`] a question's
//! reply, both pure. [`serve`] is UDP and TCP, [`forward`] the way out, [`source`] the objects.

pub mod answer;
pub mod forward;
pub mod serve;
pub mod source;
pub mod zone;
