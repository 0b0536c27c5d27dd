use jiff::{SignedDuration, Timestamp};
use orlop_api::typed::k8s_openapi::api::core::v1::ObjectReference;
use orlop_api::typed::kinds::Event;
use tokio_util::sync::CancellationToken;

use super::correlator::{Correlator, Verdict};
use super::recorder::event_name;
use super::{EventType, Recorder};
use crate::client::Client;
use crate::testing::MemoryApi;

fn recorder() -> (MemoryApi, Recorder) {
    let api = MemoryApi::default();
    let client = Client::new(api.clone(), "test/1");
    (api.clone(), Recorder::new(client, "tester", "", CancellationToken::new()))
}

fn pod(name: &str) -> ObjectReference {
    let text = |s: &str| Some(s.to_owned());
    ObjectReference { kind: text("Pod"), namespace: text("d"), name: text(name), uid: text("u"), ..Default::default() }
}

/// `name count message`, or `-` for silence; `*` marks a patch.
fn show(verdict: Option<&Verdict>) -> String {
    verdict.map_or("-".to_owned(), |v| {
        let mark = if v.patch.is_some() { "*" } else { "" };
        format!("{}{} {}", mark, v.event.count.unwrap(), v.event.message.as_deref().unwrap())
    })
}

#[tokio::test]
async fn repeats_are_counted_similar_ones_combined_and_spam_dropped() {
    let (_, recorder) = recorder();
    let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let mut correlator = Correlator::new();
    let event = |message: &str| -> Event { recorder.make(&pod("p"), EventType::Normal, "R", message.to_owned()) };
    let mut judge =
        |message: &str, at: i64| show(correlator.judge(event(message), start + SignedDuration::from_secs(at)).as_ref());
    assert_eq!([judge("m0", 0), judge("m0", 1), judge("m0", 2)], ["1 m0", "*2 m0", "*3 m0"]);
    for n in 1..9 {
        assert_eq!(judge(&format!("m{n}"), 3), format!("1 m{n}"));
    }
    assert_eq!(judge("m9", 4), "1 (combined from similar events): m9");
    assert_eq!(judge("m10", 5), "*2 (combined from similar events): m10");
    for _ in 0..12 {
        judge("m0", 6);
    }
    assert_eq!(judge("m0", 7), "-");
    // Five minutes pay for one event more; after ten the messages are no longer similar.
    assert!(judge("m0", 307).starts_with('*'));
    assert_eq!(judge("m0", 308), "-");
    assert_eq!(judge("m20", 1000), "1 m20");
}

#[tokio::test(start_paused = true)]
async fn writes_once_then_patches_the_count() {
    let (api, recorder) = recorder();
    for _ in 0..3 {
        recorder.event(&pod("p"), EventType::Warning, "BackOff", "no");
    }
    recorder.event(&ObjectReference::default(), EventType::Normal, "Cluster", "x");
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    let events = api.objects("/api/v1/events");
    let shown: Vec<String> =
        events.iter().map(|e| format!("{} {} {}", e["metadata"]["namespace"], e["reason"], e["count"])).collect();
    assert_eq!(shown, [r#""d" "BackOff" 3"#, r#""default" "Cluster" 1"#]);
    let verbs: Vec<String> = api.take_requests().iter().map(|r| r.split('.').next().unwrap().to_owned()).collect();
    let patch = "PATCH /api/v1/namespaces/d/events/p";
    assert_eq!(verbs[..3], ["POST /api/v1/namespaces/d/events", patch, patch]);
}

#[test]
fn names_of_events_are_valid() {
    let at = 1_767_225_600_000_000_001;
    assert_eq!(event_name("web-1", at), "web-1.18867251edfa0001");
    assert_eq!(event_name("Bad_Name", at).len(), 36);
}
