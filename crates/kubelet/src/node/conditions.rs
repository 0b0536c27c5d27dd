//! Node conditions, in upstream's words (`pkg/kubelet/nodestatus`).

use orlop_api::typed::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::corev1::NodeCondition;

/// What the node says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    pub memory_pressure: bool,
    pub disk_pressure: bool,
    pub pid_pressure: bool,
    /// Why the node is not ready; empty: it is.
    pub errors: Vec<String>,
    /// What pods may ask for and this host cannot give.
    pub limitations: Vec<String>,
}

/// One condition before its times: type, status, reason, message, and the event its change is told by.
struct Says {
    name: &'static str,
    status: bool,
    reason: &'static str,
    message: String,
    event: &'static str,
}

impl Health {
    fn says(&self) -> [Says; 4] {
        let says = |name, status, yes: [&'static str; 3], no: [&'static str; 3]| {
            let [reason, message, event] = if status { yes } else { no };
            Says { name, status, reason, message: message.to_owned(), event }
        };
        [
            says(
                "MemoryPressure",
                self.memory_pressure,
                [
                    "KubeletHasInsufficientMemory",
                    "kubelet has insufficient memory available",
                    "NodeHasInsufficientMemory",
                ],
                ["KubeletHasSufficientMemory", "kubelet has sufficient memory available", "NodeHasSufficientMemory"],
            ),
            says(
                "DiskPressure",
                self.disk_pressure,
                ["KubeletHasDiskPressure", "kubelet has disk pressure", "NodeHasDiskPressure"],
                ["KubeletHasNoDiskPressure", "kubelet has no disk pressure", "NodeHasNoDiskPressure"],
            ),
            says(
                "PIDPressure",
                self.pid_pressure,
                ["KubeletHasInsufficientPID", "kubelet has insufficient PID available", "NodeHasInsufficientPID"],
                ["KubeletHasSufficientPID", "kubelet has sufficient PID available", "NodeHasSufficientPID"],
            ),
            self.ready(),
        ]
    }

    fn ready(&self) -> Says {
        let (status, reason, mut message, event) = match self.errors.as_slice() {
            [] => (true, "KubeletReady", "kubelet is posting ready status".to_owned(), "NodeReady"),
            [one] => (false, "KubeletNotReady", one.clone(), "NodeNotReady"),
            many => (false, "KubeletNotReady", format!("[{}]", many.join(", ")), "NodeNotReady"),
        };
        if !self.limitations.is_empty() {
            message = format!("{message}. WARNING: {}", self.limitations.join("; "));
        }
        Says { name: "Ready", status, reason, message, event }
    }
}

/// The conditions with those of others kept, and the events that changes are told by.
pub fn conditions(health: &Health, old: &[NodeCondition], now: &Time) -> (Vec<NodeCondition>, Vec<&'static str>) {
    let says = health.says();
    let mut conditions: Vec<NodeCondition> =
        old.iter().filter(|c| !says.iter().any(|s| s.name == c.type_)).cloned().collect();
    let mut events = Vec::new();
    for Says { name, status, reason, message, event } in says {
        let before = old.iter().find(|c| c.type_ == name);
        let status = if status { "True" } else { "False" };
        let since = before.filter(|c| c.status == status).and_then(|c| c.last_transition_time.clone());
        if since.is_none() {
            events.push(event);
        }
        conditions.push(NodeCondition {
            type_: name.to_owned(),
            status: status.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message),
            last_heartbeat_time: Some(now.clone()),
            last_transition_time: Some(since.unwrap_or_else(|| now.clone())),
        });
    }
    (conditions, events)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transitions_are_told_and_others_conditions_kept() {
        let at = |s| Time(jiff::Timestamp::from_second(s).unwrap());
        let foreign =
            NodeCondition { type_: "NetworkUnavailable".into(), status: "False".into(), ..Default::default() };
        let (first, events) = conditions(&Health::default(), &[foreign], &at(1));
        assert_eq!(events, ["NodeHasSufficientMemory", "NodeHasNoDiskPressure", "NodeHasSufficientPID", "NodeReady"]);
        assert_eq!(first[0].type_, "NetworkUnavailable");
        let sick = Health { errors: vec!["runtime is down".into()], ..Health::default() };
        let (second, events) = conditions(&sick, &first, &at(2));
        assert_eq!(events, ["NodeNotReady"]);
        let ready = second.iter().find(|c| c.type_ == "Ready").unwrap();
        assert_eq!((ready.status.as_str(), ready.message.as_deref()), ("False", Some("runtime is down")));
        assert_eq!(second.iter().find(|c| c.type_ == "DiskPressure").unwrap().last_transition_time, Some(at(1)));
    }
}
