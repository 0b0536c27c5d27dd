//! Rules for names, label keys and label values, in upstream's words
//! (`k8s.io/apimachinery/pkg/{util/validation,api/validate/content}`). Each returns what is wrong, empty when fine.

pub const DNS1123_LABEL_MAX_LENGTH: usize = 63;
pub const DNS1123_SUBDOMAIN_MAX_LENGTH: usize = 253;
const LABEL_MAX_LENGTH: usize = 63;

const LABEL_PATTERN: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const LABEL_KEY_PATTERN: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";

/// `my-name`: Namespaces, containers, most parts of host names.
pub fn dns1123_label(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if value.len() > DNS1123_LABEL_MAX_LENGTH {
        errors.push(max_characters(DNS1123_LABEL_MAX_LENGTH));
    }
    if !is_label(value) {
        errors.push(if is_subdomain(value) {
            "must not contain dots".to_owned()
        } else {
            let text = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must \
                        start and end with an alphanumeric character";
            pattern(text, LABEL_PATTERN, &["my-name", "123-abc"])
        });
    }
    errors
}

/// `example.com`: names of most kinds.
pub fn dns1123_subdomain(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if value.len() > DNS1123_SUBDOMAIN_MAX_LENGTH {
        errors.push(max_characters(DNS1123_SUBDOMAIN_MAX_LENGTH));
    }
    if !is_subdomain(value) {
        let text = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and \
                    must start and end with an alphanumeric character";
        errors.push(pattern(text, &format!("{LABEL_PATTERN}(\\.{LABEL_PATTERN})*"), &["example.com"]));
    }
    errors
}

/// `my-name`, not starting with a digit: Services.
pub fn dns1035_label(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if value.len() > DNS1123_LABEL_MAX_LENGTH {
        errors.push(max_characters(DNS1123_LABEL_MAX_LENGTH));
    }
    if !is_label(value) || value.starts_with(|c: char| c.is_ascii_digit()) {
        let text = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an \
                    alphabetic character, and end with an alphanumeric character";
        errors.push(pattern(text, "[a-z]([-a-z0-9]*[a-z0-9])?", &["my-name", "abc-123"]));
    }
    errors
}

/// Anything that fits in a URL path segment: RBAC's kinds.
pub fn path_segment(value: &str) -> Vec<String> {
    match value {
        "." | ".." => vec![format!("may not be '{value}'")],
        _ => path_segment_prefix(value),
    }
}

/// What a generated name may start with.
pub fn path_segment_prefix(value: &str) -> Vec<String> {
    ["/", "%"].iter().filter(|bad| value.contains(**bad)).map(|bad| format!("may not contain '{bad}'")).collect()
}

/// A label or annotation key, a finalizer: `name` or `prefix/name`.
pub fn qualified_name(value: &str) -> Vec<String> {
    if is_qualified_name(value) {
        return Vec::new();
    }
    let text = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric \
                character";
    let rule = pattern(text, LABEL_KEY_PATTERN, &["MyName", "my.name", "123-abc"]);
    let mut errors = Vec::new();
    let name = match value.split('/').collect::<Vec<_>>()[..] {
        [name] => name,
        [prefix, name] => {
            if prefix.is_empty() {
                errors.push("prefix part must be non-empty".to_owned());
            } else {
                // The newer package counts bytes, in which it says the same.
                let in_bytes = |e: String| format!("prefix part {}", e.replace(" characters", " bytes"));
                let (length, form): (Vec<_>, Vec<_>) =
                    dns1123_subdomain(prefix).into_iter().partition(|e| e.starts_with("must be no more"));
                errors.extend(length.into_iter().map(in_bytes));
                errors.extend(form.into_iter().map(|e| format!("prefix part {e}")));
            }
            name
        }
        _ => {
            let form = "with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
            return vec![format!("a valid label key {rule} {form}")];
        }
    };
    if name.is_empty() {
        errors.push("name part must be non-empty".to_owned());
    } else if name.len() > LABEL_MAX_LENGTH {
        errors.push(format!("name part {}", max_length(LABEL_MAX_LENGTH)));
    }
    if !is_label_text(name) {
        errors.push(format!("name part {rule}"));
    }
    errors
}

pub fn label_value(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if value.len() > LABEL_MAX_LENGTH {
        errors.push(max_length(LABEL_MAX_LENGTH));
    }
    if !value.is_empty() && !is_label_text(value) {
        let text = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and \
                    must start and end with an alphanumeric character";
        errors.push(pattern(text, &format!("({LABEL_KEY_PATTERN})?"), &["MyValue", "my_value", "12345"]));
    }
    errors
}

/// `_a.b`: DNS search paths, which may hold underscores.
pub fn dns1123_subdomain_with_underscore(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if value.len() > DNS1123_SUBDOMAIN_MAX_LENGTH {
        errors.push(max_characters(DNS1123_SUBDOMAIN_MAX_LENGTH));
    }
    let is_part = |part: &str| {
        let part = part.strip_prefix('_').unwrap_or(part);
        let ends = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let bytes = part.as_bytes();
        ends(bytes.first())
            && ends(bytes.last())
            && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'))
    };
    if !value.split('.').all(is_part) {
        let text = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or \
                    '.', and must start and end with an alphanumeric character";
        let part = "_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?";
        errors.push(pattern(text, &format!("{part}(\\.{part})*"), &["example.com"]));
    }
    errors
}

