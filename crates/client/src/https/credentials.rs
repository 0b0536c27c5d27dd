//! The headers that say who is asking.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use http::header::{HeaderName, HeaderValue};
use tokio::time::Instant;

use crate::config::{Auth, Config, ConfigError};
use crate::transport::BoxError;

/// How long a token read from a file is believed (client-go: a minute, less ten seconds).
const TOKEN_FILE_TRUST: Duration = Duration::from_secs(50);

pub(super) enum Credentials {
    Fixed(Option<HeaderValue>),
    File { path: PathBuf, last: Mutex<Option<(Instant, HeaderValue)>> },
}

impl Credentials {
    pub fn new(auth: &Auth) -> Result<Self, ConfigError> {
        Ok(match auth {
            Auth::None => Self::Fixed(None),
            Auth::Token(token) => Self::Fixed(Some(sensitive("token", &format!("Bearer {}", token.trim()))?)),
            Auth::Basic { username, password } => {
                let pair = base64::engine::general_purpose::STANDARD.encode(format!("{username}:{password}"));
                Self::Fixed(Some(sensitive("username", &format!("Basic {pair}"))?))
            }
            Auth::TokenFile(path) => Self::File { path: path.clone(), last: Mutex::new(None) },
        })
    }

    pub async fn header(&self) -> Result<Option<HeaderValue>, BoxError> {
        let (path, last) = match self {
            Self::Fixed(value) => return Ok(value.clone()),
            Self::File { path, last } => (path, last),
        };
        let known = last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((_, value)) = known.as_ref().filter(|(read, _)| read.elapsed() < TOKEN_FILE_TRUST) {
            return Ok(Some(value.clone()));
        }
        let value = match (tokio::fs::read_to_string(path).await, known) {
            (Ok(text), _) => sensitive("tokenFile", &format!("Bearer {}", text.trim()))?,
            // Between two versions of a file: the old token is the better guess.
            (Err(_), Some((_, old))) => old,
            (Err(error), None) => return Err(format!("reading the token {}: {error}", path.display()).into()),
        };
        *last.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), value.clone()));
        Ok(Some(value))
    }
}

pub(super) fn impersonation(config: &Config) -> Result<Vec<(HeaderName, HeaderValue)>, ConfigError> {
    let Some(other) = &config.impersonate else { return Ok(Vec::new()) };
    let mut headers = vec![(HeaderName::from_static("impersonate-user"), plain("as", &other.user)?)];
    if !other.uid.is_empty() {
        headers.push((HeaderName::from_static("impersonate-uid"), plain("as-uid", &other.uid)?));
    }
    for group in &other.groups {
        headers.push((HeaderName::from_static("impersonate-group"), plain("as-groups", group)?));
    }
    Ok(headers)
}

fn plain(field: &'static str, text: &str) -> Result<HeaderValue, ConfigError> {
    let invalid = |_| ConfigError::Invalid { field, problem: "holds characters that no header can".to_owned() };
    HeaderValue::from_str(text).map_err(invalid)
}

fn sensitive(field: &'static str, text: &str) -> Result<HeaderValue, ConfigError> {
    let mut value = plain(field, text)?;
    value.set_sensitive(true);
    Ok(value)
}
