//! Label and field selectors as text.

use std::collections::BTreeMap;

use orlop_api::selector::Selector;
use orlop_server::field_terms;

use crate::Target;

pub const FIELDS: Target = Target {
    name: "field-selector",
    corpus: None,
    seeds: &[br"metadata.name=a,spec.nodeName!=b\,c,,status.phase==\\d\=e", b"a=b=c,!=,x"],
    run: |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        let Some(terms) = field_terms(text) else { return };
        let length: usize = terms.iter().map(|(field, _, value)| field.len() + value.len()).sum();
        assert!(length <= text.len(), "what is unescaped is no longer");
    },
};

pub const TARGET: Target = Target {
    name: "selector",
    corpus: None,
    seeds: &[b"a=b,c!=d,e in (f,g),h notin (i),!j,k,example.com/l==m,n>5,o<6", b"x in (,y)"],
    run,
};

fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(selector) = Selector::parse(text) else { return };
    let written = selector.to_string();
    let again = Selector::parse(&written).unwrap_or_else(|error| panic!("{error} in {written:?}"));
    assert_eq!(again.to_string(), written);
    let labels = BTreeMap::from([("a".to_owned(), "b".to_owned()), ("n".to_owned(), "7".to_owned())]);
    assert_eq!(again.matches(&labels), selector.matches(&labels), "{written:?}");
}
