//! What has to be there before anything is measured, where no controller makes it.

use anyhow::Result;
use serde_json::json;

use crate::bench::connection::{Call, Connection};

/// With the service account that pods need.
pub async fn make_namespace(client: &mut Connection, name: &str) -> Result<()> {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    client.fetch(Call::post("/api/v1/namespaces", namespace.to_string().into())).await?;
    make_service_account(client, name).await
}

pub async fn make_service_account(client: &mut Connection, namespace: &str) -> Result<()> {
    let account = json!({
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"},
        "automountServiceAccountToken": false,
    });
    let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts");
    client.fetch(Call::post(path, account.to_string().into())).await?;
    Ok(())
}
