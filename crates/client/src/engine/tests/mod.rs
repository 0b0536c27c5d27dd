//! The engine against the in-memory server: a toy controller keeps as many Secrets as its
//! ConfigMap says, and the server misbehaves.

mod lease;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use http::Method;
use jiff::{SignedDuration, Timestamp};
use orlop_api::status::{GroupResource, StatusError};
use orlop_api::typed::k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use orlop_api::typed::kinds::{ConfigMap, Secret};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{Controller, Key, Note, Plan, Running, Source, Step, View, Write, start};
use crate::cache::{Cache, Factory, Index};
use crate::client::Client;
use crate::object::Object;
use crate::testing::{Fault, MemoryApi};

const MAPS: &str = "/api/v1/configmaps";
const SECRETS: &str = "/api/v1/secrets";

const BY_OWNER: Index<Secret> =
    Index { name: "owner", values: |s| Object::owner_uids(s).iter().map(|(uid, _)| (*uid).to_owned()).collect() };

fn toy(decide: impl Fn(&Key, &View, Timestamp) -> Plan + Send + Sync + 'static) -> Controller {
    let wakes_owner = Source::indexed::<Secret>(vec![BY_OWNER], |delta, view, wake| {
        let owned = Object::owner_uids(&**delta.object()).into_iter().map(|(uid, _)| uid).collect::<Vec<_>>();
        view.of::<ConfigMap>().iter().filter(|m| owned.contains(&Object::uid(&***m))).for_each(|m| wake(Key::of(&**m)));
    });
    Controller::new("toy-controller", "toy", vec![Source::subject::<ConfigMap>(), wakes_owner], Vec::new(), decide)
}

/// As many secrets as `data.wanted`; `data.failed` says why not, if so.
fn keep_secrets(key: &Key, view: &View, _: Timestamp) -> Plan {
    let mut plan = Plan::none();
    let Some(map) = view.subject::<ConfigMap>(key) else { return plan };
    let field = |name: &str| map.data.as_ref().and_then(|d| d.get(name)).map(String::as_str).unwrap_or_default();
    let why = view.failure().map(|f| f.reason.clone()).unwrap_or_default();
    if view.failure().is_none() {
        let wanted: usize = field("wanted").parse().unwrap_or(0);
        let mine: Vec<_> = view.of::<Secret>().indexed("owner", Object::uid(&**map)).collect();
        let create = |_| {
            let secret = owned_secret(map);
            let done = Note::normal(&**map, "SuccessfulCreate", "Created secret: {name}");
            Write::create(&secret).done(done).failed(Note::warning(&**map, "FailedCreate", "Error creating: {error}"))
        };
        plan.steps.push(Step::SlowStart((mine.len()..wanted).map(create).collect()));
        plan.steps.push(Step::Together(mine.iter().skip(wanted).map(|s| Write::delete(&***s)).collect()));
    }
    if field("failed") != why {
        let mut changed = (**map).clone();
        changed.data.get_or_insert_default().insert("failed".into(), why);
        plan.write(Write::update(&changed));
    }
    plan
}

fn owned_secret(map: &ConfigMap) -> Secret {
    let owner = OwnerReference {
        api_version: "v1".into(),
        kind: "ConfigMap".into(),
        name: Object::name(map).into(),
        uid: Object::uid(map).into(),
        controller: Some(true),
        ..Default::default()
    };
    Secret {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", Object::name(map))),
            namespace: map.metadata.namespace.clone(),
            owner_references: Some(vec![owner]),
            ..Default::default()
        },
        ..Default::default()
    }
}

struct World {
    api: MemoryApi,
    client: Client,
    factory: Factory,
    shutdown: CancellationToken,
}

impl World {
    fn new() -> Self {
        let api = MemoryApi::default();
        let client = Client::new(api.clone(), "test/1");
        let shutdown = CancellationToken::new();
        Self { api, client: client.clone(), factory: Factory::new(client, shutdown.clone()), shutdown }
    }

    fn start(&self, controller: Controller) -> Running {
        start(controller, &self.factory, self.client.clone(), self.shutdown.clone())
    }

    async fn put(&self, name: &str, wanted: usize) {
        let data = BTreeMap::from([("wanted".to_owned(), wanted.to_string())]);
        let metadata = ObjectMeta { name: Some(name.into()), namespace: Some("d".into()), ..Default::default() };
        let map = ConfigMap { metadata, data: Some(data), ..Default::default() };
        let maps = self.client.api::<ConfigMap>("d");
        if maps.create(&map).await.is_err() {
            maps.update(&map).await.unwrap();
        }
    }

