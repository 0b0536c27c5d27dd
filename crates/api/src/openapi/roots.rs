//! What there is besides resources: which groups and versions, the server's version, how its tokens are checked.

use super::names::{capital, group_name};
use super::operations::{Answer, Operation, Paths};

/// Every place but those of the groups.
pub const FIXED: [&str; 5] = ["api", "apis", "version", ".well-known/openid-configuration", "openid/v1/jwks"];

const JSON: &str = "application/json";
const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

/// Adds what is answered at `path`, one of [`FIXED`] or a group (`apis/apps`).
pub fn add(paths: &mut Paths, path: &str) -> Option<()> {
    let (id, tag, description, answer) = match path {
        "api" => {
            ("getCoreAPIVersions".to_owned(), "core".to_owned(), "get available API versions", meta("APIVersions"))
        }
        "apis" => ("getAPIVersions".to_owned(), "apis".to_owned(), "get available API versions", meta("APIGroupList")),
        "version" => {
            let info = Some("io.k8s.apimachinery.pkg.version.Info".to_owned());
            let description = "get the version information for this server";
            ("getCodeVersion".to_owned(), "version".to_owned(), description, Answer::Only(JSON, info))
        }
        ".well-known/openid-configuration" => {
            let id = "getServiceAccountIssuerOpenIDConfiguration".to_owned();
            let description = "get service account issuer OpenID configuration, also known as the 'OIDC discovery doc'";
            (id, "WellKnown".to_owned(), description, Answer::Only(JSON, None))
        }
        "openid/v1/jwks" => {
            let id = "getServiceAccountIssuerOpenIDKeyset".to_owned();
            let description =
                "get service account issuer OpenID JSON Web Key Set (contains public token verification keys)";
            (id, "openid".to_owned(), description, Answer::Only("application/jwk-set+json", None))
        }
        _ => {
            let name = group_name(path.strip_prefix("apis/")?);
            let mut tag = name.clone();
            tag.get_mut(..1)?.make_ascii_lowercase();
            (format!("get{}APIGroup", capital(&name)), tag, "get information of a group", meta("APIGroup"))
        }
    };
    let operation = Operation { id, tag, description: description.to_owned(), answer, ..Operation::plain() };
    paths.entry(format!("/{path}/")).or_default().insert("get", operation);
    Some(())
}

fn meta(name: &str) -> Answer {
    Answer::Schema(format!("{META}.{name}"))
}
