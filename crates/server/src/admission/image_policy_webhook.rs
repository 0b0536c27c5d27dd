//! A webhook says which images may run (`plugin/pkg/admission/imagepolicy`).

use std::path::PathBuf;
use std::time::Duration;

use futures_util::future::BoxFuture;
use orlop_api::status::StatusError;
use orlop_api::{Map, Value};
use serde::Deserialize;
use serde_json::json;

use super::{Attributes, Operation, Plugin};
use crate::Server;
use crate::review::cache::Cache;
use crate::review::remote::{self, Remote};

const API_VERSION: &str = "imagepolicy.k8s.io/v1alpha1";
const EPHEMERAL: &str = "ephemeralcontainers";
const MAX_ANSWERS: usize = 1024;
const MAX_TTL_SECONDS: i64 = 30 * 60;

/// `imagePolicy` of the plugin's configuration; times in seconds, 0 for the default, -1 for none.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Settings {
    #[serde(rename = "kubeConfigFile")]
    kubeconfig: PathBuf,
    #[serde(rename = "allowTTL")]
    allow_ttl: i64,
    #[serde(rename = "denyTTL")]
    deny_ttl: i64,
    #[serde(rename = "defaultAllow")]
    default_allow: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Configuration {
    #[serde(rename = "imagePolicy")]
    image_policy: Settings,
}

pub struct ImagePolicyWebhook {
    remote: Remote,
    answers: Cache<Value>,
    allow_ttl: Duration,
    deny_ttl: Duration,
    default_allow: bool,
}

impl ImagePolicyWebhook {
    pub fn new(config: Configuration) -> Result<Self, String> {
        let settings = config.image_policy;
        let remote = Remote::from_kubeconfig(&settings.kubeconfig, remote::TIMEOUT);
        Ok(Self {
            remote: remote.map_err(|error| orlop_base::error::chain(&error))?,
            answers: Cache::new(MAX_ANSWERS),
            allow_ttl: ttl(settings.allow_ttl, Duration::from_mins(5))?,
            deny_ttl: ttl(settings.deny_ttl, Duration::from_secs(30))?,
            default_allow: settings.default_allow,
        })
    }

    async fn check(&self, a: &Attributes) -> Result<(), String> {
        let spec = spec(a);
        let key = spec.to_string();
        let status = match self.answers.get(&key) {
            Some(known) => known,
            None => {
                let review = json!({ "apiVersion": API_VERSION, "kind": "ImageReview", "metadata": {}, "spec": spec,
                    "status": { "allowed": false } });
                match self.remote.ask(&review).await {
                    Ok(answer) => {
                        let status = answer["status"].clone();
                        let life = if status["allowed"] == true { self.allow_ttl } else { self.deny_ttl };
                        self.answers.put(key, status.clone(), life);
                        status
                    }
                    Err(error) if self.default_allow => {
                        tracing::debug!(%error, "images are let in although their policy could not be asked");
                        return Ok(());
                    }
                    Err(error) => return Err(error.text),
                }
            }
        };
        judge(&status)
    }
}

fn judge(status: &Value) -> Result<(), String> {
    match (status["allowed"] == true, status["reason"].as_str().unwrap_or_default()) {
        (true, _) => Ok(()),
        (_, "") => Err("one or more images rejected by webhook backend".to_owned()),
        (_, reason) => Err(format!("image policy webhook backend denied one or more images: {reason}")),
    }
}

impl Plugin for ImagePolicyWebhook {
    fn name(&self) -> &'static str {
        "ImagePolicyWebhook"
    }

    fn handles(&self, a: &Attributes) -> bool {
        let writes = matches!(a.operation, Operation::Create | Operation::Update);
        writes && a.is("", "pods") && ["", EPHEMERAL].contains(&&*a.subresource)
    }

    fn validate<'a>(&'a self, _: &'a Server, a: &'a Attributes) -> BoxFuture<'a, Result<(), StatusError>> {
        Box::pin(async move { self.check(a).await.map_err(|why| a.forbidden(&why)) })
    }
}

fn ttl(seconds: i64, default: Duration) -> Result<Duration, String> {
    match seconds {
        -1 => Ok(Duration::ZERO),
        0 => Ok(default),
        1..=MAX_TTL_SECONDS => Ok(Duration::from_secs(seconds.unsigned_abs())),
        _ => Err(format!("valid value is between 1s and 30m0s, got {seconds}s")),
    }
}

fn spec(a: &Attributes) -> Value {
    let lists: &[&str] =
        if a.subresource == EPHEMERAL { &["ephemeralContainers"] } else { &["containers", "initContainers"] };
    let containers = lists.iter().flat_map(|list| a.object["spec"][*list].as_array().into_iter().flatten());
    let images: Vec<Value> = containers.map(|container| json!({ "image": container["image"] })).collect();
    let annotations = a.object["metadata"]["annotations"].as_object().into_iter().flatten();
    let ours = annotations.filter(|(key, _)| key.contains(".image-policy.k8s.io/"));
    let annotations: Map<String, Value> = ours.map(|(key, value)| (key.clone(), value.clone())).collect();
    let mut spec = json!({ "containers": images, "namespace": a.namespace });
    if !annotations.is_empty() {
        spec["annotations"] = annotations.into();
    }
    spec
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_and_times_are_read_as_upstream_does() {
        assert_eq!(judge(&json!({"allowed": true})), Ok(()));
        assert_eq!(judge(&json!({})), Err("one or more images rejected by webhook backend".to_owned()));
        let denied = "image policy webhook backend denied one or more images: latest";
        assert_eq!(judge(&json!({"allowed": false, "reason": "latest"})), Err(denied.to_owned()));
        let minute = Duration::from_mins(1);
        assert_eq!(
            (ttl(0, minute), ttl(-1, minute), ttl(7, minute)),
            (Ok(minute), Ok(Duration::ZERO), Ok(Duration::from_secs(7)))
        );
        assert!(ttl(1801, minute).is_err() && ttl(-2, minute).is_err());
    }
}
