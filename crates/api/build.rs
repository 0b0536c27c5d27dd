//! Collects the descriptions that `explain` and the OpenAPI documents print.
//!
//! They are upstream's prose, so they are not committed here; the `k8s-openapi` crate carries them in its
//! `schemars` impls. Compiling those impls would cost every build of that crate and a megabyte of binary.
//! Reading its sources and compressing what they say costs a second here and 150 KB in the binary.
//!
//! Where the sources cannot be found the table is empty, and so are the descriptions.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Type name -> (its description, field -> description).
type Types = BTreeMap<String, (String, BTreeMap<String, String>)>;

const VERSION: &str = "v1_37";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=../../Cargo.lock");
    let mut types = Types::new();
    match sources() {
        Some(folder) => read_folder(&folder.join(VERSION), &mut types)?,
        None => println!("cargo::warning=k8s-openapi's sources were not found: OpenAPI has no descriptions"),
    }
    let packages = packages()?;
    types.retain(|name, _| name.rsplit_once('.').is_some_and(|(package, _)| packages.contains(package)));
    let out = PathBuf::from(std::env::var("OUT_DIR")?).join("descriptions.bin");
    let file = std::fs::File::create(out)?;
    let mut deflate = flate2::write::DeflateEncoder::new(file, flate2::Compression::best());
    for (name, (description, fields)) in &types {
        // Records end with U+001E, their parts with U+001F: both are control characters that no prose holds.
        write!(deflate, "{name}\u{1f}{description}\u{1f}")?;
        for (field, description) in fields {
            write!(deflate, "{field}\u{1f}{description}\u{1f}")?;
        }
        write!(deflate, "\u{1e}")?;
    }
    deflate.finish()?;
    Ok(())
}

/// Packages whose types are in the field tables, or are written in their own way.
fn packages() -> Result<BTreeSet<String>, Box<dyn Error>> {
    println!("cargo::rerun-if-changed=data/types.txt");
    let table = std::fs::read_to_string("data/types.txt")?;
    let named = table.lines().filter_map(|line| line.strip_prefix("= ")?.split_once(' ')).map(|(_, long)| long);
    let special = ["api.resource", "runtime", "util.intstr"].map(|name| format!("io.k8s.apimachinery.pkg.{name}"));
    Ok(named.map(str::to_owned).chain(special).collect())
}

/// Where cargo keeps `k8s-openapi`, registry or vendored.
fn sources() -> Option<PathBuf> {
    let manifest = Path::new(&std::env::var_os("CARGO_MANIFEST_DIR")?).join("Cargo.toml");
    let metadata = std::process::Command::new(std::env::var_os("CARGO")?)
        .args(["metadata", "--format-version=1", "--offline", "--manifest-path"])
        .arg(manifest)
        // Else cargo wants the sources of other platforms' dependencies too.
        .arg("--filter-platform")
        .arg(std::env::var_os("TARGET")?)
        .output()
        .ok()?;
    let text = String::from_utf8(metadata.stdout).ok()?;
    text.split("\"manifest_path\":\"")
        .filter_map(|rest| rest.split_once('"'))
        .map(|(path, _)| Path::new(path))
        .filter_map(Path::parent)
        .find(|folder| folder.file_name().is_some_and(|n| n.to_string_lossy().starts_with("k8s-openapi")))
        .map(|folder| folder.join("src"))
        .filter(|folder| folder.exists())
}

fn read_folder(folder: &Path, types: &mut Types) -> Result<(), Box<dyn Error>> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            read_folder(&path, types)?;
        } else {
            read_file(&std::fs::read_to_string(&path)?, types);
        }
    }
    Ok(())
}

/// The impls are generated and so laid out alike: the type's description at 12 spaces, a field's name at 16,
/// its description the first one below.
fn read_file(text: &str, types: &mut Types) {
    let mut name = None;
    let mut field = None;
    for line in text.lines() {
        let content = line.trim_start();
        let indent = line.len() - content.len();
        if indent == 8 && content.starts_with("\"io.k8s.") && content.ends_with("\".into()") {
            name = content.split('"').nth(1).map(str::to_owned);
            continue;
        }
        let Some(name) = &name else { continue };
        if indent == 12
            && let Some(text) = content.strip_prefix("\"description\": \"")
        {
            types.entry(name.clone()).or_default().0 = unescape(text);
        } else if indent == 16 && content.starts_with('"') && content.ends_with('{') {
            field = content.split('"').nth(1).map(str::to_owned);
        } else if indent == 20
            && let Some(text) =
                content.split_once("\"description\": \"").or(content.split_once("\"description\".into(), \""))
            && let Some(field) = field.take()
        {
            types.entry(name.clone()).or_default().1.insert(field, unescape(text.1));
        }
    }
}

/// A Rust string literal up to its closing quote.
fn unescape(literal: &str) -> String {
    let mut text = String::new();
    let mut chars = literal.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => break,
            '\\' => match chars.next() {
                Some('n') => text.push('\n'),
                Some('t') => text.push('\t'),
                Some('u') => {
                    let code: String = chars.by_ref().skip(1).take_while(|c| *c != '}').collect();
                    text.extend(u32::from_str_radix(&code, 16).ok().and_then(char::from_u32));
                }
                Some(other) => text.push(other),
                None => break,
            },
            c => text.push(c),
        }
    }
    text
}
