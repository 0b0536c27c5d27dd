//! A writer that is killed at random moments loses nothing that it was told is durable, and is never told a
//! revision again, not even that of a relaxed write which is lost.
//!
//! The writer is this test binary again, in a process of its own. It prints a line per attempt and
//! per acknowledgement; each line is one write to the pipe, so it is whole or not there at all.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{draft, key, limits};
use orlop_store::{Config, Durability, Revision, Store};

const ROUNDS: u64 = 320;
/// Small, so that files come and go under the killing.
const SEGMENT: u64 = 64 << 10;
const WRITERS: u64 = 12;
const RELAXED_WRITERS: u64 = 3;
const DIRECTORY: &str = "ORLOP_STORE_CRASH_DIRECTORY";
const SEED: &str = "ORLOP_STORE_CRASH_SEED";

fn config(dir: &Path) -> Config {
    Config::at(dir).with_limits(limits(SEGMENT))
}

/// What a writer says about one of its writes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    acknowledged: bool,
    key: String,
    /// Unique over all rounds; part of the object.
    text: String,
    deletes: bool,
    /// 0 for an attempt.
    revision: Revision,
}

impl Line {
    fn print(&self, mut pipe: &File) {
        let mut line = String::new();
        let Line { acknowledged, key, text, deletes, revision } = self;
        writeln!(line, "{} {key} {text} {deletes} {revision}", if *acknowledged { "ack" } else { "try" }).unwrap();
        pipe.write_all(line.as_bytes()).unwrap();
    }

    fn parse(line: &str) -> Option<Line> {
        let words: Vec<&str> = line.split(' ').collect();
        let [verb @ ("ack" | "try"), key, text, deletes, revision] = words[..] else { return None };
        Some(Line {
            acknowledged: verb == "ack",
            key: key.to_owned(),
            text: text.to_owned(),
            deletes: deletes == "true",
            revision: revision.parse().ok()?,
        })
    }
}

/// Not a test by itself: the process that gets killed.
#[test]
fn writer() {
    let (Some(dir), Ok(seed)) = (std::env::var_os(DIRECTORY), std::env::var(SEED)) else { return };
    let mut pipe = File::options().write(true).open("/proc/self/fd/1").unwrap();
    // Ends the line that the test harness has begun.
    pipe.write_all(b"\n").unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    runtime.block_on(async {
        let store = Store::open(config(Path::new(&dir))).await.unwrap();
        let mut tasks = tokio::task::JoinSet::new();
        for writer in 0..WRITERS {
            let (store, pipe, seed) = (store.clone(), pipe.try_clone().unwrap(), seed.clone());
            tasks.spawn(async move { write_forever(&store, &pipe, writer, seed.parse().unwrap()).await });
        }
        for writer in 0..RELAXED_WRITERS {
            let (store, pipe, seed) = (store.clone(), pipe.try_clone().unwrap(), seed.clone());
            tasks.spawn(async move { renew_forever(&store, &pipe, writer, seed.parse().unwrap()).await });
        }
        tasks.join_all().await;
    });
}

/// Each writer has its own keys, so that it knows what must come of each.
async fn write_forever(store: &Store, pipe: &File, writer: u64, seed: u64) {
    let mut rng = fastrand::Rng::with_seed(seed * WRITERS + writer);
    for count in 0u64.. {
        let name = format!("w{writer}-{}", rng.u8(..20));
        let key = key("pods", "default", &name);
        let newest = store.newest(&key);
        let deletes = newest.is_some() && rng.u8(..4) == 0;
        let text = format!("{seed}-{writer}-{count}");
        let draft = draft(&text, rng.usize(..2000));
        let mut line = Line { acknowledged: false, key: name, text, deletes, revision: 0 };
        line.print(pipe);
        let written = match newest {
            None => store.create(key, draft, Durability::Flushed).await,
            Some(old) if deletes => store.delete(&key, old.revision, draft, Durability::Flushed).await,
            Some(old) => store.update(&key, old.revision, draft, Durability::Flushed).await,
        };
        line.acknowledged = true;
        line.revision = written.unwrap().revision;
        line.print(pipe);
    }
}

