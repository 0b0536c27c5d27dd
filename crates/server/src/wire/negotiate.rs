//! Which media type goes in and out (`k8s.io/apiserver/pkg/endpoints/handlers/negotiation`).

use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE, USER_AGENT};
use orlop_api::status::StatusError;

use crate::request::RequestInfo;

/// A media type the server reads and writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Media {
    Json,
    Yaml,
    Protobuf,
    Cbor,
}

/// Watches in CBOR: one item after another (RFC 8742).
pub const CBOR_SEQUENCE: &str = "application/cbor-seq";

impl Media {
    /// In the order in which a wildcard picks.
    const ALL: [Self; 4] = [Self::Json, Self::Yaml, Self::Protobuf, Self::Cbor];

    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Yaml => "application/yaml",
            Self::Protobuf => "application/vnd.kubernetes.protobuf",
            Self::Cbor => "application/cbor",
        }
    }

    /// What a watch in it is called; there is no YAML stream.
    pub fn stream_name(self) -> &'static str {
        match self {
            Self::Json | Self::Yaml => "application/json;stream=watch",
            Self::Protobuf => "application/vnd.kubernetes.protobuf;stream=watch",
            Self::Cbor => CBOR_SEQUENCE,
        }
    }
}

/// A group-version of `meta.k8s.io` that clients still ask transformations in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetaVersion {
    V1,
    V1Beta1,
}

impl MetaVersion {
    pub fn api_version(self) -> &'static str {
        match self {
            Self::V1 => "meta.k8s.io/v1",
            Self::V1Beta1 => "meta.k8s.io/v1beta1",
        }
    }
}

/// Another shape for the same objects (`as=`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Table(MetaVersion),
    Partial(MetaVersion),
    PartialList(MetaVersion),
}

/// How to write the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Output {
    pub media: Media,
    pub shape: Option<Shape>,
    pub pretty: bool,
}

impl Output {
    pub const JSON: Self = Self { media: Media::Json, shape: None, pretty: false };

    /// Stored bytes can go out as they are.
    pub fn is_plain_json(&self) -> bool {
        *self == Self::JSON
    }
}

/// What an endpoint can write.
#[derive(Clone, Copy, Debug)]
pub struct Offer {
    pub protobuf: bool,
    pub cbor: bool,
    /// Table and partial metadata.
    pub shapes: bool,
    /// A stream of events: there is no YAML stream.
    pub watch: bool,
}

impl Offer {
    fn medias(self) -> impl Iterator<Item = Media> {
        Media::ALL.into_iter().filter(move |media| match media {
            Media::Json => true,
            Media::Yaml => true,
            Media::Protobuf => self.protobuf,
            Media::Cbor => self.cbor,
        })
    }

    fn names(self) -> String {
        let names = self.medias().filter(|m| !(self.watch && *m == Media::Yaml));
        names.map(|m| if self.watch { m.stream_name() } else { m.name() }).collect::<Vec<_>>().join(", ")
    }
}

/// Picks the output for `Accept`, 406 when nothing fits.
pub fn output(headers: &HeaderMap, info: &RequestInfo, offer: Offer) -> Result<Output, StatusError> {
    let accept = headers.get(ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let mut output = choose(accept, offer).ok_or_else(|| refuse(accept, info, offer))?;
    if offer.watch && output.media == Media::Yaml {
        return Err(StatusError::not_acceptable(&offer.names()));
    }
    output.pretty = output.media == Media::Json && (output.pretty || wants_pretty(headers, info));
    Ok(output)
}

/// Where no media type fits at all, upstream's router refuses, in words of its own; custom resources are none of its
/// business.
fn refuse(accept: &str, info: &RequestInfo, offer: Offer) -> StatusError {
    let streams = offer.cbor && matches!(&*info.verb, "list" | "watch");
    let known = || offer.medias().map(Media::name).chain(streams.then_some(CBOR_SEQUENCE));
    let fits = |clause: Clause<'_>| known().any(|name| clause.covers(name));
    if !offer.protobuf || accept.split(',').filter_map(Clause::parse).any(fits) {
        return StatusError::not_acceptable(&offer.names());
    }
    let plain = Offer { watch: false, ..offer };
    let names = match &*info.verb {
        "list" | "watch" => format!("{}, {}", plain.names(), Offer { watch: true, ..offer }.names()),
        _ => plain.names(),
    };
    let text = format!("406: Not Acceptable\n\nAvailable representations: {names}");
    StatusError::new(406, "NotAcceptable", text).with_details(serde_json::json!({}))
}

fn choose(accept: &str, offer: Offer) -> Option<Output> {
    if accept.is_empty() {
        return Some(Output::JSON);
    }
    let apply =
        |clause: &Clause| offer.medias().filter(|m| clause.covers(m.name())).find_map(|m| clause.apply(m, offer));
    clauses(accept).iter().find_map(apply)
}

/// The alternatives of an Accept header, the most wanted first.
pub fn clauses(accept: &str) -> Vec<Clause<'_>> {
    let mut clauses: Vec<Clause> = accept.split(',').filter_map(Clause::parse).collect();
    clauses.sort_by(|a, b| b.rank().total_cmp(&a.rank()));
    clauses
}

