use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use crate::{Hosts, ImageConfig, ImageError, ImageService, ImageStore, Tree};

async fn open(dir: &tempfile::TempDir) -> Arc<ImageStore> {
    ImageStore::open(&dir.path().join("images"), Hosts::default(), Arc::new(|| Ok(Vec::new()))).await.unwrap()
}

fn tree(text: &str) -> Tree {
    let mut tree = Tree::new();
    tree.dir("tmp", 0o1777).bytes("etc/motd", text, 0o644).symlink("bin/sh", "busybox");
    tree
}

fn config() -> ImageConfig {
    ImageConfig { cmd: vec!["sh".into()], env: vec!["A=b".into()], ..ImageConfig::default() }
}

fn count(dir: &tempfile::TempDir, sub: &str) -> usize {
    fs::read_dir(dir.path().join("images").join(sub)).unwrap().count()
}

#[tokio::test]
async fn built_exported_imported_removed() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).await;
    let built = store.build_tree(tree("hello"), config(), "hello:1").await.unwrap();
    assert_eq!(built.repo_tags, ["docker.io/library/hello:1"]);
    assert_eq!(built.config, config());
    assert_eq!(fs::read_to_string(built.layers[0].join("etc/motd")).unwrap(), "hello");
    let again = store.build_tree(tree("hello"), config(), "hello:1").await.unwrap();
    assert_eq!(again, built, "the same input is the same image");

    let archive = dir.path().join("hello.tar");
    store.export("hello:1", &archive).await.unwrap();
    let other = tempfile::tempdir().unwrap();
    let second = open(&other).await;
    let imported = second.import(&archive, None, None).await.unwrap();
    assert_eq!((&imported[0].id, &imported[0].repo_tags), (&built.id, &built.repo_tags));
    assert_eq!(imported[0].repo_digests, built.repo_digests);
    let renamed = second.import(&archive, Some("localhost:5000/x:y"), None).await.unwrap();
    assert_eq!(renamed[0].repo_tags, ["docker.io/library/hello:1", "localhost:5000/x:y"]);

    for name in ["hello:1", &built.id, &built.id[7..19], &built.repo_digests[0]] {
        assert_eq!(second.get(name).await.unwrap().map(|i| i.id), Some(built.id.clone()), "{name}");
    }
    assert_eq!(second.get("hello:2").await.unwrap(), None);
    assert!(matches!(second.get("Hello").await, Err(ImageError::InvalidName { .. })));
    assert!(second.disk_usage().await.unwrap().1 > 5);
    second.remove("hello:1").await.unwrap();
    second.remove("hello:1").await.unwrap();
    assert_eq!(second.list().await.unwrap(), []);
    assert_eq!(["blobs/sha256", "layers", "tmp"].map(|sub| count(&other, sub)), [0, 0, 0]);
}

#[tokio::test]
async fn docker_archives_with_links_between_layers() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).await;
    let mut layer = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(2);
    header.set_mode(0o644);
    layer.append_data(&mut header, "f", &b"hi"[..]).unwrap();
    let layer = layer.into_inner().unwrap();
    let diff = crate::Digest::of(&layer);
    let image = format!(r#"{{"config":{{"User":"7"}},"rootfs":{{"type":"layers","diff_ids":["{diff}","{diff}"]}}}}"#);
    let manifest = r#"[{"Config":"c.json","RepoTags":["a.io/b:c"],"Layers":["1/layer.tar","2/layer.tar"]}]"#;

    let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    for (name, data) in
        [("1/layer.tar", &layer[..]), ("c.json", image.as_bytes()), ("manifest.json", manifest.as_bytes())]
    {
        let mut header = tar::Header::new_gnu();
        header.set_size(data.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, data).unwrap();
    }
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    tar.append_link(&mut header, "2/layer.tar", "../1/layer.tar").unwrap();
    let archive = dir.path().join("docker.tar.gz");
    fs::File::create(&archive).unwrap().write_all(&tar.into_inner().unwrap().finish().unwrap()).unwrap();

    let images = store.import(&archive, None, None).await.unwrap();
    assert_eq!(images[0].repo_tags, ["a.io/b:c"]);
    assert_eq!(images[0].config.user, "7");
    assert_eq!(images[0].layers.len(), 2);
    assert_eq!(fs::read_to_string(images[0].layers[1].join("f")).unwrap(), "hi");
}

#[tokio::test]
async fn broken_archives_leave_nothing_visible() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).await;
    store.build_tree(tree("x"), config(), "x").await.unwrap();
    let archive = dir.path().join("x.tar");
    store.export("x", &archive).await.unwrap();
    store.remove("x").await.unwrap();
    let bytes = fs::read(&archive).unwrap();
    let flipped = {
        let mut bytes = bytes.clone();
        let at = bytes.windows(2).position(|w| w == [0x1f, 0x8b]).unwrap() + 20;
        bytes[at] ^= 1;
        bytes
    };
    for (what, broken) in [("cut", &bytes[..bytes.len() / 2]), ("flipped", &flipped[..]), ("empty", &[])] {
        fs::write(&archive, broken).unwrap();
        assert!(store.import(&archive, None, None).await.is_err(), "{what}");
        assert_eq!(store.list().await.unwrap(), [], "{what}");
        assert_eq!(count(&dir, "tmp"), 0, "{what}");
    }
    fs::write(&archive, &bytes).unwrap();
    assert_eq!(store.import(&archive, None, None).await.unwrap().len(), 1);
}

#[tokio::test]
async fn tags_move_and_unused_images_go() {
    let dir = tempfile::tempdir().unwrap();
    let in_use: Arc<Mutex<Vec<PathBuf>>> = Arc::default();
    let told = in_use.clone();
    let guard = Arc::new(move || Ok(told.lock().unwrap().clone()));
    let store = ImageStore::open(&dir.path().join("images"), Hosts::default(), guard).await.unwrap();
    let first = store.build_tree(tree("1"), config(), "app").await.unwrap();
    let second = store.build_tree(tree("2"), config(), "app").await.unwrap();
    assert_eq!(store.get("app").await.unwrap().unwrap().id, second.id);
    let first_now = store.get(&first.id).await.unwrap().unwrap();
    assert_eq!((first_now.repo_tags.len(), first_now.repo_digests), (0, first.repo_digests));
    // A container stands on the first image's layer.
    let layer: PathBuf = first.layers[0].clone();
    in_use.lock().unwrap().push(layer.clone());
    assert!(store.remove_unused(&["app".into()]).await.unwrap() > 0);
    assert_eq!(store.list().await.unwrap().len(), 1);
    assert!(layer.join("etc/motd").exists());
    in_use.lock().unwrap().clear();
    store.remove_unused(&["app".into()]).await.unwrap();
    assert!(!layer.exists());
}

#[tokio::test]
async fn two_processes_see_one_another() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (open(&dir).await, open(&dir).await);
    one.build_tree(tree("1"), config(), "a").await.unwrap();
    two.build_tree(tree("2"), config(), "b").await.unwrap();
    for store in [&one, &two] {
        assert_eq!(store.list().await.unwrap().len(), 2);
    }
}

#[tokio::test]
async fn opening_clears_what_a_crash_left() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).await;
    store.build_tree(tree("1"), config(), "a").await.unwrap();
    drop(store);
    let rubbish = dir.path().join("images/tmp/xyz/layer");
    fs::create_dir_all(&rubbish).unwrap();
    fs::write(rubbish.join("f"), "half").unwrap();
    let store = open(&dir).await;
    assert_eq!(count(&dir, "tmp"), 0);
    assert_eq!(store.list().await.unwrap().len(), 1);
}
