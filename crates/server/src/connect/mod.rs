//! Ways through the server: to kubelets (exec, attach, port-forward, log), to nodes, pods and
//! services (proxy).
//!
//! The server finds the other end, speaks to it as itself, and then hands bytes on: an upgraded
//! connection is copied both ways without being looked at, whatever protocol it carries.

mod dial;
pub(crate) mod extension;
mod forward;
mod html;
mod kubelet;
mod location;
mod log;
mod proxy;
mod rewrite;
mod stream;
mod translate;
pub(crate) mod webhook;

use std::sync::Arc;

use orlop_api::Value;
use orlop_api::status::{GroupResource, StatusError};
use orlop_store::Store;

use crate::extend::Extension;
use crate::pki::{Pki, PkiError, tls};

use dial::Dialer;

/// What every connector needs.
#[derive(Clone)]
pub struct Connections {
    store: Store,
    /// To kubelets: shows our certificate, wants one of the cluster's.
    kubelet: Dialer,
    /// To kubelets whose certificate the caller does not want checked.
    unchecked_kubelet: Dialer,
    /// To pods and services: theirs are nobody's certificates, so none is checked, as upstream.
    proxy: Dialer,
}

impl Connections {
    pub fn new(store: &Store, pki: &Pki) -> Result<Self, PkiError> {
        Ok(Self {
            store: store.clone(),
            kubelet: Dialer::new(pki.kubelet_client_config()?),
            unchecked_kubelet: Dialer::new(tls::unchecked_client_config(Some(pki.kubelet_client.clone()))?),
            proxy: Dialer::new(tls::unchecked_client_config(None)?),
        })
    }

    fn get(&self, resource: &str, namespace: &str, name: &str) -> Result<Value, StatusError> {
        let snapshot = self.store.snapshot();
        let entry = snapshot.get(resource, namespace, name);
        let object = entry.and_then(|entry| serde_json::from_slice(&entry.json).ok());
        object.ok_or_else(|| StatusError::not_found(GroupResource { group: "", resource }, name))
    }
}

/// For `ServerConfig::extensions`.
pub fn extensions(connections: &Connections) -> Vec<Extension> {
    let shared = Arc::new(connections.clone());
    let stream = |kind| stream::Stream { connections: shared.clone(), kind };
    let proxy = |kind| proxy::Proxy { connections: shared.clone(), kind };
    vec![
        Extension::new("pods")
            .connect("exec", stream(stream::Kind::Exec))
            .connect("attach", stream(stream::Kind::Attach))
            .connect("portforward", stream(stream::Kind::PortForward))
            .connect("log", log::Log(shared.clone()))
            .connect("proxy", proxy(location::Kind::Pod)),
        Extension::new("nodes").connect("proxy", proxy(location::Kind::Node)),
        Extension::new("services").connect("proxy", proxy(location::Kind::Service)),
    ]
}

#[cfg(test)]
mod tests;
