//! Who is served when not everybody can be.

#![allow(clippy::unwrap_used, reason = "clippy takes only #[test] functions for tests")]

mod harness;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use harness::{Api, with};
use http::{Request, Response};
use orlop_client::transport::{Body, Transport as _, UserInfo, empty};
use orlop_server::auth::{Authorizer, Decision};
use orlop_server::request::RequestInfo;
use orlop_server::{Component, Limits};
use serde_json::json;
use tokio::sync::Semaphore;

/// When those who wait were begun.
const NOT_YET: &str = " 0001-01-01T00:00:00Z";
const GROUP: &str = "/apis/flowcontrol.apiserver.k8s.io/v1";

/// Holds requests for Services until it is let go.
struct Gate(Arc<Semaphore>);

impl Authorizer for Gate {
    fn authorize<'a>(&'a self, _: &'a UserInfo, request: &'a RequestInfo) -> BoxFuture<'a, Decision> {
        Box::pin(async move {
            if request.resource == "services" {
                self.0.acquire().await.unwrap().forget();
            }
            Decision::Allow { reason: String::new() }
        })
    }
}

/// A server of so many seats, and the gate.
async fn server(seats: usize) -> (Api, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let limits = Limits { reads: seats, writes: 0, ..Limits::default() };
    let api = with(Arc::new(Gate(gate.clone())), |config| config.limits = limits).await;
    (api, gate)
}

fn user(api: &Api, name: &str) -> Component {
    api.server.component(UserInfo { name: name.into(), ..UserInfo::default() })
}

async fn get(user: &Component, path: &str) -> Response<Body> {
    user.send(Request::get(path).body(empty()).unwrap()).await.unwrap()
}

#[tokio::test]
async fn without_a_seat_and_a_queue_requests_are_refused() {
    let (api, gate) = server(1).await;
    let alice = user(&api, "alice");
    let held = tokio::spawn(async move { get(&alice, "/api/v1/services").await.status() });
    let bob = user(&api, "bob");
    while get(&bob, "/version").await.status() == 200 {
        tokio::task::yield_now().await;
    }
    let refused = get(&bob, "/version").await;
    assert_eq!((refused.status().as_u16(), &refused.headers()["retry-after"]), (429, &"1".parse().unwrap()));
    // Administrators are exempt.
    api.get("/version").await.is(200);
    let levels = api.get("/debug/api_priority_and_fairness/dump_priority_levels").await.is(200).text();
    assert!(levels.starts_with("PriorityLevelName, ActiveQueues, IsIdle, "), "{levels}");
    gate.add_permits(1);
    assert_eq!(held.await.unwrap(), 200);
    assert_eq!(get(&bob, "/version").await.status(), 200);
}

#[tokio::test]
async fn requests_wait_for_their_turn_and_are_marked() {
    let (api, gate) = server(1).await;
    let limited = json!({"nominalConcurrencyShares": 5, "limitResponse": {"type": "Queue", "queuing": {
        "queues": 8, "handSize": 2, "queueLengthLimit": 10}}});
    let level = json!({"metadata": {"name": "few"}, "spec": {"type": "Limited", "limited": limited}});
    let level = api.post(&format!("{GROUP}/prioritylevelconfigurations"), level).await.is(201).json();
    let rule = json!({
        "subjects": [{"kind": "User", "user": {"name": "alice"}}],
        "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": true, "namespaces": ["*"]}],
    });
    let schema = json!({"metadata": {"name": "alices"}, "spec": {
        "priorityLevelConfiguration": {"name": "few"}, "matchingPrecedence": 500, "rules": [rule],
        "distinguisherMethod": {"type": "ByUser"}}});
    let schema = api.post(&format!("{GROUP}/flowschemas"), schema).await.is(201).json();
    api.server.reread_flow_control();
    let alice = user(&api, "alice");
    let first = tokio::spawn({
        let alice = alice.clone();
        async move { get(&alice, "/api/v1/services").await }
    });
    let second = tokio::spawn(async move { get(&alice, "/api/v1/pods").await });
    let waiting = || async {
        let text = api.get("/debug/api_priority_and_fairness/dump_requests").await.is(200).text();
        text.lines().filter(|line| line.starts_with("few,") && line.ends_with(NOT_YET)).count()
    };
    while waiting().await == 0 {
        tokio::task::yield_now().await;
    }
    let dump = async |name: &str| api.get(&format!("/debug/api_priority_and_fairness/{name}")).await.is(200).text();
    let requests = dump("dump_requests").await;
    let head = "PriorityLevelName, FlowSchemaName, QueueIndex, RequestIndexInQueue, FlowDistingsher, ArriveTime,";
    assert!(requests.starts_with(head) && requests.contains(" alice, "), "{requests}");
    let cells = |text: &str| -> Vec<Vec<String>> {
        let cells = |line: &str| line.split(',').map(|cell| cell.trim().to_owned()).collect();
        text.lines().filter(|line| line.starts_with("few,")).map(cells).collect()
    };
    let rows = cells(&requests);
    let [waiter, served] = &rows[..] else { panic!("{requests}") };
    assert_eq!((&*waiter[1], &*waiter[3], &*waiter[9]), ("alices", "0", NOT_YET.trim()));
    assert_eq!((&*served[2], &*served[3], &*served[4], &served[9]), ("-1", "-1", "alice", &served[5]));
    let detailed = dump("dump_requests?includeRequestDetails=1").await;
    let titles = "UserName, Verb, APIPath, Namespace, Name, APIVersion, Resource, SubResource\n";
    let head = detailed.split_inclusive('\n').next().unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(head.ends_with(titles.trim()), "{head}");
    let details = ["alice", "list", "/api/v1/services", "", "", "v1", "services", ""];
    assert!(cells(&detailed).iter().any(|row| row[10..] == details), "{detailed}");
    let queues = dump("dump_queues").await;
    let waits = |line: &&str| line.starts_with("few,") && line.ends_with("0.00300000ss");
    assert_eq!(queues.lines().filter(waits).count(), 1, "{queues}");
    let metrics = api.get("/metrics").await.is(200).text();
    let few = "priority_level=\"few\"";
    for (name, labels) in [
        ("demand_seats_sum", few.to_owned()),
        ("priority_level_seat_utilization_sum", format!("phase=\"executing\",{few}")),
        ("priority_level_request_utilization_sum", format!("phase=\"executing\",{few}")),
        ("priority_level_request_utilization_sum", format!("phase=\"waiting\",{few}")),
        ("read_vs_write_current_requests_sum", "phase=\"waiting\",request_kind=\"readOnly\"".to_owned()),
        ("request_dispatch_no_accommodation_total", format!("flow_schema=\"alices\",{few}")),
    ] {
        let start = format!("apiserver_flowcontrol_{name}{{{labels}}} ");
        let number = metrics.lines().find_map(|line| line.strip_prefix(&start));
        assert!(number.is_some_and(|number| number.parse::<f64>().unwrap() > 0.0), "{start}{number:?}");
    }
    assert!(metrics.contains(&format!("apiserver_flowcontrol_demand_seats_average{{{few}}} ")));
    gate.add_permits(1);
    for answer in [first.await.unwrap(), second.await.unwrap()] {
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["x-kubernetes-pf-flowschema-uid"], schema["metadata"]["uid"].as_str().unwrap());
        assert_eq!(answer.headers()["x-kubernetes-pf-prioritylevel-uid"], level["metadata"]["uid"].as_str().unwrap());
    }
    assert_eq!(waiting().await, 0);
}
