//! Asking one endpoint for one thing: authorization, redirects, retries.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::{Method, Request, StatusCode, header};
use orlop_base::backoff::Backoff;

use super::auth::{self, Challenge};
use super::hosts::{Hosts, Remote};
use super::transport::{self, Answer, Broken, Http};
use crate::{Credentials, ImageError};

/// Hops followed; registries send one, to their storage.
const REDIRECTS_MAX: usize = 10;
/// Tries when the server is overloaded or the connection breaks.
const TRIES_MAX: u32 = 6;
const BACKOFF: Backoff = Backoff { initial: FIRST_WAIT, max: Duration::from_secs(10) };
/// Tests speak to servers of their own.
const FIRST_WAIT: Duration = Duration::from_millis(if cfg!(test) { 1 } else { 250 });
/// The longest `Retry-After` that is waited for; past that the kubelet's own back-off does better.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);
/// Error documents are small.
const ERROR_BYTES_MAX: usize = 64 << 10;

/// One endpoint, one repository, one set of credentials.
pub struct Session<'a> {
    pub http: &'a Http,
    pub hosts: &'a Hosts,
    pub remote: Remote,
    pub repository: String,
    pub credentials: Option<Credentials>,
    /// `Authorization` headers that worked, by host.
    authorization: Mutex<BTreeMap<String, String>>,
}

impl<'a> Session<'a> {
    pub fn new(
        http: &'a Http,
        hosts: &'a Hosts,
        remote: Remote,
        repository: &str,
        credentials: Option<Credentials>,
    ) -> Self {
        let authorization = Mutex::new(BTreeMap::new());
        Self { http, hosts, remote, repository: repository.to_owned(), credentials, authorization }
    }

    /// Gets `<repository>/<what>`; successes only.
    pub async fn get(&self, what: &str, headers: &[(header::HeaderName, String)]) -> Result<Answer, ImageError> {
        let path = format!("{}/v2/{}/{what}", self.remote.prefix, self.repository);
        let mut failures = 0;
        loop {
            let (why, wait) = match self.try_get(&path, headers).await? {
                Ok(answer) if answer.status.is_success() => return Ok(answer),
                Ok(answer) if is_passing(answer.status) => (answer.status.to_string(), retry_after(&answer)),
                Ok(answer) => return Err(self.refusal(what, answer).await),
                Err(Broken(why)) => (why, None),
            };
            failures += 1;
            if failures >= TRIES_MAX || wait.is_some_and(|wait| wait > RETRY_AFTER_MAX) {
                return Err(ImageError::Registry(format!("{}: {why}", self.url(&path))));
            }
            tokio::time::sleep(wait.unwrap_or_else(|| BACKOFF.delay(failures))).await;
        }
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", if self.remote.https { "https" } else { "http" }, self.remote.authority())
    }

    async fn try_get(
        &self,
        path: &str,
        headers: &[(header::HeaderName, String)],
    ) -> Result<Result<Answer, Broken>, ImageError> {
        let (mut remote, mut path) = (self.remote.clone(), path.to_owned());
        let mut challenged = false;
        for _ in 0..=REDIRECTS_MAX {
            let answer = match self.send(&remote, &path, headers).await? {
                Ok(answer) => answer,
                Err(broken) => return Ok(Err(broken)),
            };
            if answer.status == StatusCode::UNAUTHORIZED && !challenged {
                challenged = true;
                match self.answer_challenge(&remote, &answer).await? {
                    Ok(true) => continue,
                    Ok(false) => return Ok(Ok(answer)),
                    Err(broken) => return Ok(Err(broken)),
                }
            }
            if !is_redirect(answer.status) {
                return Ok(Ok(answer));
            }
            let location = answer.header(&header::LOCATION).unwrap_or_default();
            (remote, path) = match auth::split_url(location) {
                Some((next, _)) if remote.https && !next.https => {
                    return Err(ImageError::Registry(format!("{}: redirected to plain HTTP", self.url(&path))));
                }
                Some(next) => next,
                None if location.starts_with('/') => (remote, location.to_owned()),
                None => return Err(ImageError::Registry(format!("{}: redirected to nowhere", self.url(&path)))),
            };
        }
        Err(ImageError::Registry(format!("{}: redirected too often", self.url(&path))))
    }

    async fn send(
        &self,
        remote: &Remote,
        path: &str,
        headers: &[(header::HeaderName, String)],
    ) -> Result<Result<Answer, Broken>, ImageError> {
        let mut request = Request::builder().method(Method::GET).uri(path);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        // Only to the host that asked for it: storage behind a redirect has its own signature in the URL.
        let known = self.authorization.lock().unwrap_or_else(PoisonError::into_inner).get(&remote.authority()).cloned();
        if let Some(value) = known {
            request = request.header(header::AUTHORIZATION, value);
        }
        let request =
            request.body(transport::empty()).map_err(|e| ImageError::Registry(format!("{}: {e}", self.url(path))))?;
        self.http.send(remote, &self.hosts.tls(remote), request).await
    }

    /// True when there is something new to answer the challenge with.
    async fn answer_challenge(&self, remote: &Remote, answer: &Answer) -> Result<Result<bool, Broken>, ImageError> {
        if remote.authority() != self.remote.authority() {
            return Ok(Ok(false));
        }
        let headers = answer.headers.get_all(header::WWW_AUTHENTICATE).iter();
        let challenge = headers.filter_map(|value| value.to_str().ok()).find_map(Challenge::parse);
        let Some(challenge) = challenge else { return Ok(Ok(false)) };
        let credentials = self.credentials.as_ref();
        let value = match auth::answer(self.http, self.hosts, &challenge, credentials, &self.repository).await? {
            Ok(Some(value)) => value,
            Ok(None) => return Ok(Ok(false)),
            Err(broken) => return Ok(Err(broken)),
        };
        let mut known = self.authorization.lock().unwrap_or_else(PoisonError::into_inner);
        let old = known.insert(remote.authority(), value.clone());
        // A fresh token may differ and still be refused; the caller asks only once per request.
        Ok(Ok(old.as_ref() != Some(&value)))
    }

    /// What a refusal means.
    async fn refusal(&self, what: &str, answer: Answer) -> ImageError {
        let status = answer.status;
        let body = self.http.read(answer, ERROR_BYTES_MAX).await.unwrap_or_default();
        let text = error_text(&body);
        let url = self.url(&format!("{}/v2/{}/{what}", self.remote.prefix, self.repository));
        match status {
            StatusCode::NOT_FOUND => ImageError::NotFound(url),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                ImageError::Unauthorized(format!("{url}: {status}{text}"))
            }
            _ => ImageError::Registry(format!("{url}: {status}{text}")),
        }
    }
}

/// `: code: message` of a registry's error document.
fn error_text(body: &[u8]) -> String {
    let document: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let field = |name: &str| document["errors"][0][name].as_str().unwrap_or_default();
    match (field("code"), field("message")) {
        ("", "") => String::new(),
        (code, "") => format!(": {code}"),
        (code, message) => format!(": {code}: {message}"),
    }
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Worth another try soon.
fn is_passing(status: StatusCode) -> bool {
    status == StatusCode::TOO_MANY_REQUESTS
        || status == StatusCode::REQUEST_TIMEOUT
        || (status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED)
}

fn retry_after(answer: &Answer) -> Option<Duration> {
    answer.header(&header::RETRY_AFTER)?.trim().parse().ok().map(Duration::from_secs)
}
