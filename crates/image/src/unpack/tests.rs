use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::*;

/// An archive written line by line, as hostile as wanted.
#[derive(Default)]
struct Layer(Vec<u8>);

impl Layer {
    fn raw(mut self, kind: tar::EntryType, path: &str, link: &str, mode: u32, data: &[u8]) -> Self {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_mtime(1_700_000_000);
        header.set_uid(1);
        header.set_gid(2);
        header.set_size(data.len() as u64);
        // Not by the safe setters: those refuse `..`.
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        if matches!(kind, tar::EntryType::Char) {
            header.set_device_major(1).unwrap();
            header.set_device_minor(3).unwrap();
        }
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }
    fn file(self, path: &str, data: &str) -> Self {
        self.raw(tar::EntryType::Regular, path, "", 0o644, data.as_bytes())
    }
    fn dir(self, path: &str, mode: u32) -> Self {
        self.raw(tar::EntryType::Directory, path, "", mode, b"")
    }
    fn symlink(self, path: &str, target: &str) -> Self {
        self.raw(tar::EntryType::Symlink, path, target, 0o777, b"")
    }
    fn link(self, path: &str, target: &str) -> Self {
        self.raw(tar::EntryType::Link, path, target, 0o644, b"")
    }
    /// Attributes of the entry that follows.
    fn pax(mut self, records: &[(&str, &[u8])]) -> Self {
        let mut builder = tar::Builder::new(&mut self.0);
        builder.append_pax_extensions(records.iter().copied()).unwrap();
        // The end marker comes only with `finish`, which dropping does too.
        let writer = builder.into_inner().unwrap();
        writer.truncate(writer.len() - 1024);
        self
    }
    fn bytes(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

struct Unpacked {
    dir: tempfile::TempDir,
}

impl Unpacked {
    fn path(&self) -> PathBuf {
        self.dir.path().join("layer")
    }
    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path().join(path)).unwrap()
    }
    fn meta(&self, path: &str) -> fs::Metadata {
        self.path().join(path).symlink_metadata().unwrap()
    }
}

fn try_unpack(layer: Layer, below: Below<'_>) -> Result<Unpacked, UnpackError> {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("layer")).unwrap();
    unpack(&layer.bytes()[..], &dir.path().join("layer"), below)?;
    Ok(Unpacked { dir })
}

fn bottom(layer: Layer) -> Unpacked {
    try_unpack(layer, Below::Known(&[])).unwrap()
}

#[test]
fn content_owners_modes_and_times() {
    let layer = Layer::default()
        .dir("./", 0o755)
        .dir("bin/", 0o1777)
        .raw(tar::EntryType::Regular, "bin/su", "", 0o4755, b"x")
        .link("bin/su2", "bin/su")
        .symlink("sh", "bin/su")
        .raw(tar::EntryType::Char, "null", "", 0o666, b"")
        .raw(tar::EntryType::Fifo, "fifo", "", 0o600, b"")
        .file("bin/late", "changes the directory's time");
    let out = bottom(layer);
    assert_eq!(out.read("bin/su"), "x");
    assert_eq!(out.meta("bin/su").permissions().mode() & 0o7777, 0o4755);
    assert_eq!((out.meta("bin/su").uid(), out.meta("sh").gid()), (1, 2));
    assert_eq!(out.meta("bin/su").ino(), out.meta("bin/su2").ino());
    assert_eq!(out.meta("bin").permissions().mode() & 0o7777, 0o1777);
    assert_eq!((out.meta("bin").mtime(), out.meta("sh").mtime()), (1_700_000_000, 1_700_000_000));
    assert_eq!(out.meta("null").rdev(), rustix::fs::makedev(1, 3));
}

