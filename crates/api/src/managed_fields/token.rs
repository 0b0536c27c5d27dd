//! Who asked for a token, as the answer tells it.

use std::sync::LazyLock;

use crate::kind::{Kind, KindInfo};

/// `authentication.k8s.io/v1` TokenRequest for a [`super::FieldManager`]; it is served by no path of its own.
#[derive(Clone, Copy, Debug)]
pub struct TokenRequest;

static INFO: LazyLock<KindInfo> =
    LazyLock::new(|| crate::kinds::unlisted("authentication.k8s.io", "TokenRequest", "tokenrequests"));

impl Kind for TokenRequest {
    fn info(&self) -> &KindInfo {
        &INFO
    }
}
