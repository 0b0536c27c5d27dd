//! JSONPath of printer columns and `kubectl -o jsonpath`.

use orlop_api::jsonpath::Template;

use crate::Target;

pub const TARGET: Target = Target {
    name: "jsonpath",
    corpus: None,
    seeds: &[
        b".spec.containers[*].name",
        br#"{range .items[?(@.a=="b")]}{.metadata['x\.y']}{"\n"}{end}{..name}{[0:2:1]}{[-1]}{['a','b']}"#,
        b"{.a[?(@.b > 1.5)].c}{$.x}",
        b"..k.k..k..ke{range ..}{..}{end}",
    ],
    run,
};

fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(template) = Template::parse(text) else { return };
    let pod = serde_json::from_slice(super::POD).expect("a valid pod");
    template.render(&pod);
    template.values(&pod);
}
