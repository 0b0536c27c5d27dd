//! Files this node writes for containers: `/etc/hosts`, `/etc/hostname`, `/etc/resolv.conf`.

pub mod hostname;
pub mod hosts;
pub mod resolv;
