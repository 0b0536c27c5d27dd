//! `$(NAME)` references (`k8s.io/kubernetes/third_party/forked/golang/expansion`).

/// Replaces references that `lookup` knows; `$$` is a dollar sign, everything else stays.
pub fn expand(text: &str, mut lookup: impl FnMut(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let (piece, used) = reference(after, &mut lookup);
        out.push_str(&piece);
        rest = &after[used..];
    }
    out.push_str(rest);
    out
}

/// What stands for the text after a `$`, and how many bytes of it that takes.
fn reference(after: &str, lookup: &mut impl FnMut(&str) -> Option<String>) -> (String, usize) {
    if after.starts_with('$') {
        return ("$".to_owned(), 1);
    }
    let Some(inner) = after.strip_prefix('(') else { return ("$".to_owned(), 0) };
    match inner.find(')') {
        Some(end) => {
            let name = &inner[..end];
            (lookup(name).unwrap_or_else(|| format!("$({name})")), end + 2)
        }
        None => ("$(".to_owned(), 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expands_as_upstream() {
        for (text, expanded) in [
            ("$(A)", "1"),
            ("$(A)$(B)", "12"),
            ("x$(C)y", "x$(C)y"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$1"),
            ("$A $", "$A $"),
            ("$(A", "$(A"),
            ("$()", "$()"),
            ("é$(A)é", "é1é"),
        ] {
            let lookup = |name: &str| match name {
                "A" => Some("1".to_owned()),
                "B" => Some("2".to_owned()),
                _ => None,
            };
            assert_eq!(expand(text, lookup), expanded, "{text}");
        }
    }
}
