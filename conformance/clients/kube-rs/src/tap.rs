//! What is told: the Test Anything Protocol (testanything.org).

use std::time::Duration;

use anyhow::{Result, anyhow};

/// Longer than any step takes.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Default)]
pub struct Tap {
    steps: usize,
}

impl Tap {
    pub async fn step(&mut self, name: &str, outcome: impl Future<Output = Result<()>>) {
        self.steps += 1;
        let number = self.steps;
        match tokio::time::timeout(PATIENCE, outcome).await.unwrap_or_else(|_| Err(anyhow!("it hangs"))) {
            Ok(()) => println!("ok {number} - {name}"),
            Err(error) => {
                println!("not ok {number} - {name}");
                format!("{error:?}").lines().for_each(|line| println!("# {line}"));
            }
        }
    }

    pub fn end(self) {
        println!("1..{}", self.steps);
    }
}
