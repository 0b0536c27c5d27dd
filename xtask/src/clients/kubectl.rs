//! Upstream's kubectl: a tour of its commands.

use super::{Client, Judge, directory};
use crate::upstream;

pub const CLIENT: Client = Client {
    name: "kubectl",
    flags: &[],
    judge: || {
        Ok(Judge {
            version: upstream::version()?,
            program: directory().join("kubectl.sh"),
            arguments: Vec::new(),
            client: Some(("KUBECTL", upstream::tool("kubectl")?)),
        })
    },
};
