//! From-to estimates of sizes and costs that stick at the largest number.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    pub min: u64,
    pub max: u64,
}

impl Range {
    pub const ZERO: Self = Self::exactly(0);
    pub const UNKNOWN: Self = Self { min: 0, max: u64::MAX };

    pub const fn exactly(value: u64) -> Self {
        Self { min: value, max: value }
    }

    pub const fn new(min: u64, max: u64) -> Self {
        Self { min, max }
    }

    pub fn plus(self, other: Self) -> Self {
        Self { min: self.min.saturating_add(other.min), max: self.max.saturating_add(other.max) }
    }

    pub fn times(self, other: Self) -> Self {
        Self { min: self.min.saturating_mul(other.min), max: self.max.saturating_mul(other.max) }
    }

    pub fn scaled(self, factor: f64) -> Self {
        Self { min: scale(self.min, factor), max: scale(self.max, factor) }
    }

    pub fn union(self, other: Self) -> Self {
        Self { min: self.min.min(other.min), max: self.max.max(other.max) }
    }
}

/// Rounded up.
pub fn scale(value: u64, factor: f64) -> u64 {
    // A float beyond the largest number becomes the largest number.
    (value as f64 * factor).ceil() as u64
}
