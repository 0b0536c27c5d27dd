//! Image references.

use orlop_image::Reference;

use crate::Target;

pub const TARGET: Target = Target {
    name: "image-reference",
    corpus: None,
    seeds: &[
        b"registry.example.com:5000/a/b:tag@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        b"nginx",
    ],
    run,
};

fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(reference) = Reference::parse(text) else { return };
    if let Some(written) = reference.tagged() {
        let again = Reference::parse(&written).unwrap_or_else(|error| panic!("{error} in {written:?}"));
        assert_eq!(again.tagged().as_ref(), Some(&written));
    }
}
