//! `--vmodule`: verbosity by source file (`k8s.io/klog`).

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Modules(Vec<(String, u32)>);

/// `pattern=N,...`
pub fn parse(text: &str) -> Result<Modules, String> {
    let mut modules = Vec::new();
    for item in text.split(',').filter(|item| !item.is_empty()) {
        let parts: Vec<&str> = item.split('=').collect();
        let [pattern, level] = parts[..] else { return Err(malformed(item)) };
        if pattern.is_empty() || level.is_empty() {
            return Err(malformed(item));
        }
        let verbosity: u32 = level.parse().map_err(|error| format!("parsing verbosity in {item:?}: {error}"))?;
        modules.push((pattern.to_owned(), verbosity));
    }
    Ok(Modules(modules))
}

fn malformed(item: &str) -> String {
    format!("{item:?} does not have the pattern=N format")
}

impl Modules {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn most(&self) -> Option<u32> {
        self.0.iter().map(|(_, verbosity)| *verbosity).max()
    }

    /// Of a source file; the first pattern that matches decides. One with a slash is about the whole path.
    pub fn verbosity(&self, file: &str) -> Option<u32> {
        let path = file.strip_suffix(".rs").unwrap_or(file);
        let name = path.rsplit('/').next().unwrap_or(path);
        let found = self.0.iter().find(|(pattern, _)| {
            matches(pattern.as_bytes(), if pattern.contains('/') { path } else { name }.as_bytes())
        });
        found.map(|(_, verbosity)| *verbosity)
    }
}

/// With `*` for anything but a slash, and `?` for one of it.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern, text) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => {
            matches(rest, text) || matches!(text, [first, tail @ ..] if *first != b'/' && matches(pattern, tail))
        }
        ([b'?', rest @ ..], [first, tail @ ..]) => *first != b'/' && matches(rest, tail),
        ([wanted, rest @ ..], [first, tail @ ..]) => wanted == first && matches(rest, tail),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_by_pattern() {
        let modules = parse("level=4,*flow/que?es=6,").expect("valid");
        for (file, want) in [
            ("crates/server/src/flow/level.rs", Some(4)),
            ("crates/server/src/flow/levels.rs", None),
            ("flow/queues.rs", Some(6)),
            ("crates/server/src/flow/queues.rs", None),
        ] {
            assert_eq!(modules.verbosity(file), want, "{file}");
        }
        assert_eq!((modules.most(), parse("").expect("valid").most()), (Some(6), None));
        assert_eq!(parse("a"), Err("\"a\" does not have the pattern=N format".into()));
        assert!(parse("a=x").is_err_and(|why| why.starts_with("parsing verbosity in \"a=x\"")));
    }
}
