//! The forms an object takes on the wire, all driven by the field table.

pub mod json;
pub mod protobuf;
pub mod yaml;

/// Objects nested deeper are refused. Real ones stay under 50 (CRD schemas are the deepest);
/// the bound keeps recursive code far from the end of a 2 MiB thread stack.
pub const MAX_DEPTH: usize = 256;
