//! What a scheduler is asked to do, as `conformance/rival/scheduler.yaml` says.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;

use super::fleet::Nodes;
use super::scale::Scale;
use crate::upstream;

#[derive(Deserialize)]
struct File {
    pods: BTreeMap<String, Value>,
    workloads: Vec<Written>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    nodes: Nodes,
    standing: Option<Group>,
    waiting: Option<Group>,
    churn: Option<Churn>,
    deleted_per_second: Option<u32>,
    measured: Group,
}

#[derive(Deserialize)]
struct Group {
    pod: String,
    count: usize,
}

/// Objects that come and go while the clock runs.
#[derive(Clone, Deserialize)]
pub struct Churn {
    pub every_milliseconds: u64,
    /// Each goes again at the next turn.
    #[serde(default)]
    pub replaced: bool,
    pub objects: Vec<Value>,
}

/// So many pods of one kind.
#[derive(Clone)]
pub struct Pods {
    template: Value,
    pub count: usize,
}

impl Pods {
    pub fn object(&self, name: &str) -> Value {
        let mut object = self.template.clone();
        object["apiVersion"] = "v1".into();
        object["kind"] = "Pod".into();
        object["metadata"]["name"] = name.into();
        object
    }
}

pub struct Workload {
    pub name: String,
    pub nodes: Nodes,
    /// They have a node.
    pub standing: Option<Pods>,
    /// Nobody places them.
    pub waiting: Option<Pods>,
    pub churn: Option<Churn>,
    /// Of the standing ones, while the clock runs.
    pub deleted_per_second: Option<u32>,
    /// In each run.
    pub measured: Pods,
}

pub fn all(scale: Scale) -> Result<Vec<Workload>> {
    let path = upstream::directory().join("rival/scheduler.yaml");
    let text = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    let value = orlop_api::codec::yaml::from_yaml(&text).with_context(|| format!("reading {}", path.display()))?;
    let file: File = serde_json::from_value(value).with_context(|| format!("reading {}", path.display()))?;
    file.workloads.iter().map(|written| written.complete(&file.pods, scale)).collect()
}

impl Written {
    fn complete(&self, pods: &BTreeMap<String, Value>, scale: Scale) -> Result<Workload> {
        let template =
            |name: &str| pods.get(name).cloned().with_context(|| format!("{}: there is no pod {name}", self.name));
        let group = |group: &Group| anyhow::Ok(Pods { template: template(&group.pod)?, count: scale.of(group.count) });
        let churn = self.churn.clone().map(|mut churn| {
            for object in &mut churn.objects {
                if let Some(name) = object["pod"].as_str() {
                    *object = Pods { template: template(name)?, count: 1 }.object("");
                }
            }
            anyhow::Ok(churn)
        });
        Ok(Workload {
            name: self.name.clone(),
            nodes: Nodes { count: scale.of(self.nodes.count), ..self.nodes.clone() },
            standing: self.standing.as_ref().map(group).transpose()?,
            waiting: self.waiting.as_ref().map(group).transpose()?,
            churn: churn.transpose()?,
            deleted_per_second: self.deleted_per_second,
            measured: group(&self.measured)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_workload_is_whole_and_has_a_name_of_its_own() {
        let workloads = all(Scale::new(1, false)).unwrap();
        let names: std::collections::BTreeSet<_> = workloads.iter().map(|w| &w.name).collect();
        assert_eq!(names.len(), workloads.len());
        for workload in &workloads {
            let pod = workload.measured.object("p");
            assert_eq!(pod["metadata"]["name"], "p", "{}", workload.name);
            assert!(pod["spec"]["containers"][0]["name"].is_string(), "{}", workload.name);
            assert!(workload.nodes.count > 0 || workload.nodes.large.is_some(), "{}", workload.name);
        }
    }
}