/// Writes that may be lost: their revisions may not come again.
async fn renew_forever(store: &Store, pipe: &File, writer: u64, seed: u64) {
    let name = format!("l{writer}");
    let key = key("leases", "default", &name);
    for count in 0u64.. {
        let text = format!("{seed}-{writer}-{count}");
        let written = match store.newest(&key) {
            None => store.create(key.clone(), draft(&text, 100), Durability::Relaxed).await,
            Some(old) => store.update(&key, old.revision, draft(&text, 100), Durability::Relaxed).await,
        };
        let revision = written.unwrap().revision;
        Line { acknowledged: true, key: name.clone(), text, deletes: false, revision }.print(pipe);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// When a writer is killed.
enum Moment {
    /// Counted from its start: while it opens the store, or before.
    Starting(Duration),
    /// Counted from its first acknowledged write.
    Writing(Duration),
}

/// Starts a writer, kills it, answers what it said.
fn killed_writer(dir: &Path, seed: u64, moment: Moment) -> Vec<Line> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["writer", "--exact", "--nocapture", "--test-threads=1"])
        .env(DIRECTORY, dir)
        .env(SEED, seed.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let pipe = BufReader::new(child.stdout.take().unwrap());
    let (wrote, first_write) = std::sync::mpsc::channel();
    // Read all the time: a full pipe would stop the writer, and with it the chances.
    let reader = std::thread::spawn(move || {
        let mut said = String::new();
        for line in pipe.lines().map(Result::unwrap) {
            if line.starts_with("ack") {
                // Nobody listens after the first, or in a round that does not wait for it.
                let _ = wrote.send(());
            }
            said.push_str(&line);
            said.push('\n');
        }
        said
    });
    let lifetime = match moment {
        Moment::Starting(lifetime) => lifetime,
        Moment::Writing(lifetime) => {
            first_write.recv().unwrap();
            lifetime
        }
    };
    std::thread::sleep(lifetime);
    child.kill().unwrap();
    child.wait().unwrap();
    let said = reader.join().unwrap();
    assert!(!said.contains("panicked"), "{said}");
    said.lines().filter_map(Line::parse).collect()
}

/// What is known of each key from what writers said.
#[derive(Default)]
struct Known {
    /// The last acknowledged write.
    settled: BTreeMap<String, Line>,
    /// Attempted after that, never acknowledged: may have happened, at most one per key and round.
    open: BTreeMap<String, Line>,
    revisions: BTreeSet<Revision>,
    /// What was acknowledged and may be lost.
    relaxed: BTreeMap<Revision, String>,
    newest: Revision,
    acknowledged: usize,
    /// Relaxed writes that were acknowledged and lost.
    lost: usize,
}

impl Known {
    fn hear(&mut self, lines: Vec<Line>) {
        for line in lines {
            let relaxed = line.key.starts_with('l');
            if !line.acknowledged {
                self.open.insert(line.key.clone(), line);
                continue;
            }
            assert!(self.revisions.insert(line.revision), "revision {} was given twice", line.revision);
            if relaxed {
                self.relaxed.insert(line.revision, line.text);
                continue;
            }
            self.newest = self.newest.max(line.revision);
            self.acknowledged += 1;
            self.open.remove(&line.key);
            self.settled.insert(line.key.clone(), line);
        }
    }

    /// Compares with a restarted store, and takes over what turned out to have happened.
    fn check(&mut self, store: &Store) {
        assert!(store.revision() >= self.newest, "revision went back from {} to {}", self.newest, store.revision());
        let snapshot = store.snapshot();
        let keys: BTreeSet<String> = self.settled.keys().chain(self.open.keys()).cloned().collect();
        let mut found = BTreeSet::new();
        for name in keys {
            let entry = snapshot.get("pods", "default", &name);
            if let Some(entry) = entry {
                assert!(found.insert(entry.revision), "two objects at revision {}", entry.revision);
                let json: serde_json::Value = serde_json::from_slice(&entry.json).unwrap();
                assert_eq!(json["metadata"]["resourceVersion"], entry.revision.to_string());
                let text = json["text"].as_str().unwrap();
                let written = |line: &Line| !line.deletes && line.text == text;
                let settled =
                    self.settled.get(&name).is_some_and(|line| written(line) && line.revision == entry.revision);
                let open = self.open.get(&name).is_some_and(written);
                assert!(
                    settled || open,
                    "{name} has {text}: settled {:?}, open {:?}",
                    self.settled.get(&name),
                    self.open.get(&name)
                );
            } else {
                let deleted = |lines: &BTreeMap<String, Line>| lines.get(&name).is_some_and(|line| line.deletes);
                let never = !self.settled.contains_key(&name);
                assert!(
                    never || deleted(&self.settled) || deleted(&self.open),
                    "{name} is lost: settled {:?}, open {:?}",
                    self.settled.get(&name),
                    self.open.get(&name)
                );
            }
            self.settle(&name, entry.map(|entry| (entry.revision, entry.json.to_vec())));
        }
        assert_eq!(snapshot.count("pods", None), found.len(), "objects that nobody wrote");
        self.check_relaxed(store);
        self.newest = store.revision();
        self.open.clear();
    }

    /// What is left of relaxed writes is what was told, and what comes next is past all of them.
    fn check_relaxed(&mut self, store: &Store) {
        let mut durable = 0;
        for entry in store.snapshot().range("leases", None, None) {
            durable = durable.max(entry.revision);
            let json: serde_json::Value = serde_json::from_slice(&entry.json).unwrap();
            let text = json["text"].as_str().unwrap();
            // One that was written and not yet told is told now.
            let told = self.relaxed.entry(entry.revision).or_insert_with(|| text.to_owned());
            assert_eq!(told, text, "at revision {}", entry.revision);
        }
        let newest = self.relaxed.last_key_value().map_or(0, |(revision, _)| *revision);
        assert!(store.revision() >= newest, "revision {newest} could be given again at {}", store.revision());
        self.lost += self.relaxed.range(durable + 1..).count();
        self.relaxed.clear();
    }

    fn settle(&mut self, name: &str, entry: Option<(Revision, Vec<u8>)>) {
        let Some(open) = self.open.remove(name) else { return };
        match entry {
            None if open.deletes => drop(self.settled.insert(name.to_owned(), open)),
            Some((revision, json)) if String::from_utf8_lossy(&json).contains(&format!("\"{}\"", open.text)) => {
                self.revisions.insert(revision);
                self.settled.insert(name.to_owned(), Line { revision, ..open });
            }
            _ => {}
        }
    }
}

#[test]
fn hundreds_of_kills_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut rng = fastrand::Rng::new();
    let mut known = Known::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let mut busy_rounds = 0;
    for round in 0..ROUNDS {
        let moment = match rng.u8(..4) {
            0 => Moment::Starting(Duration::from_micros(rng.u64(2_000..50_000))),
            _ => Moment::Writing(Duration::from_micros(rng.u64(..60_000))),
        };
        let lines = killed_writer(dir.path(), round, moment);
        busy_rounds += u64::from(lines.iter().any(|line| line.acknowledged));
        known.hear(lines);
        runtime.block_on(async {
            let store = Store::open(config(dir.path())).await.unwrap_or_else(|error| panic!("round {round}: {error}"));
            known.check(&store);
            store.close().await.unwrap();
        });
    }
    assert!(busy_rounds > ROUNDS / 2, "only {busy_rounds} rounds wrote anything before they were killed");
    println!(
        "{ROUNDS} kills, {busy_rounds} of them while writing, {} acknowledged writes, none lost; {} relaxed ones lost",
        known.acknowledged, known.lost
    );
}
