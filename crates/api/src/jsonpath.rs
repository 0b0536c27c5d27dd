//! kubectl's JSONPath: `{.items[*].metadata.name}`, `{range .items[*]}{.a}{"\n"}{end}`, `[?(@.x=="y")]`.
//! (Kubernetes documentation, "JSONPath Support".)

use serde_json::Value;

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ParseTemplateError(String);

type Result<T> = std::result::Result<T, ParseTemplateError>;

fn wrong<T>(why: impl Into<String>) -> Result<T> {
    Err(ParseTemplateError(why.into()))
}

/// How many values a template with several descents looks at: descents within descents see the same ones again and
/// again. Without, every path sees a value once.
const MOST_VALUES: usize = 1 << 20;

/// A compiled template.
#[derive(Debug)]
pub struct Template {
    parts: Vec<Part>,
    /// How many values it looks at.
    most: usize,
}

#[derive(Debug)]
enum Part {
    Text(String),
    Path(Vec<Step>),
    Range(Vec<Step>, Vec<Part>),
}

#[derive(Clone, Debug)]
enum Step {
    Field(String),
    Index(i64),
    /// Start, end; negative counts from the end.
    Slice(Option<i64>, Option<i64>),
    Wildcard,
    /// Every value below, at any depth.
    Descend,
    Filter {
        path: Vec<Step>,
        operator: String,
        value: Value,
    },
}

impl Template {
    /// `text` with or without the outer braces.
    pub fn parse(text: &str) -> Result<Self> {
        let text = if text.contains('{') { text.to_owned() } else { format!("{{{text}}}") };
        let mut rest = text.as_str();
        let (parts, ended) = parts(&mut rest)?;
        if ended {
            return wrong("not in range, nothing to end");
        }
        let most = if descents(&parts) > 1 { MOST_VALUES } else { usize::MAX };
        Ok(Self { parts, most })
    }

    pub fn render(&self, value: &Value) -> String {
        let mut out = String::new();
        render(&self.parts, value, &mut { self.most }, &mut out);
        out
    }

    /// The values that the first path yields.
    pub fn values<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        let path = self.parts.iter().find_map(|part| if let Part::Path(path) = part { Some(path) } else { None });
        path.map(|path| walk(path, value, &mut { self.most })).unwrap_or_default()
    }
}

fn descents(parts: &[Part]) -> usize {
    let of_part = |part: &Part| match part {
        Part::Text(_) => 0,
        Part::Path(path) => descents_of(path),
        Part::Range(path, inner) => descents_of(path) + descents(inner),
    };
    parts.iter().map(of_part).sum()
}

fn descents_of(path: &[Step]) -> usize {
    let of_step = |step: &Step| match step {
        Step::Descend => 1,
        Step::Filter { path, .. } => descents_of(path),
        _ => 0,
    };
    path.iter().map(of_step).sum()
}

fn render(parts: &[Part], value: &Value, left: &mut usize, out: &mut String) {
    for part in parts {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Path(path) => {
                let shown: Vec<String> = walk(path, value, left).into_iter().map(show).collect();
                out.push_str(&shown.join(" "));
            }
            Part::Range(path, inner) => {
                walk(path, value, left).into_iter().for_each(|item| render(inner, item, left, out));
            }
        }
    }
}

/// A value as it is printed: texts bare, null as nothing.
pub fn show(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// Parts up to the end or `{end}`.
fn parts(rest: &mut &str) -> Result<(Vec<Part>, bool)> {
    let mut found = Vec::new();
    while !rest.is_empty() {
        let Some(open) = rest.find('{') else {
            found.push(Part::Text(std::mem::take(rest).to_owned()));
            break;
        };
        if open > 0 {
            found.push(Part::Text(rest[..open].to_owned()));
        }
        let close = closing(&rest[open..]).map(|c| open + c);
        let Some(close) = close else { return wrong("unclosed action") };
        let action = rest[open + 1..close].trim();
        *rest = &rest[close + 1..];
        if action == "end" {
            return Ok((found, true));
        }
        if let Some(path) = action.strip_prefix("range ") {
            let path = steps(path.trim())?;
            let (inner, ended) = parts(rest)?;
            if !ended {
                return wrong("unclosed range");
            }
            found.push(Part::Range(path, inner));
        } else if action.starts_with('"') || action.starts_with('\'') {
            found.push(Part::Text(unquote(action)?));
        } else {
            found.push(Part::Path(steps(action)?));
        }
    }
    Ok((found, false))
}

/// Position of the brace that closes the first one, outside quotes.
fn closing(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(q), c) if c == q => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None, '}') => return Some(at),
            _ => {}
        }
    }
    None
}

