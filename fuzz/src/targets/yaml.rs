//! Bodies in YAML, anchors and all.

use orlop_api::codec::json::FieldValidation;
use orlop_api::codec::yaml::{decode, from_yaml, from_yaml_all, to_yaml};
use orlop_api::schema;

use crate::Target;

pub const TARGET: Target = Target {
    name: "yaml",
    corpus: None, seeds: &[
        super::POD,
        b"apiVersion: v1\nkind: Pod\nmetadata: {name: a, labels: {yes: 'no'}}\nspec:\n  containers:\n  - name: c\n    args:\n    - |\n      two\n      lines\n    - >-\n      folded\n      text\n",
        b"a: &x [1, 0o14, 0x1f, .inf, ~, 2001-01-01]\nb: *x\n<<: {c: d}\n---\n\"q\": \"\\u00e9\\n\"\n...\n",
    ],
    run,
};

fn run(bytes: &[u8]) {
    let pod = schema::builtin().of("v1", "Pod").expect("a built-in kind");
    let _ = decode(bytes, Some(pod.get()), FieldValidation::Strict);
    let _ = from_yaml_all(bytes);
    let Ok(value) = from_yaml(bytes) else { return };
    let text = to_yaml(&value);
    let again = from_yaml(text.as_bytes()).unwrap_or_else(|error| panic!("{error} in {text:?}"));
    assert_eq!(again, value, "{text:?}");
}
