//! The pod network and Services on one node.
//!
//! Decisions are pure (`nft` batches as data); the [`dataplane::Dataplane`] carries them out.

pub mod dataplane;
pub mod ipam;
pub mod nft;
pub mod node;
pub mod proxy;
pub mod ruleset;
pub mod service;
pub mod table;
