//! `apiserver.config.k8s.io TracingConfiguration`.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::SocketAddr;
use std::path::Path;

use orlop_api::codec::yaml::from_yaml;
use orlop_api::field::{self, ErrorList};
use serde::Deserialize;

const VERSIONS: [&str; 3] =
    ["apiserver.config.k8s.io/v1", "apiserver.config.k8s.io/v1beta1", "apiserver.config.k8s.io/v1alpha1"];
const MAX_PER_MILLION: i64 = 1_000_000;
/// Where a collector listens by default.
const DEFAULT_ENDPOINT: &str = "localhost:4317";

#[derive(Debug, thiserror::Error)]
pub enum TracingError {
    #[error("tracing-config-file {0} does not exist")]
    Missing(String),
    #[error("failed to read tracing config: unable to read tracing configuration from {path:?}: {source}")]
    Read { path: String, source: std::io::Error },
    #[error("failed to read tracing config: unable to decode tracing configuration data: {0}")]
    Decode(String),
    #[error("failed to validate tracing configuration: {0}")]
    Invalid(String),
}

#[derive(Clone, Debug)]
pub struct Configuration {
    pub target: Target,
    pub sampling_rate_per_million: u32,
}

/// Where the collector is.
#[derive(Clone, Debug)]
pub enum Target {
    /// Host and port.
    Tcp(String),
    Unix(SocketAddr),
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct File {
    endpoint: Option<String>,
    sampling_rate_per_million: Option<i32>,
}

impl Configuration {
    pub fn load(path: &Path) -> Result<Self, TracingError> {
        let name = || path.display().to_string();
        let text = std::fs::read(path).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => TracingError::Missing(name()),
            _ => TracingError::Read { path: name(), source },
        })?;
        Self::parse(&text)
    }

    fn parse(text: &[u8]) -> Result<Self, TracingError> {
        let document = from_yaml(text).map_err(|error| TracingError::Decode(error.to_string()))?;
        let field = |name: &str| document[name].as_str().unwrap_or_default();
        let (api_version, kind) = (field("apiVersion"), field("kind"));
        if !VERSIONS.contains(&api_version) || kind != "TracingConfiguration" {
            let why = format!("no kind {kind:?} is registered for version {api_version:?}");
            return Err(TracingError::Decode(why));
        }
        let file: File = serde_json::from_value(document).map_err(|error| TracingError::Decode(error.to_string()))?;
        let mut errors = ErrorList::default();
        let rate = i64::from(file.sampling_rate_per_million.unwrap_or_default());
        validate_rate(rate, &mut errors);
        let target = target(file.endpoint.as_deref().unwrap_or(DEFAULT_ENDPOINT), &mut errors);
        match target {
            Some(target) if errors.is_empty() => Ok(Self { target, sampling_rate_per_million: rate as u32 }),
            _ => Err(TracingError::Invalid(errors.aggregate())),
        }
    }
}

fn validate_rate(rate: i64, errors: &mut ErrorList) {
    let path = field::Path::new("samplingRatePerMillion");
    if rate < 0 {
        errors.invalid(&path, rate, "sampling rate must be positive");
    }
    if rate > MAX_PER_MILLION {
        errors.invalid(&path, rate, "sampling rate per million must be less than or equal to one million");
    }
}

/// gRPC's names for targets, as far as upstream allows them.
fn target(endpoint: &str, errors: &mut ErrorList) -> Option<Target> {
    let Some((scheme, rest)) = endpoint.split_once("//") else { return Some(Target::Tcp(endpoint.to_owned())) };
    let scheme = scheme.trim_end_matches(':');
    let mut refuse = |why: String| {
        errors.invalid(&field::Path::new("endpoint"), endpoint, why);
        None
    };
    let address = match scheme {
        // The part before the slash would name a DNS server.
        "dns" => return Some(Target::Tcp(rest.rsplit('/').next().unwrap_or(rest).to_owned())),
        "unix" => SocketAddr::from_pathname(rest),
        "unix-abstract" => SocketAddr::from_abstract_name(rest.trim_start_matches('/')),
        _ => {
            return refuse(format!(
                "unsupported scheme: {scheme}.  Options are none, dns, unix, or unix-abstract.  See \
                 https://github.com/grpc/grpc/blob/master/doc/naming.md"
            ));
        }
    };
    match address {
        Ok(address) => Some(Target::Unix(address)),
        Err(error) => refuse(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(fields: &str) -> Result<Configuration, String> {
        let text = format!("apiVersion: apiserver.config.k8s.io/v1\nkind: TracingConfiguration\n{fields}");
        Configuration::parse(text.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn files_say_where_to_and_how_much() {
        let tcp = |fields| match parse(fields).expect("valid") {
            Configuration { target: Target::Tcp(address), sampling_rate_per_million } => {
                (address, sampling_rate_per_million)
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(tcp(""), ("localhost:4317".into(), 0));
        assert_eq!(tcp("endpoint: dns:///otel:1\nsamplingRatePerMillion: 100"), ("otel:1".into(), 100));
        let unix = parse("endpoint: unix:///run/otel.sock").expect("valid");
        assert!(matches!(unix.target, Target::Unix(address) if address.as_pathname().is_some()));
        assert_eq!(
            parse("endpoint: http://otel:1\nsamplingRatePerMillion: -1").expect_err("refused"),
            "failed to validate tracing configuration: [samplingRatePerMillion: Invalid value: -1: sampling rate must be \
             positive, endpoint: Invalid value: \"http://otel:1\": unsupported scheme: http.  Options are none, dns, \
             unix, or unix-abstract.  See https://github.com/grpc/grpc/blob/master/doc/naming.md]"
        );
    }
}
