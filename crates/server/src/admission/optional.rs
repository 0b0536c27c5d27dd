//! Which plugins run: those that are on by default, without those turned off, with those turned on
//! (`--enable-admission-plugins`, `--disable-admission-plugins`, `--admission-control-config-file`).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use orlop_api::Value;
use orlop_api::codec::yaml::from_yaml;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::namespace_auto_provision::Provisioner;
use super::{
    ORDER, Plugin, always, always_pull_images, deny_service_external_ips, event_rate_limit,
    extended_resource_toleration, image_policy_webhook, limit_pod_hard_anti_affinity_topology,
    namespace_auto_provision, namespace_exists, owner_references_permission_enforcement, pod_node_selector,
    pod_toleration_restriction,
};

/// `apiserver.config.k8s.io AdmissionConfiguration`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Configuration {
    plugins: Vec<Entry>,
    /// Where relative paths start.
    #[serde(skip)]
    dir: PathBuf,
}

/// A plugin's configuration, here or in a file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Entry {
    name: String,
    path: PathBuf,
    configuration: Value,
}

/// What an operator chose.
#[derive(Default)]
pub struct Choice {
    pub disabled: BTreeSet<String>,
    /// The optional ones that run.
    pub plugins: Vec<Arc<dyn Plugin>>,
    /// How namespaces are made on the way.
    pub provisioner: Provisioner,
}

impl Choice {
    pub fn new(enabled: &[String], disabled: &[String], config: &Configuration) -> Result<Self, String> {
        for (flag, names) in [("enable-admission-plugins", enabled), ("disable-admission-plugins", disabled)] {
            if let Some(unknown) = names.iter().find(|name| !ORDER.contains(&name.as_str())) {
                return Err(format!("{flag} plugin {unknown:?} is unknown"));
            }
        }
        if let Some(both) = enabled.iter().find(|name| disabled.contains(name)) {
            return Err(format!("[{both}] in enable-admission-plugins and disable-admission-plugins overlapped"));
        }
        let provisioner = Provisioner::default();
        let mut plugins = Vec::new();
        for name in enabled {
            plugins.extend(config.open(name, &provisioner)?);
        }
        Ok(Self { disabled: disabled.iter().cloned().collect(), plugins, provisioner })
    }
}

