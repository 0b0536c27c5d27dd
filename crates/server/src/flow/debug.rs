//! `/debug/api_priority_and_fairness/`: levels, queues and those who wait in them, as tables
//! (`flowcontrol/apf_controller_debug.go`).

use http::Response;
use orlop_base::{clock, duration};
use orlop_client::transport::Body;

use super::level::WaiterFigures;
use super::plan::Plan;
use crate::wire::respond;

const ROOT: &str = "/debug/api_priority_and_fairness/";
const MIN_WIDTH: usize = 8;
/// Go's time of nothing: it has not begun.
const NOT_YET: &str = "0001-01-01T00:00:00Z";

pub fn serve(plan: &Plan, path: &str) -> Option<Response<Body>> {
    let rows = match path.strip_prefix(ROOT)? {
        "dump_priority_levels" => levels(plan),
        "dump_queues" => queues(plan),
        "dump_requests" => requests(plan),
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
            let sum = |seats: fn(&WaiterFigures) -> usize| queue.waiting.iter().map(seats).sum::<usize>();
            let work: f64 = queue.waiting.iter().map(|waiter| waiter.width.work()).sum();
            rows.push(vec![
                level.name.to_string(),
                index.to_string(),
                queue.waiting.len().to_string(),
                queue.executing.to_string(),
                queue.taken.to_string(),
                format!("{:.8}ss", queue.next),
                sum(|waiter| waiter.width.seats).to_string(),
                sum(|waiter| waiter.width.seats.max(waiter.width.final_seats)).to_string(),
                format!("{work:.8}ss"),
            ]);
        }
    }
    rows
}

/// Those who wait; who is being served is not remembered one by one.
fn requests(plan: &Plan) -> Rows {
    let mut rows = head(&[
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
    ]);
    let now = clock::now();
    for level in plan.levels() {
        for (queue, figures) in level.queue_figures().into_iter().enumerate() {
            for (place, waiter) in figures.waiting.into_iter().enumerate() {
                let extra = i64::try_from(waiter.width.extra.as_nanos()).unwrap_or(i64::MAX);
                rows.push(vec![
                    level.name.to_string(),
                    waiter.schema.to_string(),
                    queue.to_string(),
                    place.to_string(),
                    waiter.distinguisher,
                    (now - waiter.waited).to_string(),
                    waiter.width.seats.to_string(),
                    waiter.width.final_seats.to_string(),
                    duration::format(extra),
                    NOT_YET.to_owned(),
                ]);
            }
        }
    }
    rows
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