pub struct Clause<'a> {
    kind: &'a str,
    subkind: &'a str,
    quality: f32,
    params: Vec<(&'a str, &'a str)>,
}

impl<'a> Clause<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let (kind, subkind) = parts.next()?.split_once('/')?;
        let mut clause = Self { kind: kind.trim(), subkind: subkind.trim(), quality: 1.0, params: Vec::new() };
        for (key, value) in parts.filter_map(|p| p.split_once('=')) {
            match key.trim() {
                "q" => clause.quality = value.trim().parse().unwrap_or(1.0),
                key => clause.params.push((key, value.trim().trim_matches('"'))),
            }
        }
        Some(clause)
    }

    /// Quality first, then a named type before a wildcard.
    fn rank(&self) -> f32 {
        let wild = if self.kind == "*" { 2.0 } else { f32::from(u8::from(self.subkind == "*")) };
        self.quality * 10.0 - wild
    }

    pub fn covers(&self, media: &str) -> bool {
        let Some((kind, subkind)) = media.split_once('/') else { return false };
        (self.kind == kind && (self.subkind == subkind || self.subkind == "*"))
            || (self.kind == "*" && self.subkind == "*")
    }

    /// Empty when it is not said.
    pub fn param(&self, name: &str) -> &'a str {
        self.params.iter().find(|(key, _)| *key == name).map_or("", |(_, value)| value)
    }

    fn apply(&self, media: Media, offer: Offer) -> Option<Output> {
        let mut output = Output { media, shape: None, pretty: false };
        let (mut kind, mut group, mut version) = ("", "", "");
        for (key, value) in &self.params {
            match *key {
                "as" => kind = value,
                "g" => group = value,
                "v" => version = value,
                "stream" if !value.is_empty() && (*value != "watch" || media == Media::Yaml) => return None,
                "sv" if !value.is_empty() && *value != "v1" => return None,
                "pretty" => output.pretty = *value == "1",
                _ => {}
            }
        }
        if kind.is_empty() && group.is_empty() && version.is_empty() {
            return Some(output);
        }
        let version = match (group, version) {
            ("meta.k8s.io", "v1") => MetaVersion::V1,
            ("meta.k8s.io", "v1beta1") => MetaVersion::V1Beta1,
            _ => return None,
        };
        output.shape = Some(match kind {
            "Table" if matches!(media, Media::Json | Media::Yaml) => Shape::Table(version),
            "PartialObjectMetadata" => Shape::Partial(version),
            "PartialObjectMetadataList" => Shape::PartialList(version),
            _ => return None,
        });
        offer.shapes.then_some(output)
    }
}

