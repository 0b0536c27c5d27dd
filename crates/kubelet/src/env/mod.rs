//! A container's environment, from all its sources.

pub mod expansion;
pub mod fields;
mod file;
pub mod services;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use crate::corev1::{ConfigMap, Container, EnvVarSource, Secret};
use crate::pod::spec::NodePod;
use crate::resources::ResourceList;
use fields::FieldView;

/// An object a container refers to, or why it cannot be had.
#[derive(Clone, Debug)]
pub enum Found<T> {
    Object(Arc<T>),
    Missing,
    /// Not known whether it exists.
    Failed(String),
}

/// Objects by name, fetched before the environment is made.
#[derive(Clone, Debug, Default)]
pub struct Objects {
    pub config_maps: BTreeMap<String, Found<ConfigMap>>,
    pub secrets: BTreeMap<String, Found<Secret>>,
}

/// What an environment depends on beside the container's spec.
pub struct EnvInput<'a> {
    pub pod: &'a NodePod,
    pub container: &'a Container,
    pub objects: &'a Objects,
    /// Variables of the services, [`services::variables`].
    pub services: &'a BTreeMap<String, String>,
    pub host_ips: &'a [IpAddr],
    pub pod_ips: &'a [IpAddr],
    pub allocatable: &'a ResourceList,
    /// Host paths of the pod's volumes, for `fileKeyRef`.
    pub volumes: &'a BTreeMap<String, PathBuf>,
}

/// The text of a container that waits with `CreateContainerConfigError`.
pub type ConfigError = String;

/// Names of the ConfigMaps and Secrets that a container's environment needs.
pub fn references(container: &Container) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut config_maps, mut secrets) = (BTreeSet::new(), BTreeSet::new());
    for from in container.env_from.iter().flatten() {
        config_maps.extend(from.config_map_ref.as_ref().map(|r| r.name.clone()));
        secrets.extend(from.secret_ref.as_ref().map(|r| r.name.clone()));
    }
    for source in container.env.iter().flatten().filter_map(|var| var.value_from.as_ref()) {
        config_maps.extend(source.config_map_key_ref.as_ref().map(|r| r.name.clone()));
        secrets.extend(source.secret_key_ref.as_ref().map(|r| r.name.clone()));
    }
    (config_maps, secrets)
}

/// The environment in order: `envFrom`, `env` as declared, then what is left of the services'.
pub fn build(input: &EnvInput<'_>) -> Result<Vec<(String, String)>, ConfigError> {
    let mut env = Ordered::default();
    for from in input.container.env_from.iter().flatten() {
        let prefix = from.prefix.as_deref().unwrap_or_default();
        if let Some(reference) = &from.config_map_ref {
            let map = config_map(input, &reference.name, reference.optional)?;
            for (key, value) in map.iter().flat_map(|m| m.data.iter().flatten()) {
                env.set(&format!("{prefix}{key}"), value.clone());
            }
        } else if let Some(reference) = &from.secret_ref {
            let secret = secret(input, &reference.name, reference.optional)?;
            for (key, value) in secret.iter().flat_map(|s| s.data.iter().flatten()) {
                env.set(&format!("{prefix}{key}"), String::from_utf8_lossy(&value.0).into_owned());
            }
        }
    }
    for var in input.container.env.iter().flatten() {
        let literal = var.value.as_deref().filter(|v| !v.is_empty());
        let value = match (literal, &var.value_from) {
            (Some(text), _) => expansion::expand(text, |name| {
                env.get(name).or_else(|| input.services.get(name).map(String::as_str)).map(str::to_owned)
            }),
            (None, Some(source)) => match from_source(input, source)? {
                Some(value) => value,
                None => continue,
            },
            (None, None) => String::new(),
        };
        env.set(&var.name, value);
    }
    for (name, value) in input.services {
        if env.get(name).is_none() {
            env.set(name, value.clone());
        }
    }
    Ok(env.list)
}

/// Variables in the order they were first named.
#[derive(Default)]
struct Ordered {
    list: Vec<(String, String)>,
    places: BTreeMap<String, usize>,
}

impl Ordered {
    fn get(&self, name: &str) -> Option<&str> {
        self.places.get(name).map(|place| self.list[*place].1.as_str())
    }

    fn set(&mut self, name: &str, value: String) {
        match self.places.get(name) {
            Some(place) => self.list[*place].1 = value,
            None => {
                self.places.insert(name.to_owned(), self.list.len());
                self.list.push((name.to_owned(), value));
            }
        }
    }
}

