//! Upstream's scheduler in place of ours.

use super::{Client, Judge, directory};
use crate::upstream;

pub const CLIENT: Client = Client {
    name: "scheduler",
    flags: &["--disable-scheduler"],
    judge: || {
        Ok(Judge {
            version: upstream::version()?,
            program: directory().join("scheduler.sh"),
            arguments: Vec::new(),
            client: Some(("KUBE_SCHEDULER", upstream::tool("kube-scheduler")?)),
        })
    },
};
