//! Requests to other servers: they learn which trace they belong to, and are steps of it
//! (`go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp`, the transport).

use http::{Request, Response};
use orlop_client::transport::Body;

use super::{Place, REQUEST};
use crate::trace::{Kind, Value};
use crate::wire::held;

/// A request under way, which ends with the last byte of its answer.
pub struct Sending(Option<Place>);

impl Sending {
    /// Says in the request what it belongs to. `host` and `port` are the other server's.
    pub fn begin<B>(request: &mut Request<B>, host: &str, port: u16) -> Option<Self> {
        let begin = |observed: &std::sync::Arc<super::Observed>| {
            let onward = observed.onward.get()?;
            let place = Place::of(observed, name(request), Kind::Client, || attributes(request, host, port));
            let context = place.as_ref().map_or(onward.context, |place| Some(place.context()));
            onward.insert(context, request.headers_mut());
            place.map(|place| Self(Some(place)))
        };
        REQUEST.try_with(begin).ok().flatten()
    }

    pub fn answered(mut self, response: Response<Body>) -> Response<Body> {
        let Some(mut place) = self.0.take() else { return response };
        let status = response.status();
        place.add("http.response.status_code", Value::Number(status.as_u16().into()));
        if status.is_client_error() || status.is_server_error() {
            place.add("error.type", Value::Text(status.as_str().to_owned()));
            place.fail();
        }
        response.map(|body| held::hold(body, Self(Some(place))))
    }

    pub fn failed(mut self) {
        self.0.iter_mut().for_each(Place::fail);
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.0.take().into_iter().for_each(Place::end);
    }
}

fn name<B>(request: &Request<B>) -> String {
    format!("HTTP {}", request.method())
}

fn attributes<B>(request: &Request<B>, host: &str, port: u16) -> Vec<(&'static str, Value)> {
    let text = |text: &str| Value::Text(text.to_owned());
    vec![
        ("http.request.method", text(request.method().as_str())),
        ("url.full", Value::Text(format!("https://{host}:{port}{}", request.uri()))),
        ("server.address", text(host)),
        ("server.port", Value::Number(port.into())),
        ("network.protocol.version", text("1.1")),
    ]
}
