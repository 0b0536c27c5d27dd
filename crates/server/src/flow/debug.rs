//! `/debug/api_priority_and_fairness/`: levels, queues, and requests that wait or are being served, as tables
//! (`flowcontrol/apf_controller_debug.go`).

use http::Response;
use jiff::Timestamp;
use orlop_base::{clock, duration};
use orlop_client::transport::Body;
use tokio::time::Instant;

use super::asked::{Asked, Served};
use super::level::Level;
use super::plan::Plan;
use crate::request::RequestInfo;
use crate::wire::respond;

const ROOT: &str = "/debug/api_priority_and_fairness/";
const MIN_WIDTH: usize = 8;
/// Go's time of nothing: it has not begun.
const NOT_YET: &str = "0001-01-01T00:00:00Z";

pub fn serve(plan: &Plan, info: &RequestInfo) -> Option<Response<Body>> {
    let rows = match info.path.strip_prefix(ROOT)? {
        "dump_priority_levels" => levels(plan),
        "dump_queues" => queues(plan),
        "dump_requests" => {
            let details = info.query("includeRequestDetails").is_some_and(|value| !value.is_empty());
            requests(plan, details)
        }
        _ => return None,
    };
    Some(respond::text(200, "text/plain; charset=utf-8", table(&rows)))
}

type Rows = Vec<Vec<String>>;

fn head(columns: &[&str]) -> Rows {
    vec![columns.iter().map(|column| (*column).to_owned()).collect()]
}

fn levels(plan: &Plan) -> Rows {
    let mut rows = head(&[
        "PriorityLevelName",
        "ActiveQueues",
        "IsIdle",
        "IsQuiescing",
        "WaitingRequests",
        "ExecutingRequests",
        "DispatchedRequests",
        "RejectedRequests",
        "TimedoutRequests",
        "CancelledRequests",
    ]);
    for level in plan.levels() {
        let figures = level.figures();
        let active = level.queue_figures().iter().filter(|queue| !queue.waiting.is_empty()).count();
        let idle = figures.waiting == 0 && figures.executing == 0;
        let numbers = [
            figures.waiting,
            figures.executing,
            figures.dispatched,
            figures.rejected,
            figures.timed_out,
            figures.cancelled,
        ];
        let mut row = vec![figures.name.to_string(), active.to_string(), idle.to_string(), "false".to_owned()];
        row.extend(numbers.map(|number| number.to_string()));
        rows.push(row);
    }
    rows
}

fn queues(plan: &Plan) -> Rows {
    let mut rows = head(&[
        "PriorityLevelName",
        "Index",
        "PendingRequests",
        "ExecutingRequests",
        "SeatsInUse",
        "NextDispatchR",
        "InitialSeatsSum",
        "MaxSeatsSum",
        "TotalWorkSum",
    ]);
    for level in plan.levels() {
        for (index, queue) in level.queue_figures().into_iter().enumerate() {
            let sum = |seats: fn(&Asked) -> usize| queue.waiting.iter().map(seats).sum::<usize>();
            let work: f64 = queue.waiting.iter().map(|waiter| waiter.width.work()).sum();
            rows.push(vec![
                level.name.to_string(),
                index.to_string(),
                queue.waiting.len().to_string(),
                queue.executing.to_string(),
                queue.taken.to_string(),
                format!("{:.8}ss", queue.next),
                sum(|waiter| waiter.width.seats).to_string(),
                sum(|waiter| waiter.width.most()).to_string(),
                format!("{work:.8}ss"),
            ]);
        }
    }
    rows
}

/// Those who wait, each with its place in its queue, then those who are being served; -1 where there is no such thing.
fn requests(plan: &Plan, details: bool) -> Rows {
    let more = DETAILS.into_iter().filter(|_| details);
    let mut rows = head(&REQUEST.into_iter().chain(more).collect::<Vec<_>>());
    let now = (clock::now(), Instant::now());
    let row = |level: &Level, place: [String; 2], asked: &Asked, since: Option<Instant>| {
        let mut row = request(level, place, asked, since, now);
        if details {
            row.extend(described(asked));
        }
        row
    };
    let none = || "-1".to_owned();
    for level in plan.levels() {
        let (queued, at_once): (Vec<_>, Vec<_>) = level.served_now().into_iter().partition(|one| one.queue.is_some());
        for (index, queue) in level.queue_figures().into_iter().enumerate() {
            for (place, asked) in queue.waiting.iter().enumerate() {
                rows.push(row(&level, [index.to_string(), place.to_string()], asked, None));
            }
            for Served { asked, since, .. } in queued.iter().filter(|one| one.queue == Some(index)) {
                rows.push(row(&level, [index.to_string(), none()], asked, Some(*since)));
            }
        }
        for Served { asked, since, .. } in &at_once {
            rows.push(row(&level, [none(), none()], asked, Some(*since)));
        }
    }
    rows
}

const REQUEST: [&str; 10] = [
    "PriorityLevelName",
    "FlowSchemaName",
    "QueueIndex",
    "RequestIndexInQueue",
    "FlowDistingsher",
    "ArriveTime",
    "InitialSeats",
    "FinalSeats",
    "AdditionalLatency",
    "StartTime",
];
const DETAILS: [&str; 8] =
    ["UserName", "Verb", "APIPath", "Namespace", "Name", "APIVersion", "Resource", "SubResource"];

fn request(
    level: &Level,
    [queue, place]: [String; 2],
    asked: &Asked,
    since: Option<Instant>,
    (now, instant): (Timestamp, Instant),
) -> Vec<String> {
    let time = |then: Instant| (now - (instant - then)).to_string();
    let extra = i64::try_from(asked.width.extra.as_nanos()).unwrap_or(i64::MAX);
    vec![
        level.name.to_string(),
        asked.tally.name.to_string(),
        queue,
        place,
        asked.flow().to_owned(),
        time(asked.arrived),
        asked.width.seats.to_string(),
        asked.width.final_seats.to_string(),
        duration::format(extra),
        since.map_or_else(|| NOT_YET.to_owned(), time),
    ]
}

fn described(asked: &Asked) -> [String; DETAILS.len()] {
    let RequestInfo { verb, path, namespace, name, api_group, api_version, resource, subresource, .. } = &*asked.info;
    let version = if api_group.is_empty() { api_version.clone() } else { format!("{api_group}/{api_version}") };
    [&asked.user.name, verb, path, namespace, name, &version, resource, subresource].map(String::clone)
}

/// Columns with commas between them, padded, as Go's tabwriter lays them out.
fn table(rows: &Rows) -> String {
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.len() + 2).max();
    let widths: Vec<usize> = (0..rows.first().map_or(0, Vec::len)).filter_map(width).collect();
    let line = |row: &Vec<String>| -> String {
        let Some((last, cells)) = row.split_last() else { return "\n".to_owned() };
        let cells = cells.iter().zip(&widths).map(|(cell, width)| {
            let width = (*width).max(MIN_WIDTH);
            format!("{:<width$}", format!("{cell},"))
        });
        cells.collect::<String>() + last + "\n"
    };
    rows.iter().map(line).collect()
}
