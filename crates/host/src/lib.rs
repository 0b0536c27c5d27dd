//! Linux: links, addresses, routes, nftables and conntrack over netlink, and nothing that decides.
//!
//! [`linux::Linux`] implements the seams that the parts above declare. Every netlink exchange is
//! one send and the replies it queued; the kernel works through it before `send` returns, so none
//! of this waits.

mod conntrack;
mod netlink;
mod netns;
mod nft;
mod rtnl;

pub mod linux;
