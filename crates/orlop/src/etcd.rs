//! The flags that keep the cluster's state in etcd: kube-apiserver's, by name and meaning.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use orlop_client::config::{Config, client_tls};
use orlop_server::encryption::Encryption;
use orlop_store::{EtcdConfig, Store};

use crate::duration::parse_duration;

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "etcd")]
pub struct EtcdArguments {
    /// Keep the cluster's state in this etcd, which other servers may share [default: in the data directory]
    #[arg(long, value_name = "URL", value_delimiter = ',')]
    pub etcd_servers: Vec<String>,
    /// In front of every key in etcd
    #[arg(long, default_value = "/registry")]
    pub etcd_prefix: String,
    /// The CA that signed etcd's serving certificates
    #[arg(long, value_name = "FILE")]
    pub etcd_cafile: Option<PathBuf>,
    /// Certificate that etcd knows us by
    #[arg(long, value_name = "FILE", requires = "etcd_keyfile")]
    pub etcd_certfile: Option<PathBuf>,
    /// Its key
    #[arg(long, value_name = "FILE", requires = "etcd_certfile")]
    pub etcd_keyfile: Option<PathBuf>,
    /// How often etcd is made to forget what is older than that; 0: never
    #[arg(long, value_name = "DURATION", default_value = "5m0s", value_parser = parse_duration)]
    pub etcd_compaction_interval: Duration,
}

impl EtcdArguments {
    /// `None`: the state is in the data directory.
    pub async fn open(&self, encryption: Option<&Arc<Encryption>>) -> Result<Option<Store>> {
        if self.etcd_servers.is_empty() {
            return Ok(None);
        }
        Ok(Some(Store::in_etcd(self.config(encryption)?).await?))
    }

    fn config(&self, encryption: Option<&Arc<Encryption>>) -> Result<EtcdConfig> {
        Ok(EtcdConfig {
            servers: self.etcd_servers.clone(),
            tls: self.tls()?,
            prefix: self.etcd_prefix.clone(),
            builtin: orlop_api::kinds::all().iter().map(|kind| kind.info().storage_key.to_string()).collect(),
            transformer: encryption.map(|encryption| encryption.clone() as _),
            compaction_interval: self.etcd_compaction_interval,
        })
    }

    fn tls(&self) -> Result<Option<rustls::ClientConfig>> {
        if !self.etcd_servers.iter().any(|url| url.starts_with("https://")) {
            return Ok(None);
        }
        ensure!(self.etcd_cafile.is_some(), "--etcd-servers names https:// but --etcd-cafile says nobody to trust");
        let read = |path: &PathBuf| read(path);
        let client_certificate = match (&self.etcd_certfile, &self.etcd_keyfile) {
            (Some(certificate), Some(key)) => Some((read(certificate)?, read(key)?)),
            _ => None,
        };
        let certificate_authority = self.etcd_cafile.as_ref().map(read).transpose()?;
        let config = Config { certificate_authority, client_certificate, ..Config::default() };
        Ok(Some(client_tls(&config).context("setting up TLS to etcd")?))
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("reading {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn kinds_have_keys_of_their_own() {
        let keys: BTreeSet<_> = orlop_api::kinds::all().iter().map(|kind| &kind.info().storage_key).collect();
        let plurals: BTreeSet<_> = keys.iter().map(|key| key.rsplit('/').next()).collect();
        assert_eq!(plurals.len(), keys.len(), "etcd's keys leave the group out");
    }
}
