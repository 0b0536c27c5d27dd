//! Room for expressions that nest as deep as upstream lets them, whose stacks grow.

/// What one level of an expression takes at most, with what it calls on types and values as deep as the expression: in
/// debug builds, which need most, half of this.
const LEAST_LEFT: usize = 256 * 1024;
const MORE: usize = 4 * 1024 * 1024;

/// Goes one level deeper; where the thread's stack is nearly used up, on another.
pub fn deeper<T>(step: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(LEAST_LEFT, MORE, step)
}