fn unquote(text: &str) -> Result<String> {
    let inner = text.get(1..text.len().saturating_sub(1)).unwrap_or_default();
    if text.len() < 2 || !text.ends_with(text.chars().next().unwrap_or_default()) {
        return wrong("unterminated quoted string");
    }
    let mut out = String::new();
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match (c, c == '\\') {
            (_, true) => match chars.next() {
                Some('n') => out.push('\n'),
                Some('t') => out.push('\t'),
                Some('r') => out.push('\r'),
                Some(other) => out.push(other),
                None => return wrong("unterminated quoted string"),
            },
            (c, false) => out.push(c),
        }
    }
    Ok(out)
}

fn steps(text: &str) -> Result<Vec<Step>> {
    let mut found = Vec::new();
    let mut rest = text.trim_start_matches(['$', '@']);
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix("..") {
            if matches!(found.last(), Some(Step::Descend)) {
                return wrong("invalid multiple recursive descent");
            }
            found.push(Step::Descend);
            rest = after;
            if !rest.starts_with('[') {
                rest = field(rest, &mut found);
            }
        } else if let Some(after) = rest.strip_prefix('.') {
            rest = field(after, &mut found);
        } else if rest.starts_with('[') {
            let Some(end) = bracket_end(rest) else { return wrong("unterminated array") };
            found.push(bracket(&rest[1..end])?);
            rest = &rest[end + 1..];
        } else {
            rest = field(rest, &mut found);
        }
    }
    Ok(found)
}

/// A field name up to the next `.` or `[`; `\.` is a dot of the name.
fn field<'a>(text: &'a str, found: &mut Vec<Step>) -> &'a str {
    let mut name = String::new();
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => {
                name.push(c);
                escaped = false;
            }
            '\\' => escaped = true,
            '.' | '[' => {
                push_field(name, found);
                return &text[at..];
            }
            _ => name.push(c),
        }
    }
    push_field(name, found);
    ""
}

fn push_field(name: String, found: &mut Vec<Step>) {
    match name.as_str() {
        "" => {}
        "*" => found.push(Step::Wildcard),
        _ => found.push(Step::Field(name)),
    }
}

fn bracket_end(text: &str) -> Option<usize> {
    let (mut depth, mut quote) = (0, None);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '[') => depth += 1,
            (None, ']') => {
                depth -= 1;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

fn bracket(text: &str) -> Result<Step> {
    let text = text.trim();
    if text == "*" {
        return Ok(Step::Wildcard);
    }
    if text.starts_with('\'') || text.starts_with('"') {
        return Ok(Step::Field(unquote(text)?));
    }
    if let Some(condition) = text.strip_prefix("?(").and_then(|t| t.strip_suffix(')')) {
        return filter(condition);
    }
    let number = |text: &str| -> Result<Option<i64>> {
        let text = text.trim();
        if text.is_empty() {
            Ok(None)
        } else {
            text.parse().map(Some).or_else(|_| wrong(format!("invalid array index {text}")))
        }
    };
    if let Some((from, to)) = text.split_once(':') {
        return Ok(Step::Slice(number(from)?, number(to)?));
    }
    number(text)?.map_or_else(|| wrong("empty array index"), |index| Ok(Step::Index(index)))
}

fn filter(text: &str) -> Result<Step> {
    for operator in ["==", "!=", "<=", ">=", "<", ">"] {
        if let Some((left, right)) = text.split_once(operator) {
            let right = right.trim();
            let value = if right.starts_with(['\'', '"']) {
                unquote(right)?.into()
            } else {
                serde_json::from_str(right).unwrap_or_else(|_| right.into())
            };
            return Ok(Step::Filter { path: steps(left.trim())?, operator: operator.into(), value });
        }
    }
    Ok(Step::Filter { path: steps(text.trim())?, operator: "exists".into(), value: Value::Null })
}

fn walk<'a>(path: &[Step], value: &'a Value, left: &mut usize) -> Vec<&'a Value> {
    let mut current = vec![value];
    for step in path {
        let mut found = Vec::new();
        for value in current {
            one(step, value, left, &mut found);
        }
        current = found;
    }
    current
}

