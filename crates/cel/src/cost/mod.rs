//! What evaluation costs: counted as it happens (`runtime`), and bounded before it does (`estimate`).
//! A unit is about 50 ns. The numbers are API: upstream's rules fit into them, ours must too.

mod calls;
pub mod estimate;
mod library;
pub mod range;
pub mod runtime;

/// Units one expression may take.
pub const PER_CALL_LIMIT: u64 = 1_000_000;
/// Units all expressions about one object may take: of a policy's binding, of a custom resource.
pub const RUNTIME_BUDGET: u64 = 10_000_000;
/// Units all match conditions of one webhook or policy may take.
pub const MATCH_CONDITIONS_BUDGET: u64 = RUNTIME_BUDGET / 4;
/// The most one rule of a CustomResourceDefinition may be estimated to take.
pub const STATIC_ESTIMATED_LIMIT: u64 = 10_000_000;
/// The most all rules of a CustomResourceDefinition may be estimated to take.
pub const STATIC_ESTIMATED_CRD_LIMIT: u64 = 100_000_000;

/// Units per character that is looked at.
const STRING_FACTOR: f64 = 0.1;
/// Units per character of a pattern, times those of the text.
const REGEX_FACTOR: f64 = 0.25;
const LIST_COST: u64 = 10;
const STRUCT_COST: u64 = 40;
/// Of asking the authorizer: two questions fit into one expression.
const AUTHORIZER_CHECK_COST: u64 = 350_000;
