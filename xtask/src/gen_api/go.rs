//! A scanner for Go type declarations: just enough for the API packages, which `gofmt` keeps regular.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// Every package read, by import path.
pub struct Source {
    pub packages: BTreeMap<String, Package>,
}

pub struct Package {
    /// Go package name (`v1`).
    pub name: String,
    /// API group, where the package has one.
    pub group: Option<String>,
    /// What its types' OpenAPI names start with (`io.k8s.api.core.v1`).
    pub model_prefix: String,
    pub types: BTreeMap<String, GoType>,
}

pub enum GoType {
    Struct(Vec<GoField>),
    /// `type A B`, `type A = B`, `type A []B`: the expression on the right.
    Named(Expr),
}

pub struct GoField {
    /// Empty for embedded fields.
    pub go_name: String,
    pub ty: Expr,
    pub tags: BTreeMap<String, String>,
}

/// A type expression with its names resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expr {
    /// A type of the language.
    Basic(String),
    /// (package import path, name)
    Name(String, String),
    Pointer(Box<Expr>),
    Slice(Box<Expr>),
    Map(Box<Expr>, Box<Expr>),
}

impl Source {
    pub fn read(packages: &[(String, PathBuf)]) -> anyhow::Result<Self> {
        let read = |(path, folder): &(String, PathBuf)| Ok((path.clone(), Package::read(path, folder)?));
        Ok(Self { packages: packages.iter().map(read).collect::<anyhow::Result<_>>()? })
    }

    pub fn get(&self, package: &str, name: &str) -> anyhow::Result<&GoType> {
        let found = self.packages.get(package).and_then(|p| p.types.get(name));
        found.with_context(|| format!("type {name} of {package}"))
    }

    /// Go's own text of a type, as `reflect` prints it (`[]v1.Container`); pointers are left out.
    pub fn print(&self, ty: &Expr) -> String {
        match ty {
            Expr::Basic(name) => name.clone(),
            Expr::Name(package, name) => {
                let short = self.packages.get(package).map_or(package.as_str(), |p| &p.name);
                format!("{short}.{name}")
            }
            Expr::Pointer(to) => self.print(to),
            Expr::Slice(of) => format!("[]{}", self.print(of)),
            Expr::Map(key, value) => format!("map[{}]{}", self.print(key), self.print(value)),
        }
    }
}

impl Package {
    fn read(import_path: &str, folder: &Path) -> anyhow::Result<Self> {
        let mut package =
            Self { name: String::new(), group: None, model_prefix: String::new(), types: BTreeMap::new() };
        let entries = std::fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))?;
        let mut files: Vec<PathBuf> = entries.map(|e| Ok(e?.path())).collect::<anyhow::Result<_>>()?;
        files.sort();
        for file in files {
            let name = file.file_name().and_then(|n| n.to_str()).unwrap_or_default();
            let generated = name.starts_with("zz_") || name.starts_with("generated") || name.ends_with("_test.go");
            if file.extension().is_none_or(|e| e != "go") || generated {
                continue;
            }
            let text = std::fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
            package.add_file(import_path, &text).with_context(|| format!("scan {}", file.display()))?;
        }
        Ok(package)
    }

    fn add_file(&mut self, import_path: &str, text: &str) -> anyhow::Result<()> {
        for line in text.lines() {
            if let Some(prefix) = line.strip_prefix("// +k8s:openapi-model-package=") {
                prefix.clone_into(&mut self.model_prefix);
            } else if let Some(rest) = line.strip_prefix("const GroupName = \"") {
                self.group = Some(rest.trim_end_matches('"').to_owned());
            } else if let Some(name) = line.strip_prefix("package ") {
                name.clone_into(&mut self.name);
            }
        }
        let scan = Scan { package: import_path, imports: imports(text) };
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            let Some((name, right)) = line.strip_prefix("type ").and_then(|l| l.split_once(' ')) else { continue };
            let right = right.strip_prefix("= ").unwrap_or(right);
            let declared = match right.trim_end() {
                "struct {" => GoType::Struct(scan.fields(&mut lines)?),
                "struct{}" => GoType::Struct(Vec::new()),
                other if other.starts_with("interface") || other.starts_with("func") => continue,
                other => GoType::Named(scan.expr(other.split(" //").next().unwrap_or(other).trim())?),
            };
            self.types.insert(name.to_owned(), declared);
        }
        Ok(())
    }
}