fn one<'a>(step: &Step, value: &'a Value, left: &mut usize, found: &mut Vec<&'a Value>) {
    let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
    let position =
        |index: i64| usize::try_from(if index < 0 { index + items.len() as i64 } else { index }).unwrap_or(usize::MAX);
    match step {
        Step::Field(name) => take(value.get(name), left, found),
        Step::Index(index) => take(items.get(position(*index)), left, found),
        Step::Slice(from, to) => {
            let to = to.map_or(items.len(), position).min(items.len());
            let from = from.map_or(0, position).min(to);
            take(&items[from..to], left, found);
        }
        Step::Wildcard => take(children(value), left, found),
        Step::Descend => descend(value, left, found),
        Step::Filter { path, operator, value: wanted } => {
            for item in items {
                if holds(path, operator, wanted, item, left) {
                    take([item], left, found);
                }
            }
        }
    }
}

/// As long as anything is left to be looked at.
fn take<'a>(values: impl IntoIterator<Item = &'a Value>, left: &mut usize, found: &mut Vec<&'a Value>) {
    let before = found.len();
    found.extend(values.into_iter().take(*left));
    *left -= found.len() - before;
}

fn descend<'a>(value: &'a Value, left: &mut usize, found: &mut Vec<&'a Value>) {
    take([value], left, found);
    for child in children(value) {
        if *left == 0 {
            return;
        }
        descend(child, left, found);
    }
}

fn children(value: &Value) -> Box<dyn Iterator<Item = &Value> + '_> {
    match value {
        Value::Object(map) => Box::new(map.values()),
        _ => Box::new(value.as_array().into_iter().flatten()),
    }
}

fn holds(path: &[Step], operator: &str, wanted: &Value, item: &Value, left: &mut usize) -> bool {
    let found = walk(path, item, left);
    let Some(left) = found.first() else { return false };
    let order = match (left.as_f64(), wanted.as_f64()) {
        (Some(a), Some(b)) => a.partial_cmp(&b),
        _ => Some(show(left).cmp(&show(wanted))),
    };
    match operator {
        "exists" => true,
        "==" => order.is_some_and(std::cmp::Ordering::is_eq),
        "!=" => order.is_some_and(std::cmp::Ordering::is_ne),
        "<" => order.is_some_and(std::cmp::Ordering::is_lt),
        ">" => order.is_some_and(std::cmp::Ordering::is_gt),
        "<=" => order.is_some_and(std::cmp::Ordering::is_le),
        _ => order.is_some_and(std::cmp::Ordering::is_ge),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn templates_render_as_kubectls_do() {
        let value = json!({"kind": "List", "items": [
            {"metadata": {"name": "a", "labels": {"app.kubernetes.io/name": "x"}}, "n": 1, "ok": true, "list": [1, 2, 3]},
            {"metadata": {"name": "b"}, "n": 2, "conditions": [{"type": "Ready", "status": "True"}]}]});
        for (template, expected) in [
            ("{.kind}", "List"),
            (".kind", "List"),
            ("{.items[*].metadata.name}", "a b"),
            ("{.items[0].metadata.name}", "a"),
            ("{.items[-1].metadata.name}", "b"),
            ("{.items[0].list[0:2]}", "1 2"),
            ("{.items[0].metadata.labels.app\\.kubernetes\\.io/name}", "x"),
            ("{.items[0].metadata.labels['app.kubernetes.io/name']}", "x"),
            ("{range .items[*]}{.metadata.name}={.n}{\"\\n\"}{end}", "a=1\nb=2\n"),
            ("{.items[?(@.n>1)].metadata.name}", "b"),
            ("{.items[?(@.metadata.name==\"a\")].ok}", "true"),
            ("{.items[1].conditions[?(@.type==\"Ready\")].status}", "True"),
            ("{..name}", "a b"),
            ("{.nothing}", ""),
            ("{.items[0].metadata}", "{\"labels\":{\"app.kubernetes.io/name\":\"x\"},\"name\":\"a\"}"),
        ] {
            assert_eq!(Template::parse(template).unwrap().render(&value), expected, "{template}");
        }
        for bad in ["{.a", "{range .a}x", "{end}", "{.a[}", "{.a[x]}", "{........}", "{..}{....a}"] {
            assert!(Template::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn descents_within_descents_end() {
        let deep = (0..100).fold(json!(1), |inner, _| json!({"a": inner, "b": 0}));
        let again = Template::parse(&"..a".repeat(20)).unwrap();
        assert!(again.values(&deep).len() <= MOST_VALUES);
        let nested = format!("{}{{.b}}{}", "{range ..a}".repeat(20), "{end}".repeat(20));
        assert!(Template::parse(&nested).unwrap().render(&deep).len() <= MOST_VALUES);
    }
}
