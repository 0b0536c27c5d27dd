//! Server-side apply and field ownership: who owns which field of an object, and what applying an
//! object does to it (KEP 555).
//!
//! The rules are those of `sigs.k8s.io/structured-merge-diff` v6 and of
//! `k8s.io/apimachinery/pkg/util/managedfields`. Vocabulary: a **manager** owns a [`set`] of fields,
//! written as `fieldsV1` in one entry of `metadata.managedFields`; it got them by **applying** an
//! object or by any other write (**update**). All objects here are plain JSON, all knowledge of
//! types comes from the schema.
//!
//! The server talks to [`FieldManager`] alone:
//! - `on_create`, `on_update`, `on_patch` after the new object is decoded and before admission;
//! - `on_apply` makes the new object out of the live and the applied one;
//! - [`keep_times_of_noop`] before the object is stored.

mod apply;
mod compare;
mod conflict;
mod convert;
mod element;
mod entries;
mod fields;
mod last_applied;
mod manager;
mod merge;
mod overlay;
pub mod scale;
mod set;
mod token;
mod types;
mod update;
mod validate;

#[cfg(test)]
mod tests;

pub use element::PathElement;
pub use manager::{FieldManager, keep_times_of_noop, manager_name};
pub use overlay::overlay;
pub use set::FieldSet;
pub use token::TokenRequest;
