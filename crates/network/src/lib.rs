//! The pod network and Services on one node.
//!
//! Decisions are pure (`nft` batches as data); the [`dataplane::Dataplane`] carries them out.

pub mod dataplane;
pub mod nft;
