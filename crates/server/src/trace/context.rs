//! What a request says of the trace it belongs to (W3C Trace Context).

use std::fmt;

use http::{HeaderMap, HeaderValue};

/// A place in a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanContext {
    pub trace: [u8; 16],
    pub span: [u8; 8],
    pub sampled: bool,
}

impl SpanContext {
    /// `traceparent: 00-<trace>-<span>-<flags>`; later versions may say more.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let text = headers.get("traceparent")?.to_str().ok()?;
        let mut parts = text.split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let [version] = hex(version)?;
        let [flags] = hex(flags)?;
        if version == 0xff || (version == 0 && parts.next().is_some()) {
            return None;
        }
        let (trace, span) = (hex(trace)?, hex(span)?);
        (trace != [0; 16] && span != [0; 8]).then_some(Self { trace, span, sampled: flags & 1 == 1 })
    }
}

impl fmt::Display for SpanContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (trace, span) = (u128::from_be_bytes(self.trace), u64::from_be_bytes(self.span));
        write!(f, "00-{trace:032x}-{span:016x}-{:02x}", u8::from(self.sampled))
    }
}

/// What is passed on to other servers.
#[derive(Clone, Debug, Default)]
pub struct Onward {
    pub context: Option<SpanContext>,
    /// What other tracers had to say, and what the sender wants known all along the way.
    pub state: Option<HeaderValue>,
    pub baggage: Option<HeaderValue>,
}

impl Onward {
    /// Whose headers these are belongs to the trace, at this place in it.
    pub fn insert(&self, context: Option<SpanContext>, headers: &mut HeaderMap) {
        let context = context.and_then(|context| HeaderValue::try_from(context.to_string()).ok());
        let state = self.state.clone().filter(|_| context.is_some());
        for (name, value) in [("traceparent", context), ("tracestate", state), ("baggage", self.baggage.clone())] {
            if let Some(value) = value {
                headers.insert(name, value);
            }
        }
    }
}

/// Lower case, as the standard wants it.
fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let lower = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if text.len() != 2 * N || !text.as_bytes().iter().all(lower) {
        return None;
    }
    let mut bytes = [0; N];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_as_the_standard_says() {
        let read = |text: &'static str| {
            SpanContext::of(&HeaderMap::from_iter([(
                "traceparent".parse().expect("a name"),
                text.parse().expect("a value"),
            )]))
        };
        let context = read("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").expect("read");
        assert_eq!((context.trace[0], context.span[7], context.sampled), (0x0a, 0x31, true));
        assert_eq!(context.to_string(), "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
        assert!(!read("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00").expect("read").sampled);
        assert!(read("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more").is_some());
        for bad in [
            "",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
