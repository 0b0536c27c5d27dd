//! `/debug/api_priority_and_fairness/`: levels, queues and those who wait in them, as tables
//! (`flowcontrol/apf_controller_debug.go`).

use http::Response;
use orlop_client::transport::Body;

use super::plan::Plan;
use crate::wire::respond;

const ROOT: &str = "/debug/api_priority_and_fairness/";

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
        let active = level.queue_figures().iter().filter(|queue| queue.0 > 0).count();
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
    let columns = ["PriorityLevelName", "Index", "PendingRequests", "SeatsInUse", "NextDispatchR", "InitialSeatsSum"];
    let mut rows = head(&columns);
    for level in plan.levels() {
        for (index, (waiting, seats, taken, next)) in level.queue_figures().into_iter().enumerate() {
            let numbers = [index.to_string(), waiting.to_string(), taken.to_string(), format!("{next:.8}ss")];
            let mut row = vec![level.name.to_string()];
            row.extend(numbers);
            row.push(seats.to_string());
            rows.push(row);
        }
    }
    rows
}

fn requests(plan: &Plan) -> Rows {
    let mut rows = head(&["PriorityLevelName", "FlowSchemaName", "QueueIndex", "InitialSeats", "Waited"]);
    for level in plan.levels() {
        for (schema, queue, seats, waited) in level.waiting_figures() {
            rows.push(vec![
                level.name.to_string(),
                schema.to_string(),
                queue.to_string(),
                seats.to_string(),
                format!("{waited:?}"),
            ]);
        }
    }
    rows
}

/// Columns with commas after them, padded, as Go's tabwriter lays them out.
fn table(rows: &Rows) -> String {
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.len() + 2).max();
    let widths: Vec<usize> = (0..rows.first().map_or(0, Vec::len)).filter_map(width).collect();
    let line = |row: &Vec<String>| -> String {
        let cells =
            row.iter().zip(&widths).map(|(cell, width)| format!("{:<width$}", format!("{cell},"), width = *width));
        cells.collect::<String>() + "\n"
    };
    rows.iter().map(line).collect()
}
