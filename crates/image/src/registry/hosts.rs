//! How registry hosts are reached.

use std::collections::BTreeMap;

/// Mirrors, plain HTTP, certificate authorities (`registries.yaml`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts {
    /// By host name as it stands in references.
    pub mirrors: BTreeMap<String, Vec<String>>,
}
