//! Damaged logs: what a crash does is repaired and reported, all else refuses to open.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Picture, draft, open, picture, pod};
use orlop_store::disk::SimDisk;
use orlop_store::{Durability, OpenError, Revision, Store, UNFLUSHED_REVISIONS};

const SEGMENT: u64 = 4096;
const LAST: &str = "0000000000000003.log";

/// Three files as a crash leaves them; the last write is a group of some sectors. Answers what a start finds
/// without and with that write.
async fn filled() -> (SimDisk, (Revision, Picture), (Revision, Picture)) {
    let disk = SimDisk::new();
    let store = open(&disk, SEGMENT).await.unwrap();
    for n in 0..14 {
        store.create(pod(&format!("p{n}")), draft("old", 500), Durability::Flushed).await.unwrap();
    }
    let before = (store.revision() + UNFLUSHED_REVISIONS, picture(&store.snapshot()));
    let old = store.get(&pod("p3")).unwrap();
    store.update(&old.key, old.revision, draft("new", 1200), Durability::Flushed).await.unwrap();
    let after = (store.revision() + UNFLUSHED_REVISIONS, picture(&store.snapshot()));
    let disk = disk.crash(1);
    assert_eq!(files(&disk), ["0000000000000001.log", "0000000000000002.log", LAST]);
    (disk, before, after)
}

fn files(disk: &SimDisk) -> Vec<String> {
    orlop_store::disk::Disk::list(disk).unwrap()
}

/// Where the last frame starts and ends in the last file.
async fn last_frame(disk: &SimDisk, before: Revision) -> (usize, usize) {
    let bytes = disk.contents(LAST).unwrap();
    // Frames are found by dropping bytes from the end until a write is missing.
    let mut start = bytes.iter().rposition(|&b| b != 0).unwrap() + 1;
    let end = start;
    while start > 0 {
        start -= 32 - (32 - start % 32) % 32;
        let store = open(&cut(disk, start), SEGMENT).await.unwrap();
        if store.revision() == before && store.torn().is_none() {
            return (start, end);
        }
    }
    panic!("no frame in the last file");
}

fn cut(disk: &SimDisk, at: usize) -> SimDisk {
    changed(disk, LAST, |bytes| bytes[at..].fill(0))
}

fn changed(disk: &SimDisk, name: &str, change: impl FnOnce(&mut Vec<u8>)) -> SimDisk {
    let fork = disk.fork();
    let mut bytes = fork.contents(name).unwrap();
    change(&mut bytes);
    fork.plant(name, bytes);
    fork
}

fn now(store: &Store) -> (Revision, Picture) {
    (store.revision(), picture(&store.snapshot()))
}

#[tokio::test(start_paused = true)]
async fn a_write_cut_off_at_any_byte_is_dropped_and_reported() {
    let (disk, before, after) = filled().await;
    let (start, end) = last_frame(&disk, before.0).await;
    assert!(end - start > 1200, "{start}..{end}");
    for at in start..=end {
        // Reserved space behind the cut, or none.
        let short = changed(&disk, LAST, |bytes| bytes.truncate(at));
        for damaged in [cut(&disk, at), short] {
            let store = open(&damaged, SEGMENT).await.unwrap();
            assert_eq!(now(&store), if at == end { after.clone() } else { before.clone() }, "cut at {at}");
            let torn = store.torn().map(|torn| (torn.file.as_str(), torn.offset as usize));
            assert_eq!(torn, (start < at && at < end).then_some((LAST, start)), "cut at {at}");
            // The place is usable again, and nothing of the old write comes back.
            store.create(pod("next"), draft("next", 10), Durability::Flushed).await.unwrap();
            store.close().await.unwrap();
            let again = open(&damaged, SEGMENT).await.unwrap();
            assert_eq!(again.revision(), store.revision());
            assert!(again.torn().is_none());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_with_any_lost_sectors_is_dropped_and_reported() {
    let (disk, before, after) = filled().await;
    let (start, end) = last_frame(&disk, before.0).await;
    let sectors: Vec<usize> = (start / 512..=(end - 1) / 512).collect();
    assert!(sectors.len() > 2, "{sectors:?}");
    for lost in 0..1u32 << sectors.len() {
        let damaged = changed(&disk, LAST, |bytes| {
            for (index, sector) in sectors.iter().enumerate() {
                if lost >> index & 1 == 1 {
                    bytes[(sector * 512).max(start)..((sector + 1) * 512).min(end)].fill(0);
                }
            }
        });
        let store = open(&damaged, SEGMENT).await.unwrap();
        assert_eq!(now(&store), if lost == 0 { after.clone() } else { before.clone() }, "lost {lost:b}");
        assert_eq!(store.torn().is_some(), lost != 0 && lost != (1 << sectors.len()) - 1, "lost {lost:b}");
    }
}

#[tokio::test(start_paused = true)]
async fn any_flipped_bit_refuses_to_open() {
    let (disk, _, after) = filled().await;
    let mut rng = fastrand::Rng::with_seed(7);
    for name in files(&disk) {
        let bytes = disk.contents(&name).unwrap();
        for at in 0..bytes.len() {
            let damaged = changed(&disk, &name, |bytes| bytes[at] ^= 1 << rng.u8(..8));
            match open(&damaged, SEGMENT).await {
                Err(OpenError::Corrupt { file, offset, what }) => {
                    assert_eq!(file, name, "{what}");
                    assert!(offset as usize <= at, "at {at}, reported at {offset}: {what}");
                    assert_eq!(damaged.written(), 0, "nothing was changed");
                }
                Err(other) => panic!("{other}"),
                // Padding between frames, or a single byte in space that was never used.
                Ok(store) => assert_eq!(now(&store), after, "{name} at {at}"),
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn holes_before_the_end_refuse_to_open() {
    let (disk, ..) = filled().await;
    for name in &files(&disk)[..2] {
        let bytes = disk.contents(name).unwrap();
        let used = bytes.iter().rposition(|&b| b != 0).unwrap() + 1;
        for at in (0..used).step_by(7) {
            for damaged in [
                changed(&disk, name, |bytes| bytes[at..].fill(0)),
                changed(&disk, name, |bytes| bytes.truncate(at)),
                changed(&disk, name, |bytes| bytes[at..(at + 512).min(used)].fill(0)),
            ] {
                let error = open(&damaged, SEGMENT).await.err();
                assert!(matches!(error, Some(OpenError::Corrupt { .. })), "{name} at {at}: {error:?}");
            }
        }
    }
    for (gone, next) in [(1, 2), (2, 3)] {
        let missing = disk.fork();
        let (gone, next) = (format!("{gone:016}.log"), format!("{next:016}.log"));
        orlop_store::disk::Disk::remove(&missing, &gone).unwrap();
        let error = open(&missing, SEGMENT).await.err().unwrap();
        let want = format!("log file {next} is corrupt at offset 0: the file before it is missing: {gone}");
        assert_eq!(error.to_string(), want);
    }
}

#[tokio::test(start_paused = true)]
async fn zeros_in_the_last_file_before_its_last_write_refuse_to_open() {
    let (disk, before, _) = filled().await;
    let (start, _) = last_frame(&disk, before.0).await;
    for at in (0..start).step_by(13) {
        let damaged = changed(&disk, LAST, |bytes| bytes[at..start].fill(0));
        match open(&damaged, SEGMENT).await {
            Err(OpenError::Corrupt { file, .. }) => assert_eq!(file, LAST),
            Err(other) => panic!("{other}"),
            Ok(store) => assert!(start - at < 32 && store.revision() == before.0 + 1, "{at}: only padding"),
        }
    }
}