/// `None`: optional and absent, so the variable is left out.
fn from_source(input: &EnvInput<'_>, source: &EnvVarSource) -> Result<Option<String>, ConfigError> {
    let namespace = input.pod.namespace();
    if let Some(field) = &source.field_ref {
        return FieldView::of(input).value(&field.field_path).map(Some);
    }
    if let Some(resource) = &source.resource_field_ref {
        return fields::resource(input.pod, input.container, resource, input.allocatable).map(Some);
    }
    if let Some(reference) = &source.config_map_key_ref {
        let Some(map) = config_map(input, &reference.name, reference.optional)? else { return Ok(None) };
        let value = map.data.as_ref().and_then(|data| data.get(&reference.key)).cloned();
        return keyed(value, reference.optional, || {
            format!("couldn't find key {} in ConfigMap {namespace}/{}", reference.key, reference.name)
        });
    }
    if let Some(reference) = &source.secret_key_ref {
        let Some(secret) = secret(input, &reference.name, reference.optional)? else { return Ok(None) };
        let value = secret.data.as_ref().and_then(|data| data.get(&reference.key));
        return keyed(value.map(|v| String::from_utf8_lossy(&v.0).into_owned()), reference.optional, || {
            format!("couldn't find key {} in Secret {namespace}/{}", reference.key, reference.name)
        });
    }
    if let Some(reference) = &source.file_key_ref {
        return file::value(input.volumes, reference);
    }
    Ok(Some(String::new()))
}

fn keyed(
    value: Option<String>,
    optional: Option<bool>,
    missing: impl FnOnce() -> String,
) -> Result<Option<String>, ConfigError> {
    match value {
        None if optional != Some(true) => Err(missing()),
        value => Ok(value),
    }
}

fn config_map(input: &EnvInput<'_>, name: &str, optional: Option<bool>) -> Result<Option<Arc<ConfigMap>>, ConfigError> {
    resolve(input.objects.config_maps.get(name), "configmap", name, optional)
}

fn secret(input: &EnvInput<'_>, name: &str, optional: Option<bool>) -> Result<Option<Arc<Secret>>, ConfigError> {
    resolve(input.objects.secrets.get(name), "secret", name, optional)
}

fn resolve<T>(
    found: Option<&Found<T>>,
    kind: &str,
    name: &str,
    optional: Option<bool>,
) -> Result<Option<Arc<T>>, ConfigError> {
    match found {
        Some(Found::Object(object)) => Ok(Some(object.clone())),
        Some(Found::Failed(why)) => Err(why.clone()),
        Some(Found::Missing) | None if optional == Some(true) => Ok(None),
        Some(Found::Missing) | None => Err(format!("{kind} \"{name}\" not found")),
    }
}

#[cfg(test)]
mod tests {
    use orlop_api::typed::Typed;
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::pod;

    fn made(container: Value) -> Result<Vec<(String, String)>, String> {
        let pod = pod(json!({"nodeName": "n1", "containers": [container]}));
        let map = ConfigMap::decode(br#"{"data": {"a": "1", "b": "2"}}"#).unwrap();
        let secret = Secret::decode(br#"{"data": {"s": "c2VjcmV0"}}"#).unwrap();
        let objects = Objects {
            config_maps: [("m".to_owned(), Found::Object(Arc::new(map))), ("gone".to_owned(), Found::Missing)].into(),
            secrets: [("s".to_owned(), Found::Object(Arc::new(secret)))].into(),
        };
        build(&EnvInput {
            pod: &pod,
            container: &pod.main_containers()[0],
            objects: &objects,
            services: &[("KUBERNETES_SERVICE_HOST".to_owned(), "10.96.0.1".to_owned())].into(),
            host_ips: &["192.168.0.1".parse().unwrap()],
            pod_ips: &["10.244.0.5".parse().unwrap()],
            allocatable: &ResourceList::new(),
            volumes: &BTreeMap::new(),
        })
    }

    fn line(env: Vec<(String, String)>) -> String {
        env.into_iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn sources_in_order() {
        let env = made(json!({
            "name": "c",
            "envFrom": [{"prefix": "P_", "configMapRef": {"name": "m"}}, {"configMapRef": {"name": "gone", "optional": true}}],
            "env": [
                {"name": "X", "value": "x-$(P_a)-$(NOPE)-$$(P_a)-$(KUBERNETES_SERVICE_HOST)"},
                {"name": "P_b", "value": "over"},
                {"name": "S", "valueFrom": {"secretKeyRef": {"name": "s", "key": "s"}}},
                {"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
                {"name": "I", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                {"name": "O", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "zz", "optional": true}}},
                {"name": "E"}],
        }));
        assert_eq!(
            line(env.unwrap()),
            "P_a=1 P_b=over X=x-1-$(NOPE)-$(P_a)-10.96.0.1 S=secret N=n1 I=10.244.0.5 E= KUBERNETES_SERVICE_HOST=10.96.0.1"
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        for (var, error) in [
            (json!({"configMapKeyRef": {"name": "gone", "key": "a"}}), "configmap \"gone\" not found"),
            (json!({"secretKeyRef": {"name": "nope", "key": "a"}}), "secret \"nope\" not found"),
            (json!({"configMapKeyRef": {"name": "m", "key": "zz"}}), "couldn't find key zz in ConfigMap default/m"),
            (json!({"secretKeyRef": {"name": "s", "key": "zz"}}), "couldn't find key zz in Secret default/s"),
        ] {
            let env = made(json!({"name": "c", "env": [{"name": "X", "valueFrom": var}]}));
            assert_eq!(env.unwrap_err(), error);
        }
    }
}
