//! How long a request may take (`k8s.io/apiserver/pkg/endpoints/filters/request_deadline.go`).

use std::time::Duration;

use orlop_api::status::StatusError;

use crate::request::RequestInfo;

/// What the server allows, or less where the client asks for less; 0 asks for nothing.
pub fn of(info: &RequestInfo, most: Duration) -> Result<Duration, StatusError> {
    let Some(text) = info.query("timeout").filter(|text| !text.is_empty()) else { return Ok(most) };
    let asked = orlop_base::duration::parse(text)
        .map_err(|error| StatusError::bad_request(format!("invalid timeout specified in the request URL - {error}")))?;
    Ok(match u64::try_from(asked) {
        Ok(nanos) if nanos > 0 => Duration::from_nanos(nanos).min(most),
        _ => most,
    })
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    #[test]
    fn clients_may_ask_for_less() {
        let most = Duration::from_mins(1);
        for (query, want) in [
            ("", Ok(60_000)),
            ("?timeout=", Ok(60_000)),
            ("?timeout=1.5s", Ok(1500)),
            ("?timeout=0s", Ok(60_000)),
            ("?timeout=2h", Ok(60_000)),
            ("?timeout=soon", Err("invalid timeout specified in the request URL - time: invalid duration \"soon\"")),
        ] {
            let info = RequestInfo::parse(&Method::GET, &format!("/api/v1/pods{query}"));
            let got = of(&info, most).map(|timeout| timeout.as_millis()).map_err(|error| error.message);
            assert_eq!(got, want.map_err(str::to_owned), "{query}");
        }
    }
}
