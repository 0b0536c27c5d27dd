//! ServiceAccount tokens: for pods on the node, for audiences those pods ask for.

use orlop_api::{Value, meta};

use super::{Check, NodeRestriction, items, text};
use crate::admission::Attributes;

impl NodeRestriction {
    pub(super) async fn token(&self, node: &str, a: &Attributes) -> Check {
        let bound = &a.object["spec"]["boundObjectRef"];
        if bound["apiVersion"] != "v1" || bound["kind"] != "Pod" || text(&bound["name"]).is_empty() {
            return Err("node requested token not bound to a pod".into());
        }
        let uid = text(&bound["uid"]);
        if uid.is_empty() {
            return Err("node requested token with a pod binding without a uid".into());
        }
        let pod = self.get("pods", &a.namespace, text(&bound["name"]))?;
        if meta::uid(&pod) != uid {
            return Err(format!(
                "the UID in the bound object reference ({uid}) does not match the UID in record. \
                 The object might have been deleted and then recreated"
            )
            .into());
        }
        if pod["spec"]["nodeName"] != node {
            return Err("node requested token bound to a pod scheduled on a different node".into());
        }
        self.audience(a, &pod).await
    }

    /// A node may only ask for audiences its pods ask for
    /// (`ServiceAccountNodeAudienceRestriction`).
    pub(super) async fn audience(&self, a: &Attributes, pod: &Value) -> Check {
        let audience = match a.object["spec"]["audiences"].as_array().map(Vec::as_slice).unwrap_or_default() {
            [] => "",
            [one] => text(one),
            _ => return Err("node may only request 0 or 1 audiences".into()),
        };
        if self.pod_asks_for(pod, audience)
            || self.allows(a, "request-serviceaccounts-token-audience", audience, &a.name).await
        {
            return Ok(());
        }
        Err(format!("{} is not authorized to request tokens for audience {audience:?}", a.user.name).into())
    }

    pub(super) fn pod_asks_for(&self, pod: &Value, audience: &str) -> bool {
        items(&pod["spec"]["volumes"]).any(|volume| {
            let mut sources = items(&volume["projected"]["sources"]);
            let projected = sources.any(|source| {
                let token = &source["serviceAccountToken"];
                token.is_object() && text(&token["audience"]) == audience
            });
            projected || self.driver_of(pod, volume).is_some_and(|driver| self.driver_asks_for(&driver, audience))
        })
    }

    pub(super) fn driver_of(&self, pod: &Value, volume: &Value) -> Option<String> {
        let claim = if volume["ephemeral"].is_object() {
            format!("{}-{}", meta::name(pod), text(&volume["name"]))
        } else if volume["persistentVolumeClaim"].is_object() {
            text(&volume["persistentVolumeClaim"]["claimName"]).to_owned()
        } else {
            return volume["csi"]["driver"].as_str().map(str::to_owned);
        };
        let claim = self.find("persistentvolumeclaims", meta::namespace(pod), &claim)?;
        let volume = self.find("persistentvolumes", "", text(&claim["spec"]["volumeName"]))?;
        volume["spec"]["csi"]["driver"].as_str().map(str::to_owned)
    }

    pub(super) fn driver_asks_for(&self, driver: &str, audience: &str) -> bool {
        let driver = self.find("storage.k8s.io/csidrivers", "", driver).unwrap_or_default();
        items(&driver["spec"]["tokenRequests"]).any(|request| text(&request["audience"]) == audience)
    }
}
