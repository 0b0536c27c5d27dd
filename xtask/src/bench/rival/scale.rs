//! How much is asked: all of it for figures, a part to try the command.

/// What `--quick` divides counts by.
const QUICK: usize = 20;

#[derive(Clone, Copy)]
pub struct Scale {
    pub quick: bool,
}

impl Scale {
    pub fn of(self, count: usize) -> usize {
        if self.quick { count.div_ceil(QUICK) } else { count }
    }

    pub fn rounds(self, rounds: usize) -> usize {
        if self.quick { 1 } else { rounds }
    }
}