/// Import alias -> import path.
fn imports(text: &str) -> BTreeMap<String, String> {
    let block = text.split_once("\nimport (\n").and_then(|(_, rest)| rest.split_once("\n)")).map_or("", |(b, _)| b);
    let single = text.lines().filter_map(|l| l.strip_prefix("import ")).filter(|l| !l.starts_with('('));
    let mut imports = BTreeMap::new();
    for line in block.lines().chain(single).map(str::trim) {
        let Some((alias, path)) = line.trim_end_matches('"').split_once('"') else { continue };
        let last = path.rsplit('/').next().unwrap_or(path);
        let alias = if alias.trim().is_empty() { last } else { alias.trim() };
        imports.insert(alias.to_owned(), path.to_owned());
    }
    imports
}

struct Scan<'a> {
    package: &'a str,
    imports: BTreeMap<String, String>,
}

impl Scan<'_> {
    /// The fields up to the closing brace; those without tags are not on the wire and left out.
    fn fields<'l>(&self, lines: &mut impl Iterator<Item = &'l str>) -> anyhow::Result<Vec<GoField>> {
        let mut fields = Vec::new();
        let mut in_comment = false;
        for line in lines {
            let line = line.trim();
            if line == "}" && !in_comment {
                break;
            }
            in_comment = (in_comment || line.starts_with("/*")) && !line.ends_with("*/");
            let Some((declaration, tags)) = line.split_once('`').filter(|_| !in_comment && !line.starts_with("//"))
            else {
                continue;
            };
            let tags = tags.split_once('`').map_or(tags, |(tags, _)| tags);
            let (go_name, ty) = declaration.trim().split_once(char::is_whitespace).unwrap_or(("", declaration.trim()));
            if let Ok(ty) = self.expr(ty.trim()) {
                fields.push(GoField { go_name: go_name.to_owned(), ty, tags: struct_tags(tags) });
            }
        }
        Ok(fields)
    }

    fn expr(&self, text: &str) -> anyhow::Result<Expr> {
        if let Some(to) = text.strip_prefix('*') {
            return Ok(Expr::Pointer(Box::new(self.expr(to)?)));
        }
        if let Some(of) = text.strip_prefix("[]") {
            return Ok(Expr::Slice(Box::new(self.expr(of)?)));
        }
        if let Some((key, value)) = text.strip_prefix("map[").and_then(|rest| rest.split_once(']')) {
            return Ok(Expr::Map(Box::new(self.expr(key)?), Box::new(self.expr(value)?)));
        }
        if let Some((alias, name)) = text.split_once('.') {
            let path = self.imports.get(alias).with_context(|| format!("import {alias} for {text}"))?;
            return Ok(Expr::Name(path.clone(), name.to_owned()));
        }
        let basic = matches!(
            text,
            "bool"
                | "string"
                | "byte"
                | "int"
                | "int32"
                | "int64"
                | "float64"
                | "interface{}"
                | "any"
                | "uint32"
                | "uint64"
        );
        Ok(if basic { Expr::Basic(text.to_owned()) } else { Expr::Name(self.package.to_owned(), text.to_owned()) })
    }
}

/// `json:"a,omitempty" protobuf:"..."`
fn struct_tags(text: &str) -> BTreeMap<String, String> {
    let mut tags = BTreeMap::new();
    let mut rest = text;
    while let Some((key, after)) = rest.split_once(":\"") {
        let Some((value, after)) = after.split_once('"') else { break };
        tags.insert(key.trim().to_owned(), value.to_owned());
        rest = after;
    }
    tags
}
