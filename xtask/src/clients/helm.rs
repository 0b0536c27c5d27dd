//! Helm 3 and Helm 4, each with a chart of ours.

use anyhow::Result;

use super::{Client, Judge, directory};
use crate::upstream;

pub const THREE: Client = Client { name: "helm3", flags: &[], judge: || judge("helm3") };
pub const FOUR: Client = Client { name: "helm4", flags: &[], judge: || judge("helm4") };

fn judge(tool: &str) -> Result<Judge> {
    Ok(Judge {
        version: upstream::version_of(tool)?,
        program: directory().join("helm.sh"),
        arguments: Vec::new(),
        client: Some(("HELM", upstream::tool(tool)?)),
    })
}