#[test]
fn pax_times_and_attributes_but_none_of_overlayfs() {
    let records: [(&str, &[u8]); 4] = [
        ("mtime", b"1700000001.5"),
        ("SCHILY.xattr.user.note", b"hi"),
        ("SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
        ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
    ];
    let out = bottom(Layer::default().pax(&records).dir("d/", 0o755));
    let path = out.path().join("d");
    let mut value = [0; 8];
    assert_eq!(rustix::fs::lgetxattr(&path, "user.note", &mut value), Ok(2));
    assert!(rustix::fs::lgetxattr(&path, "trusted.overlay.redirect", &mut value).is_err());
    assert!(!lower::is_opaque(&path));
    assert_eq!((out.meta("d").mtime(), out.meta("d").mtime_nsec()), (1_700_000_001, 500_000_000));
}

#[test]
fn whiteouts_become_overlayfs_marks() {
    let layer = Layer::default()
        .dir("etc/", 0o755)
        .file("etc/.wh.gone", "")
        .dir("kept/", 0o755)
        .file("kept/file", "stays")
        .file("kept/.wh..wh..opq", "")
        .file(".wh.kept", "")
        .file("etc/own", "stays")
        .file("etc/.wh.own", "")
        .file("etc/.wh.again", "")
        .dir("etc/again/", 0o755)
        .file(".wh..wh.plnk", "");
    let out = bottom(layer);
    assert!(lower::is_whiteout(&out.meta("etc/gone")));
    assert!(lower::is_opaque(&out.path().join("kept")));
    assert_eq!(out.read("kept/file") + &out.read("etc/own"), "staysstays");
    assert!(lower::is_opaque(&out.path().join("etc/again")), "deleted below, made anew");
    assert!(!out.path().join(".wh..wh.plnk").exists());
}

#[test]
fn nothing_leads_out_of_the_image() {
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().to_str().unwrap();
    for layer in [
        Layer::default().symlink("a", target).file("a/owned", "x"),
        Layer::default().symlink("a", "../../../../../..").file(&format!("a{target}/owned"), "x"),
        Layer::default().symlink("a", target).file("a", "x").file("a2", "y"),
        Layer::default().symlink("a", &format!("{target}/owned")).file("a", "x"),
    ] {
        // Resolved inside the image, as in a chroot.
        bottom(layer);
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    }
    for layer in [
        Layer::default().file("../owned", "x"),
        Layer::default().file("a/../../owned", "x"),
        Layer::default().link("a", "../../etc/passwd"),
        Layer::default().file(".wh...", "x"),
    ] {
        let error = try_unpack(layer, Below::Known(&[])).err();
        assert!(matches!(error, Some(UnpackError::Image(ImageError::Malformed(_)))), "{error:?}");
    }
    let loops = Layer::default().symlink("a", "b").symlink("b", "a").file("a/x", "");
    assert!(matches!(try_unpack(loops, Below::Known(&[])), Err(UnpackError::Image(ImageError::Io { .. }))));
    let link_out = Layer::default().symlink("a", "/etc").link("p", "a/passwd");
    assert!(try_unpack(link_out, Below::Known(&[])).is_err());
}

#[test]
fn later_entries_replace_earlier_ones() {
    let layer = Layer::default()
        .dir("d/", 0o755)
        .file("d/f", "old")
        .file("d/f", "new")
        .file("x", "file")
        .dir("x/", 0o700)
        .dir("y/sub/", 0o755)
        .file("y", "file");
    let out = bottom(layer);
    assert_eq!(out.read("d/f"), "new");
    assert!(out.meta("x").is_dir());
    assert_eq!(out.read("y"), "file");
}

#[test]
fn a_layer_that_leans_on_those_below() {
    let base = bottom(
        Layer::default()
            .dir("usr/", 0o755)
            .dir("usr/lib/", 0o711)
            .symlink("lib", "usr/lib")
            .dir("tmp/", 0o1777)
            .file("usr/lib/shared", "content"),
    );
    let middle = bottom(Layer::default().file(".wh.gone", "").dir("opt/", 0o755).file("opt/.wh..wh..opq", ""));
    let below = [middle.path(), base.path()];
    let layers: [fn() -> Layer; 3] = [
        || Layer::default().file("lib/new", "x"),
        || Layer::default().link("copy", "lib/shared"),
        || Layer::default().file("tmp/x", ""),
    ];
    for layer in layers {
        assert!(matches!(try_unpack(layer(), Below::Unknown), Err(UnpackError::NeedsLower)));
    }
    let out = try_unpack(layers[0](), Below::Known(&below)).unwrap();
    assert_eq!(out.read("usr/lib/new"), "x", "through the symlink of the base");
    assert_eq!(out.meta("usr/lib").permissions().mode() & 0o7777, 0o711);
    assert!(!out.path().join("lib").exists());
    let out = try_unpack(layers[2](), Below::Known(&below)).unwrap();
    assert_eq!(out.meta("tmp").permissions().mode() & 0o7777, 0o1777, "parents keep the base's mode");
    let plain = Layer::default().link("copy", "usr/lib/shared");
    assert_eq!(try_unpack(plain, Below::Known(&below)).unwrap().read("copy"), "content");
}

#[test]
fn the_merged_view_follows_links_and_whiteouts() {
    let base = bottom(Layer::default().dir("etc/", 0o755).file("etc/real", "r").symlink("etc/passwd", "/etc/real"));
    let top = bottom(Layer::default().dir("run/", 0o755).symlink("var", "run").file(".wh.gone", ""));
    let layers = [top.path(), base.path()];
    let resolved = |path| lower::resolve(&layers, Path::new(path));
    assert_eq!(resolved("etc/passwd"), Some(base.path().join("etc/real")));
    assert_eq!(resolved("/var/../etc/real"), Some(base.path().join("etc/real")));
    assert_eq!(resolved("gone"), None);
    let deleted = bottom(Layer::default().file(".wh.etc", ""));
    assert_eq!(lower::resolve(&[deleted.path(), base.path()], Path::new("etc/real")), None);
}

#[test]
fn truncated_archives_are_errors() {
    let whole = Layer::default().file("a", &"x".repeat(2000)).bytes();
    let dir = tempfile::tempdir().unwrap();
    assert!(unpack(&whole[..1000], dir.path(), Below::Known(&[])).is_err());
}