impl Configuration {
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read(path);
        let text = text.map_err(|error| {
            format!("unable to read admission control configuration from {:?} [{error}]", path.display().to_string())
        })?;
        let value = from_yaml(&text).map_err(|error| error.to_string())?;
        let known = value["apiVersion"].as_str().is_some_and(|version| version.starts_with("apiserver.config.k8s.io/"));
        if !known || value["kind"] != "AdmissionConfiguration" {
            return Err(format!("no kind {} is registered for version {}", value["kind"], value["apiVersion"]));
        }
        let mut config: Self = serde_json::from_value(value).map_err(|error| error.to_string())?;
        path.parent().unwrap_or(Path::new("")).clone_into(&mut config.dir);
        Ok(config)
    }

    /// The configuration of a plugin; null without one.
    fn of(&self, name: &str) -> Result<Value, String> {
        let Some(entry) = self.plugins.iter().find(|entry| entry.name == name) else { return Ok(Value::Null) };
        if entry.path.as_os_str().is_empty() {
            return Ok(entry.configuration.clone());
        }
        let path = self.dir.join(&entry.path);
        let text = std::fs::read(&path).map_err(|error| format!("open {}: {error}", path.display()))?;
        from_yaml(&text).map_err(|error| format!("{}: {error}", path.display()))
    }

    fn parse<T: DeserializeOwned>(&self, name: &str) -> Result<T, String> {
        let failed = |why: String| format!("couldn't init admission plugin {name:?}: {why}");
        let value = self.of(name).map_err(failed)?;
        let value = if value.is_null() { Value::Object(orlop_api::Map::new()) } else { value };
        serde_json::from_value(value).map_err(|error| failed(error.to_string()))
    }

    /// An optional plugin; `None` for those that run anyway.
    fn open(&self, name: &str, provisioner: &Provisioner) -> Result<Option<Arc<dyn Plugin>>, String> {
        Ok(Some(match name {
            "AlwaysAdmit" => Arc::new(always::AlwaysAdmit),
            "AlwaysDeny" => Arc::new(always::AlwaysDeny),
            "AlwaysPullImages" => Arc::new(always_pull_images::AlwaysPullImages),
            "DenyServiceExternalIPs" => Arc::new(deny_service_external_ips::DenyServiceExternalIPs),
            "EventRateLimit" => Arc::new(event_rate_limit::EventRateLimit::new(self.parse(name)?)?),
            "ExtendedResourceToleration" => Arc::new(extended_resource_toleration::ExtendedResourceToleration),
            "ImagePolicyWebhook" => Arc::new(image_policy_webhook::ImagePolicyWebhook::new(self.parse(name)?)?),
            "LimitPodHardAntiAffinityTopology" => {
                Arc::new(limit_pod_hard_anti_affinity_topology::LimitPodHardAntiAffinityTopology)
            }
            "NamespaceAutoProvision" => Arc::new(namespace_auto_provision::NamespaceAutoProvision(provisioner.clone())),
            "NamespaceExists" => Arc::new(namespace_exists::NamespaceExists),
            "OwnerReferencesPermissionEnforcement" => {
                Arc::new(owner_references_permission_enforcement::OwnerReferencesPermissionEnforcement)
            }
            "PodNodeSelector" => Arc::new(self.parse::<pod_node_selector::PodNodeSelector>(name)?),
            "PodTolerationRestriction" => {
                Arc::new(self.parse::<pod_toleration_restriction::PodTolerationRestriction>(name)?)
            }
            _ => return Ok(None),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::builtin;

    fn chosen(enabled: &[&str], disabled: &[&str]) -> Result<Vec<&'static str>, String> {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let choice = Choice::new(&names(enabled), &names(disabled), &Configuration::default())?;
        Ok(choice.plugins.iter().map(|plugin| plugin.name()).collect())
    }

    #[test]
    fn plugins_are_chosen_by_upstreams_names() {
        let all = chosen(&["AlwaysDeny", "PodNodeSelector", "LimitRanger"], &["Priority"]);
        assert_eq!(all, Ok(vec!["AlwaysDeny", "PodNodeSelector"]));
        assert_eq!(chosen(&["Magic"], &[]), Err(r#"enable-admission-plugins plugin "Magic" is unknown"#.to_owned()));
        let both = "[Priority] in enable-admission-plugins and disable-admission-plugins overlapped";
        assert_eq!(chosen(&["Priority"], &["Priority"]), Err(both.to_owned()));
    }

    #[test]
    fn every_optional_plugin_can_be_opened() {
        let running: Vec<&str> = builtin().iter().map(|plugin| plugin.name()).collect();
        let elsewhere = ["NodeRestriction", "PodGroupProtection", "NodeDeclaredFeatureValidator", "PodResizeValidator"];
        for name in ORDER.iter().filter(|name| !running.contains(name) && !elsewhere.contains(name)) {
            match Configuration::default().open(name, &Provisioner::default()) {
                Ok(Some(plugin)) => assert_eq!(plugin.name(), *name),
                Ok(None) => panic!("{name} is nowhere"),
                Err(why) => assert!(["EventRateLimit", "ImagePolicyWebhook"].contains(name), "{name}: {why}"),
            }
        }
    }

    #[test]
    fn configurations_stand_in_the_file_or_beside_it() {
        let dir = tempfile::tempdir().expect("tempdir");
        let path = dir.path().join("admission.yaml");
        let text = "apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\nplugins:\n\
            - {name: PodNodeSelector, path: selectors.yaml}\n\
            - name: EventRateLimit\n  configuration: {limits: [{type: Server, qps: 1, burst: 1}]}\n";
        std::fs::write(&path, text).expect("written");
        std::fs::write(dir.path().join("selectors.yaml"), "podNodeSelectorPluginConfig: {a: b=c}").expect("written");
        let config = Configuration::read(&path).expect("read");
        assert_eq!(config.of("PodNodeSelector").expect("read")["podNodeSelectorPluginConfig"]["a"], "b=c");
        let enabled = ["EventRateLimit".to_owned(), "PodNodeSelector".to_owned()];
        assert_eq!(Choice::new(&enabled, &[], &config).expect("opened").plugins.len(), 2);
        std::fs::write(&path, "kind: Other").expect("written");
        assert!(Configuration::read(&path).is_err());
    }
}