    fn secrets(&self) -> Cache<Secret> {
        self.factory.cache()
    }

    async fn settle(&self, count: usize) {
        self.secrets().wait_until(|s| s.len() == count).await;
        // Whatever else is still on its way.
        tokio::time::sleep(std::time::Duration::from_mins(1)).await;
        assert_eq!(self.api.objects(SECRETS).len(), count);
    }
}

#[tokio::test(start_paused = true)]
async fn converges_and_then_does_nothing() {
    let world = World::new();
    world.put("a", 7).await;
    let decisions = Arc::new(AtomicUsize::new(0));
    let count = decisions.clone();
    let running = world.start(toy(move |key, view, now| {
        count.fetch_add(1, Ordering::SeqCst);
        keep_secrets(key, view, now)
    }));
    world.settle(7).await;
    let creations =
        |api: &MemoryApi| api.take_requests().iter().filter(|r| r.starts_with("POST") && r.contains("secrets")).count();
    assert_eq!(creations(&world.api), 7);
    // One to create, one after the fence to see that all is well.
    assert_eq!(decisions.load(Ordering::SeqCst), 2);
    world.put("a", 2).await;
    world.settle(2).await;
    assert_eq!(creations(&world.api), 0);
    world.shutdown.cancel();
    running.ended().await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_reply_never_does_a_thing_twice() {
    for (fault, times) in
        [(Fault::LostReply, 1), (Fault::LostReply, 9), (Fault::LostRequest, 1), (Fault::LostRequest, 9)]
    {
        let world = World::new();
        world.secrets().synced().await;
        for _ in 0..times {
            world.api.fail_next(Method::POST, "secrets", fault.clone());
        }
        let peak = Arc::new(AtomicUsize::new(0));
        let high = peak.clone();
        let _watch = world.secrets().observe({
            let live = Mutex::new(0usize);
            move |delta| {
                let mut live = live.lock().unwrap();
                if delta.old.is_none() {
                    *live += 1;
                }
                high.fetch_max(*live, Ordering::SeqCst);
            }
        });
        let _running = world.start(toy(keep_secrets));
        world.put("a", 5).await;
        world.settle(5).await;
        assert_eq!(peak.load(Ordering::SeqCst), 5, "{fault:?} {times} times");
    }
}

/// A ReplicaSet's controller may create pods and not get them.
#[tokio::test(start_paused = true)]
async fn a_lost_reply_to_who_may_not_read_does_not_do_it_twice() {
    let world = World::new();
    world.secrets().synced().await;
    world.api.fail_next(Method::POST, "secrets", Fault::LostReply);
    let forbidden = orlop_api::status::StatusError::new(403, "Forbidden", "no");
    world.api.fail_next(Method::GET, "/secrets/", Fault::Refused(forbidden));
    let _running = world.start(toy(keep_secrets));
    world.put("a", 3).await;
    world.settle(3).await;
    let created: std::collections::BTreeSet<_> =
        world.secrets().snapshot().iter().map(|s| s.name().to_owned()).collect();
    assert_eq!(created.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_stale_cache_never_makes_a_controller_act_twice() {
    let world = World::new();
    let _running = world.start(toy(keep_secrets));
    world.secrets().synced().await;
    // Every watch breaks again and again, so that caches lag by their back-off.
    let api = world.api.clone();
    let breaker = tokio::spawn(async move {
        loop {
            api.break_watches();
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        }
    });
    for wanted in [3, 9, 1, 6] {
        world.put("a", wanted).await;
        world.secrets().wait_until(|s| s.len() == wanted).await;
    }
    breaker.abort();
    world.settle(6).await;
    let requests = world.api.take_requests();
    let creations = requests.iter().filter(|r| r.starts_with("POST") && r.contains("secrets")).count();
    assert_eq!(creations, 3 + 6 + 5);
}

/// What a namespace on its way out waits for may stand behind what it refuses.
#[tokio::test(start_paused = true)]
async fn a_plan_goes_on_past_what_a_leaving_namespace_refuses() {
    let world = World::new();
    let refused = StatusError::forbidden(GroupResource { group: "", resource: "secrets" }, "", "being terminated")
        .with_details(json!({"causes": [{"reason": "NamespaceTerminating"}]}));
    world.api.fail_next(Method::POST, "/secrets", Fault::Refused(refused));
    let _running = world.start(toy(|key, view, _| {
        let mut plan = Plan::none();
        let Some(map) = view.subject::<ConfigMap>(key).filter(|map| map.data.is_some()) else { return plan };
        plan.steps.push(Step::SlowStart(vec![Write::create(&owned_secret(map)); 3]));
        plan.write(Write::update(&ConfigMap { data: None, ..(**map).clone() }));
        plan
    }));
    world.put("a", 3).await;
    world.factory.cache::<ConfigMap>().wait_until(|maps| maps.get("d", "a").is_some_and(|m| m.data.is_none())).await;
    world.settle(0).await;
}

#[tokio::test(start_paused = true)]
async fn failures_are_reported_once_and_retried_with_patience() {
    let world = World::new();
    let refused = StatusError::forbidden(GroupResource { group: "", resource: "secrets" }, "", "exceeded quota");
    for _ in 0..6 {
        world.api.fail_next(Method::POST, "/secrets", Fault::Refused(refused.clone()));
    }
    let _running = world.start(toy(keep_secrets));
    world.put("a", 4).await;
    let maps = world.factory.cache::<ConfigMap>();
    maps.wait_until(|s| {
        s.get("d", "a").is_some_and(|m| m.data.as_ref().unwrap().get("failed").is_some_and(|f| f == "Forbidden"))
    })
    .await;
    world.settle(4).await;
    assert_eq!(world.api.objects(MAPS)[0]["data"], json!({ "wanted": "4", "failed": "" }));
    let mut events = BTreeMap::new();
    for event in world.api.objects("/api/v1/events") {
        *events.entry(event["reason"].as_str().unwrap().to_owned()).or_insert(0) += event["count"].as_i64().unwrap();
        assert!(
            event["reason"] != "FailedCreate"
                || event["message"] == "Error creating: secrets is forbidden: exceeded quota"
        );
    }
    assert_eq!(events, BTreeMap::from([("FailedCreate".to_owned(), 6), ("SuccessfulCreate".to_owned(), 4)]));
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_one_subjects_trouble() {
    let world = World::new();
    let panics = Arc::new(AtomicUsize::new(3));
    let left = panics.clone();
    let _running = world.start(toy(move |key, view, now| {
        let bad =
            key.name() == "bad" && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok();
        assert!(!bad, "the decision is broken");
        keep_secrets(key, view, now)
    }));
    world.put("bad", 1).await;
    world.put("good", 1).await;
    world.settle(2).await;
    assert_eq!(panics.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_plan_may_ask_to_be_woken() {
    let world = World::new();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let times = seen.clone();
    orlop_base::clock::use_virtual_time();
    let _running = world.start(toy(move |_, _, now| {
        times.lock().unwrap().push(now);
        Plan::wake_at(now + SignedDuration::from_secs(100))
    }));
    world.put("a", 0).await;
    tokio::time::sleep(std::time::Duration::from_secs(250)).await;
    let seen = seen.lock().unwrap();
    let gaps: Vec<i64> = seen.windows(2).map(|w| w[1].as_second() - w[0].as_second()).collect();
    assert_eq!(gaps, [100, 100]);
}

#[tokio::test(start_paused = true)]
async fn a_conflict_is_decided_anew_from_a_fresh_view() {
    let world = World::new();
    let conflict = StatusError::conflict(GroupResource { group: "", resource: "configmaps" }, "a", "changed");
    world.api.fail_next(Method::PUT, "configmaps", Fault::Refused(conflict));
    let _running = world.start(toy(|key, view, _| {
        let mut plan = Plan::none();
        if let Some(map) = view.subject::<ConfigMap>(key)
            && map.data.as_ref().is_some_and(|d| !d.contains_key("done"))
        {
            assert!(view.failure().is_none());
            let mut changed = (**map).clone();
            changed.data.get_or_insert_default().insert("done".into(), "yes".into());
            plan.write(Write::update(&changed));
        }
        plan
    }));
    world.put("a", 0).await;
    let maps = world.factory.cache::<ConfigMap>();
    maps.wait_until(|s| s.get("d", "a").is_some_and(|m| m.data.as_ref().unwrap().contains_key("done"))).await;
}

#[tokio::test(start_paused = true)]
async fn shutdown_waits_for_no_cache() {
    let world = World::new();
    let running = world.start(toy(keep_secrets));
    world.secrets().synced().await;
    // The reply to the last write is lost, and so is the watch that would show it.
    world.put("a", 1).await;
    for _ in 0..100 {
        world.api.fail_next(Method::GET, "secrets", Fault::LostRequest);
    }
    world.api.break_watches();
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    let start = tokio::time::Instant::now();
    world.shutdown.cancel();
    running.ended().await;
    assert!(start.elapsed() < std::time::Duration::from_secs(11));
}
