//! Room for expressions that nest as deep as upstream lets them, whose stacks grow.

/// What one level of an expression takes at most, many times over: in debug builds some ten kilobytes.
const LEAST_LEFT: usize = 128 * 1024;
const MORE: usize = 2 * 1024 * 1024;

/// Goes one level deeper; where the thread's stack is nearly used up, on another.
pub fn deeper<T>(step: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(LEAST_LEFT, MORE, step)
}
