//! The whole agent on fakes, under virtual time.

mod certificates;
mod endpoint;
mod eviction;
mod life;

/// Starts virtual time for a test: sleeping costs nothing.
fn virtual_time() {
    orlop_base::clock::use_virtual_time();
}
