//! What `kubectl get` shows of an object: columns, cells, and times as humans read them.
//!
//! Cells are those of `k8s.io/kubernetes/pkg/printers/internalversion`, always with the wide ones: the
//! client leaves out columns of a priority above 0. The server makes the `Table` document of them.

mod cells;
mod columns;
mod descriptions;
mod duration;
mod row;

pub use cells::{
    age, containers, joined, label_selector, labels, moment, or, quantity, selector_or_none, since, since_micro,
    unless_more, yes_no,
};
pub(crate) use columns::cells;
pub use columns::columns;
pub use descriptions::description;
pub use duration::{human_duration, short_human_duration};
pub use row::{Now, Row};
