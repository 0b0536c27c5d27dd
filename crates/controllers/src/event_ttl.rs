//! Events are forgotten an hour after they last happened (`--event-ttl`). Each sets its own alarm.

use jiff::{SignedDuration, Timestamp};
use orlop_api::typed::kinds::Event;
use orlop_client::engine::{Controller, Grant, Key, Plan, Source, View, Write};

const TTL: SignedDuration = SignedDuration::from_hours(1);

pub fn controller() -> Controller {
    let grants = vec![Grant::new("", &["events"], &["delete"])];
    Controller::new("event-ttl-controller", "event_ttl", vec![Source::subject::<Event>()], grants, decide)
}

fn decide(key: &Key, view: &View, now: Timestamp) -> Plan {
    let Some(event) = view.subject::<Event>(key) else { return Plan::none() };
    let Some(last) = last_seen(event) else { return Plan::none() };
    let end = last + TTL;
    if now < end {
        return Plan::wake_at(end);
    }
    let mut plan = Plan::none();
    plan.write(Write::delete(&**event));
    plan
}

/// The latest of all times that an event may carry.
fn last_seen(event: &Event) -> Option<Timestamp> {
    let series = event.series.as_ref().and_then(|s| s.last_observed_time.as_ref()).map(|t| t.0);
    let created = event.metadata.creation_timestamp.as_ref().map(|t| t.0);
    let times = [created, event.last_timestamp.as_ref().map(|t| t.0), event.event_time.as_ref().map(|t| t.0), series];
    times.into_iter().flatten().max()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_goes_an_hour_after_it_was_last_seen() {
        let event = json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e", "namespace": "d", "uid": "u",
            "creationTimestamp": "2026-01-01T00:00:00Z"}, "lastTimestamp": "2026-01-01T00:30:00Z", "involvedObject": {}});
        let view = controller().view_of(&[event]);
        let at = |time: &str| decide(&Key::new("d", "e"), &view, time.parse().unwrap()).lines();
        assert_eq!(at("2026-01-01T01:00:00Z"), ["wake 2026-01-01T01:30:00Z"]);
        assert_eq!(at("2026-01-01T01:30:00Z"), ["delete events d/e"]);
    }
}
