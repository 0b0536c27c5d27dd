//! Upstream's controllers in place of ours.

use super::{Client, Judge, directory};
use crate::upstream;

pub const CLIENT: Client = Client {
    name: "controller-manager",
    flags: &["--disable-controllers"],
    judge: || {
        Ok(Judge {
            version: upstream::version()?,
            program: directory().join("controller-manager.sh"),
            arguments: Vec::new(),
            client: Some(("KUBE_CONTROLLER_MANAGER", upstream::tool("kube-controller-manager")?)),
        })
    },
};
