//! Pods: binding and eviction. Their streams (exec, attach, log, ...) plug in from outside.

use super::{Extension, binding, eviction};

pub fn extension() -> Extension {
    Extension::new("pods").create("binding", binding::Bind).create("eviction", eviction::Evict)
}