/// `*.example.com`: hosts of Ingresses.
pub fn wildcard_dns1123_subdomain(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if value.len() > DNS1123_SUBDOMAIN_MAX_LENGTH {
        errors.push(max_characters(DNS1123_SUBDOMAIN_MAX_LENGTH));
    }
    if !value.strip_prefix("*.").is_some_and(is_subdomain) {
        let text = "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must \
                    consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character";
        errors.push(pattern(text, &format!("\\*\\.{LABEL_PATTERN}(\\.{LABEL_PATTERN})*"), &["*.example.com"]));
    }
    errors
}

/// A key of a ConfigMap or Secret; becomes a file's name.
pub fn config_map_key(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if value.len() > DNS1123_SUBDOMAIN_MAX_LENGTH {
        errors.push(max_characters(DNS1123_SUBDOMAIN_MAX_LENGTH));
    }
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if value.is_empty() || !value.bytes().all(fits) {
        let text = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'";
        errors.push(pattern(text, "[-._a-zA-Z0-9]+", &["key.name", "KEY_NAME", "key-name"]));
    }
    match value {
        "." | ".." => errors.push(format!("must not be '{value}'")),
        _ if value.starts_with("..") => errors.push("must not start with '..'".to_owned()),
        _ => {}
    }
    errors
}

/// An environment variable's name (KEP 4369 relaxed it).
pub fn env_var(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if value.is_empty() {
        errors.push("environment variable name must be non-empty".to_owned());
    }
    if !value.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'=') {
        let text = "a valid environment variable name must consist only of printable ASCII characters other than '='";
        errors.push(text.to_owned());
    }
    errors
}

/// `http`, `metrics-2`: named ports of containers.
pub fn port_name(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    let mut check = |broken: bool, text: &str| {
        if broken {
            errors.push(text.to_owned());
        }
    };
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    check(value.len() > 15, "must be no more than 15 characters");
    check(
        value.is_empty() || !value.bytes().all(fits),
        "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
    );
    check(!value.bytes().any(|b| b.is_ascii_lowercase()), "must contain at least one letter (a-z)");
    check(value.contains("--"), "must not contain consecutive hyphens");
    check(value.starts_with('-') || value.ends_with('-'), "must not begin or end with a hyphen");
    errors
}

pub fn http_header(value: &str) -> Vec<String> {
    if !value.is_empty() && value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Vec::new();
    }
    let text = "a valid HTTP header must consist of alphanumeric characters or '-'";
    vec![pattern(text, "[-A-Za-z0-9]+", &["X-Header-Name"])]
}

/// `25%`
pub fn percent(value: &str) -> Vec<String> {
    let digits = value.strip_suffix('%').unwrap_or_default();
    if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        return Vec::new();
    }
    let text = "a valid percent string must be a numeric string followed by an ending '%'";
    vec![pattern(text, "[0-9]+%", &["1%", "93%"])]
}

fn is_label(value: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !value.is_empty() && value.bytes().all(inner) && !value.starts_with('-') && !value.ends_with('-')
}

fn is_subdomain(value: &str) -> bool {
    value.split('.').all(is_label)
}

/// [`qualified_name`] without the words.
fn is_qualified_name(value: &str) -> bool {
    let (prefix, name) = value.split_once('/').map_or((None, value), |(prefix, name)| (Some(prefix), name));
    prefix.is_none_or(|p| p.len() <= DNS1123_SUBDOMAIN_MAX_LENGTH && is_subdomain(p))
        && name.len() <= LABEL_MAX_LENGTH
        && is_label_text(name)
}

fn is_label_text(value: &str) -> bool {
    let ends = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = value.as_bytes();
    ends(bytes.first())
        && ends(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// The words of the newer package, for labels and their keys.
fn max_length(length: usize) -> String {
    format!("must be no more than {length} bytes")
}

fn max_characters(length: usize) -> String {
    format!("must be no more than {length} characters")
}

pub fn pattern(text: &str, regex: &str, examples: &[&str]) -> String {
    if examples.is_empty() {
        return format!("{text} (regex used for validation is '{regex}')");
    }
    let examples: Vec<String> = examples.iter().map(|e| format!("'{e}', ")).collect();
    format!("{text} (e.g. {}regex used for validation is '{regex}')", examples.join(" or "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_upstreams() {
        assert_eq!(
            dns1123_label("Bad_Name"),
            [
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end \
              with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
              '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
            ]
        );
        assert_eq!(dns1123_label("a.b"), ["must not contain dots"]);
        assert_eq!(
            qualified_name("a b"),
            ["name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
              alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
              '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"]
        );
        assert_eq!(path_segment("a/b%"), ["may not contain '/'", "may not contain '%'"]);
    }

    #[test]
    fn accepts_and_refuses() {
        type Rule = fn(&str) -> Vec<String>;
        let cases: &[(Rule, &[&str], &[&str])] = &[
            (dns1123_label, &["a", "0", "my-name", "123-abc"], &["", "-a", "a-", "A", "a.b", "a_b"]),
            (dns1123_subdomain, &["a", "a.b", "example.com"], &["", ".", "a..b", "A.b", "-a.b"]),
            (dns1035_label, &["a", "a-1"], &["1a", "", "a.b", "-a"]),
            (qualified_name, &["a", "a.B_c", "example.com/a"], &["", "/a", "a/", "a/b/c", "_a", "E.com/a"]),
            (label_value, &["", "a", "A_b.c-1"], &["-a", "a b", "a/"]),
        ];
        for (rule, good, bad) in cases {
            good.iter().for_each(|value| assert!(rule(value).is_empty(), "{value}: {:?}", rule(value)));
            bad.iter().for_each(|value| assert!(!rule(value).is_empty(), "{value}"));
            assert!(!rule(&"x".repeat(254)).is_empty());
        }
    }
}
