//! Calling webhooks: by URL, or through a Service (`k8s.io/apiserver/pkg/util/webhook`).

use std::time::Duration;

use bytes::Bytes;
use http::{Request, header};
use orlop_api::Value;
use orlop_client::transport::full;
use orlop_store::Store;

use super::dial::{Dialer, Target};
use crate::pki::tls;

const DEFAULT_PORT: u16 = 443;

/// Where a `WebhookClientConfig` leads.
struct Place {
    target: Target,
    /// The name its certificate must have, and the request's `Host`.
    name: String,
    path: String,
    /// How failures name it.
    url: String,
}

/// Posts a review and returns the answer; the error says why there is none, in the words of Go's client.
pub async fn call(store: &Store, config: &Value, review: &Value, timeout: Duration) -> Result<Value, String> {
    let place = find(store, config)?;
    let url = format!("{}?timeout={}s", place.url, timeout.as_secs());
    let failed = |why: String| format!("Post {url:?}: {why}");
    let exchange = exchange(&place, config, review, timeout);
    match tokio::time::timeout(timeout, exchange).await {
        Ok(result) => result.map_err(failed),
        Err(_) => Err(failed("context deadline exceeded".into())),
    }
}

async fn exchange(place: &Place, config: &Value, review: &Value, timeout: Duration) -> Result<Value, String> {
    let body = orlop_api::codec::json::encode(review);
    let request = Request::post(format!("{}?timeout={}s", place.path, timeout.as_secs()))
        .header(header::HOST, format!("{}:{}", place.name, place.target.port))
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "application/json, */*")
        .header(header::USER_AGENT, "kube-apiserver-admission")
        .header(header::CONTENT_LENGTH, body.len())
        .body(full(Bytes::from(body)))
        .map_err(|error| error.to_string())?;
    let tls = tls::bundle_client_config(config["caBundle"].as_str(), None)?;
    let response = Dialer::named(tls, &place.name)
        .telling_of_traces()
        .send(&place.target, request)
        .await
        .map_err(|error| error.to_string())?;
    let code = response.status();
    // No answer may be larger than a request.
    let body = crate::wire::body::read(response.into_body()).await.map_err(|error| error.message)?;
    if !code.is_success() {
        return Err(format!("the server answered {}: {}", code.as_u16(), String::from_utf8_lossy(&body)));
    }
    serde_json::from_slice(&body).map_err(|error| format!("couldn't get version/kind; json parse error: {error}"))
}

fn find(store: &Store, config: &Value) -> Result<Place, String> {
    match config["url"].as_str() {
        Some(url) => by_url(url),
        None => by_service(store, &config["service"]),
    }
}

fn by_url(url: &str) -> Result<Place, String> {
    let parsed: http::Uri = url.parse().map_err(|_| format!("parse {url:?}: invalid URL"))?;
    let host = parsed.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let target = Target { encrypted: true, host: host.clone(), port: parsed.port_u16().unwrap_or(DEFAULT_PORT) };
    let path = if parsed.path().is_empty() { "/" } else { parsed.path() };
    Ok(Place { target, name: host, path: path.to_owned(), url: url.to_owned() })
}

/// One of the Service's endpoints, as if through the Service's address.
fn by_service(store: &Store, service: &Value) -> Result<Place, String> {
    let text = |field: &str| service[field].as_str().unwrap_or_default();
    let (namespace, name) = (text("namespace"), text("name"));
    let port = service["port"].as_u64().and_then(|port| u16::try_from(port).ok()).unwrap_or(DEFAULT_PORT);
    let path = format!("/{}", text("path").trim_start_matches('/'));
    let host = format!("{name}.{namespace}.svc");
    let (address, endpoint_port) = super::location::endpoint_of_service(store, namespace, name, port)?;
    let target = Target { encrypted: true, host: address, port: endpoint_port };
    let url = format!("https://{host}:{port}{path}");
    Ok(Place { target, name: host, path, url })
}
