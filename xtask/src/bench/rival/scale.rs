//! How much is asked: all of it, or a part where time or the machine is short; what was asked stands in each figure.

/// What `--quick` divides by.
const QUICK: usize = 20;

#[derive(Clone, Copy)]
pub struct Scale {
    divisor: usize,
    quick: bool,
}

impl Scale {
    pub fn new(divide: usize, quick: bool) -> Self {
        Self { divisor: if quick { QUICK } else { divide.max(1) }, quick }
    }

    pub fn of(self, count: usize) -> usize {
        count.div_ceil(self.divisor)
    }

    pub fn rounds(self, rounds: usize) -> usize {
        if self.quick { 1 } else { rounds }
    }

    /// As the command line has it.
    pub fn flag(self) -> String {
        if self.divisor == 1 { String::new() } else { format!(" --divide {}", self.divisor) }
    }
}
