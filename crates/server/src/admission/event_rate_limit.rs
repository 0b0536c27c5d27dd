//! So many events a second, in all, by namespace, by user, by what they are about
//! (`plugin/pkg/admission/eventratelimit`).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use futures_util::future::BoxFuture;
use orlop_api::Value;
use orlop_api::status::StatusError;
use serde::Deserialize;
use tokio::time::Instant;

use super::{Attributes, Operation, Plugin};
use crate::Server;
use crate::authz::rbac::aggregate;

const DEFAULT_CACHE_SIZE: usize = 4096;

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
enum LimitType {
    Server,
    Namespace,
    User,
    SourceAndObject,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Limit {
    #[serde(rename = "type")]
    kind: LimitType,
    qps: u32,
    burst: u32,
    #[serde(default)]
    cache_size: usize,
}

/// `eventratelimit.admission.k8s.io/v1alpha1 Configuration`
#[derive(Clone, Debug, Deserialize)]
pub struct Configuration {
    limits: Vec<Limit>,
}

pub struct EventRateLimit(Vec<Enforcer>);

struct Enforcer {
    limit: Limit,
    buckets: Mutex<HashMap<String, Bucket>>,
}

struct Bucket {
    tokens: f64,
    filled: Instant,
}

impl EventRateLimit {
    pub fn new(config: Configuration) -> Result<Self, String> {
        if config.limits.is_empty() {
            return Err("limits: Invalid value: []: must not be empty".to_owned());
        }
        for (i, limit) in config.limits.iter().enumerate() {
            for (field, value) in [("burst", limit.burst), ("qps", limit.qps)] {
                if value == 0 {
                    return Err(format!("limits[{i}].{field}: Invalid value: 0: must be positive"));
                }
            }
        }
        Ok(Self(config.limits.into_iter().map(|limit| Enforcer { limit, buckets: Mutex::default() }).collect()))
    }
}

impl Plugin for EventRateLimit {
    fn name(&self) -> &'static str {
        "EventRateLimit"
    }

    fn handles(&self, a: &Attributes) -> bool {
        let writes = matches!(a.operation, Operation::Create | Operation::Update);
        writes && a.is("", "events") && a.subresource.is_empty() && !a.dry_run
    }

    fn validate<'a>(&'a self, _: &'a Server, a: &'a Attributes) -> BoxFuture<'a, Result<(), StatusError>> {
        let refused = self.0.iter().filter_map(|enforcer| enforcer.refuse(a, Instant::now()));
        let errors: Vec<String> = refused.collect();
        let result =
            if errors.is_empty() { Ok(()) } else { Err(StatusError::new(429, "TooManyRequests", aggregate(&errors))) };
        Box::pin(async { result })
    }
}

impl Enforcer {
    fn refuse(&self, a: &Attributes, now: Instant) -> Option<String> {
        let key = match self.limit.kind {
            LimitType::Server => String::new(),
            LimitType::Namespace => a.namespace.clone(),
            LimitType::User => a.user.name.clone(),
            LimitType::SourceAndObject => source_and_object(&a.object),
        };
        self.take(&key, now)
    }

    /// Every event takes a token from the bucket of its key.
    fn take(&self, key: &str, now: Instant) -> Option<String> {
        let (rate, burst) = (f64::from(self.limit.qps), f64::from(self.limit.burst));
        let max = if self.limit.cache_size == 0 { DEFAULT_CACHE_SIZE } else { self.limit.cache_size };
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= max && !buckets.contains_key(key) {
            let oldest = buckets.iter().min_by_key(|(_, bucket)| bucket.filled).map(|(key, _)| key.clone());
            oldest.map(|oldest| buckets.remove(&oldest));
        }
        let bucket = buckets.entry(key.to_owned()).or_insert(Bucket { tokens: burst, filled: now });
        let gained = now.saturating_duration_since(bucket.filled).as_secs_f64() * rate;
        (bucket.tokens, bucket.filled) = ((bucket.tokens + gained).min(burst), now);
        if bucket.tokens < 1.0 {
            return Some(format!("limit reached on type {:?} for key {key}", self.limit.kind));
        }
        bucket.tokens -= 1.0;
        None
    }
}

fn source_and_object(event: &Value) -> String {
    let source = ["component", "host"].iter().map(|field| &event["source"][*field]);
    let object =
        ["kind", "namespace", "name", "uid", "apiVersion"].iter().map(|field| &event["involvedObject"][*field]);
    source.chain(object).filter_map(Value::as_str).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn buckets_empty_and_fill() {
        let config = json!({"limits": [{"type": "Namespace", "qps": 2, "burst": 3, "cacheSize": 2}]});
        let plugin = EventRateLimit::new(serde_json::from_value(config).expect("a configuration")).expect("a plugin");
        let enforcer = &plugin.0[0];
        let start = Instant::now();
        let taken = |key: &str, millis: u64| enforcer.take(key, start + Duration::from_millis(millis));
        assert_eq!([taken("a", 0), taken("a", 0), taken("a", 0)], [None, None, None]);
        assert_eq!(taken("a", 0), Some("limit reached on type Namespace for key a".to_owned()));
        assert_eq!(taken("b", 0), None);
        assert_eq!((taken("a", 500), taken("a", 500).is_some()), (None, true));
        assert_eq!(taken("c", 600), None, "the oldest bucket makes room");
        assert_eq!(enforcer.buckets.lock().unwrap().len(), 2);
        let event = json!({"source": {"component": "c"}, "involvedObject": {"kind": "Pod", "name": "p"}});
        assert_eq!(source_and_object(&event), "cPodp");
        assert!(EventRateLimit::new(Configuration { limits: Vec::new() }).is_err());
    }
}