/// `?pretty=`, else a person at a terminal or a browser.
fn wants_pretty(headers: &HeaderMap, info: &RequestInfo) -> bool {
    if let Some(pretty) = info.query("pretty").filter(|p| !p.is_empty()) {
        return matches!(pretty, "1" | "t" | "T" | "true" | "TRUE" | "True");
    }
    let agent = headers.get(USER_AGENT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    ["curl", "Wget", "Mozilla/5.0"].iter().any(|human| agent.starts_with(human))
}

/// The media type of the request's body, 415 when it is not one of ours.
pub fn input(headers: &HeaderMap, protobuf: bool, cbor: bool) -> Result<Media, StatusError> {
    let offer = Offer { protobuf, cbor, shapes: false, watch: false };
    match content_type(headers) {
        "" => Ok(Media::Json),
        name => offer
            .medias()
            .find(|m| m.name().eq_ignore_ascii_case(name))
            .ok_or_else(|| StatusError::unsupported_media_type(&offer.names())),
    }
}

/// Content-Type without parameters.
pub fn content_type(headers: &HeaderMap) -> &str {
    let full = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    full.split(';').next().unwrap_or_default().trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: Offer = Offer { protobuf: true, cbor: false, shapes: true, watch: false };
    const CBOR: Offer = Offer { cbor: true, ..FULL };

    fn out(media: Media, shape: Option<Shape>) -> Option<Output> {
        Some(Output { media, shape, pretty: false })
    }

    #[test]
    fn accept_headers_of_real_clients() {
        use Media::{Cbor, Json, Protobuf, Yaml};
        let table = Some(Shape::Table(MetaVersion::V1));
        let cases = [
            ("", FULL, out(Json, None)),
            ("*/*", FULL, out(Json, None)),
            ("application/json, */*", FULL, out(Json, None)),
            ("application/vnd.kubernetes.protobuf,application/json", FULL, out(Protobuf, None)),
            ("application/vnd.kubernetes.protobuf, */*", FULL, out(Protobuf, None)),
            ("application/vnd.kubernetes.protobuf, */*", Offer { protobuf: false, ..FULL }, out(Json, None)),
            ("application/yaml", FULL, out(Yaml, None)),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8", FULL, out(Json, None)),
            ("application/json;as=Table;v=v1;g=meta.k8s.io,application/json", FULL, out(Json, table)),
            (
                "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
                Offer { shapes: false, ..FULL },
                out(Json, None),
            ),
            ("application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io", FULL, None),
            (
                "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
                FULL,
                out(Protobuf, Some(Shape::PartialList(MetaVersion::V1))),
            ),
            ("application/json;stream=watch", Offer { watch: true, ..FULL }, out(Json, None)),
            ("application/json;q=0.5,application/yaml", FULL, out(Yaml, None)),
            ("text/plain", FULL, None),
            ("application/cbor", FULL, None),
            ("application/cbor", CBOR, out(Cbor, None)),
            ("application/json, application/cbor", CBOR, out(Json, None)),
            ("application/cbor,application/json;q=0.9", CBOR, out(Cbor, None)),
            ("*/*", CBOR, out(Json, None)),
            ("application/cbor;as=Table;v=v1;g=meta.k8s.io", CBOR, None),
            ("application/cbor-seq", CBOR, None),
        ];
        for (accept, offer, want) in cases {
            assert_eq!(choose(accept, offer), want, "{accept}");
        }
    }

    #[test]
    fn errors_list_what_is_offered() {
        let info = RequestInfo::default();
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, "application/yaml".parse().unwrap());
        let error = output(&headers, &info, Offer { watch: true, ..FULL }).unwrap_err();
        assert_eq!(
            error.message,
            "only the following media types are accepted: application/json;stream=watch, \
             application/vnd.kubernetes.protobuf;stream=watch"
        );
        let error = output(&headers, &info, Offer { watch: true, ..CBOR }).unwrap_err();
        assert!(error.message.ends_with(";stream=watch, application/cbor-seq"), "{}", error.message);
        headers.insert(CONTENT_TYPE, "application/cbor".parse().unwrap());
        assert_eq!(
            input(&headers, false, false).unwrap_err().message,
            "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml"
        );
        assert_eq!(input(&headers, false, true), Ok(Media::Cbor));
        headers.insert(CONTENT_TYPE, "application/json; charset=utf-8".parse().unwrap());
        assert_eq!(input(&headers, false, false), Ok(Media::Json));
    }
}
