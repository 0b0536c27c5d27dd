//! So many batches a second, and a few at once after a pause.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// A bucket of tokens that fills over time.
pub struct Throttle {
    interval: Duration,
    burst: u32,
    /// When the bucket would be full, had nothing been taken since.
    full_at: Instant,
}

impl Throttle {
    pub fn new(per_second: f64, burst: u32) -> Self {
        Self { interval: Duration::from_secs_f64(per_second.recip()), burst, full_at: Instant::now() }
    }

    /// Waits for a token.
    pub async fn take(&mut self) {
        let now = Instant::now();
        let full_at = self.full_at.max(now) + self.interval;
        self.full_at = full_at;
        if let Some(due) = full_at.checked_sub(self.interval * self.burst).filter(|due| *due > now) {
            sleep_until(due).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn bursts_pass_and_the_rest_waits() {
        let mut throttle = Throttle::new(10.0, 3);
        let start = Instant::now();
        let mut waits = Vec::new();
        for _ in 0..5 {
            throttle.take().await;
            waits.push(start.elapsed().as_millis());
        }
        assert_eq!(waits, [0, 0, 0, 100, 200]);
    }
}
