//! What a priority level's object says.

use http::HeaderValue;
use orlop_api::{Value, meta};

#[derive(Clone, Debug)]
pub struct Settings {
    pub uid: HeaderValue,
    pub exempt: bool,
    pub nominal: usize,
    /// What stays when everything lendable is lent.
    pub min: usize,
    /// What it may have with everything borrowed.
    pub max: usize,
    /// A tenth of the server's seats: what a level's use is measured by while it has none.
    pub tenth: usize,
    /// Queues, hand size and queue length; `None` refuses what finds no seat.
    pub queuing: Option<(usize, usize, usize)>,
}

impl Settings {
    /// Requests that may wait.
    pub fn room(&self) -> Option<usize> {
        self.queuing.map(|(queues, _, length)| queues * length)
    }

    /// Shares of the server's seats.
    pub fn shares(object: &Value) -> u64 {
        let spec = &object["spec"];
        let (own, default) = if spec["type"] == "Exempt" { (&spec["exempt"], 0) } else { (&spec["limited"], 30) };
        own["nominalConcurrencyShares"].as_u64().unwrap_or(default)
    }

    pub fn read(object: &Value, total: usize, all_shares: u64) -> Self {
        let spec = &object["spec"];
        let exempt = spec["type"] == "Exempt";
        let own = if exempt { &spec["exempt"] } else { &spec["limited"] };
        let nominal = (total as u64 * Self::shares(object)).div_ceil(all_shares.max(1)) as usize;
        let percent = |field: &str| own[field].as_u64().map(|percent| (nominal as u64 * percent + 50) as usize / 100);
        let queuing = &own["limitResponse"]["queuing"];
        let number = |field: &str, default: u64| queuing[field].as_u64().unwrap_or(default) as usize;
        Self {
            uid: HeaderValue::from_str(meta::uid(object)).unwrap_or_else(|_| HeaderValue::from_static("")),
            exempt,
            nominal,
            min: nominal - percent("lendablePercent").unwrap_or(0).min(nominal),
            max: nominal + percent("borrowingLimitPercent").unwrap_or(total),
            tenth: (total + 5) / 10,
            queuing: (own["limitResponse"]["type"] == "Queue")
                .then(|| (number("queues", 64), number("handSize", 8), number("queueLengthLimit", 50))),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn settings_are_read_as_upstream_reads_them() {
        let object = |spec: Value| json!({"metadata": {"name": "x", "uid": "u"}, "spec": spec});
        let limited = object(json!({"type": "Limited", "limited": {
            "nominalConcurrencyShares": 30, "lendablePercent": 33, "limitResponse": {"type": "Queue"}}}));
        let settings = Settings::read(&limited, 600, 245);
        assert_eq!((settings.nominal, settings.min, settings.max), (74, 50, 674));
        assert_eq!(settings.queuing, Some((64, 8, 50)));
        let exempt = object(json!({"type": "Exempt", "exempt": {"nominalConcurrencyShares": 0}}));
        assert!(Settings::read(&exempt, 600, 245).exempt);
    }
}
