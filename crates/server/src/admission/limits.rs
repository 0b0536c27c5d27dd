//! One item of a LimitRange against what somebody asks for, in upstream's words.

use orlop_api::Value;
use orlop_api::quantity::Quantity;
use orlop_api::resource_list::ResourceList;

/// What a container, a pod or a claim asks for; claims have no limits.
pub struct Kept<'a> {
    pub requests: &'a ResourceList,
    pub limits: Option<&'a ResourceList>,
}

/// Everything the item forbids.
pub fn check(limit: &Value, kept: &Kept<'_>) -> Vec<String> {
    let kind = limit["type"].as_str().unwrap_or_default();
    let list = |field: &str| ResourceList::read(&limit[field]);
    let mut broken: Vec<String> =
        list("min").iter().filter_map(|(name, least)| minimum(kind, name, least, kept)).collect();
    broken.extend(list("max").iter().filter_map(|(name, most)| maximum(kind, name, most, kept)));
    if kept.limits.is_some() {
        broken.extend(list("maxLimitRequestRatio").iter().filter_map(|(name, most)| ratio(kind, name, most, kept)));
    }
    broken
}

fn minimum(kind: &str, name: &str, least: &Quantity, kept: &Kept<'_>) -> Option<String> {
    let text = format!("minimum {name} usage per {kind} is {least}");
    let limit = kept.limits.and_then(|limits| limits.get(name));
    match kept.requests.get(name) {
        None => Some(format!("{text}.  No request is specified")),
        Some(request) if request < least => Some(format!("{text}, but request is {request}")),
        Some(_) => limit.filter(|limit| *limit < least).map(|limit| format!("{text}, but limit is {limit}")),
    }
}

fn maximum(kind: &str, name: &str, most: &Quantity, kept: &Kept<'_>) -> Option<String> {
    let text = format!("maximum {name} usage per {kind} is {most}");
    let request = kept.requests.get(name);
    let over = |request: &&Quantity| *request > most;
    let Some(limits) = kept.limits else {
        return match request {
            None => Some(format!("{text}.  No request is specified")),
            Some(_) => request.filter(over).map(|request| format!("{text}, but request is {request}")),
        };
    };
    match limits.get(name) {
        None => Some(format!("{text}.  No limit is specified")),
        Some(limit) if limit > most => Some(format!("{text}, but limit is {limit}")),
        Some(_) => request.filter(over).map(|request| format!("{text}, but request is {request}")),
    }
}

fn ratio(kind: &str, name: &str, most: &Quantity, kept: &Kept<'_>) -> Option<String> {
    let text = format!("{name} max limit to request ratio per {kind} is {most}");
    let some = |amount: Option<&Quantity>| amount.filter(|amount| !amount.is_zero()).map(Quantity::as_f64);
    let Some(request) = some(kept.requests.get(name)) else {
        return Some(format!("{text}, but no request is specified or request is 0"));
    };
    let Some(limit) = some(kept.limits.and_then(|limits| limits.get(name))) else {
        return Some(format!("{text}, but no limit is specified or limit is 0"));
    };
    let ratio = limit / request;
    (ratio > most.as_f64()).then(|| format!("{text}, but provided ratio is {ratio:.6}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn in_upstreams_words() {
        let limit = json!({"type": "Container", "min": {"cpu": "50m"}, "max": {"memory": "1Gi"},
                           "maxLimitRequestRatio": {"cpu": "2"}});
        let cases = [
            (json!({"cpu": "100m", "memory": "1Gi"}), json!({"cpu": "200m", "memory": "1Gi"}), vec![]),
            (
                json!({"cpu": "10m"}),
                json!({}),
                vec![
                    "minimum cpu usage per Container is 50m, but request is 10m",
                    "maximum memory usage per Container is 1Gi.  No limit is specified",
                    "cpu max limit to request ratio per Container is 2, but no limit is specified or limit is 0",
                ],
            ),
            (
                json!({"cpu": "100m"}),
                json!({"cpu": "250m", "memory": "2Gi"}),
                vec![
                    "maximum memory usage per Container is 1Gi, but limit is 2Gi",
                    "cpu max limit to request ratio per Container is 2, but provided ratio is 2.500000",
                ],
            ),
        ];
        for (requests, limits, want) in cases {
            let (requests, limits) = (ResourceList::read(&requests), ResourceList::read(&limits));
            assert_eq!(check(&limit, &Kept { requests: &requests, limits: Some(&limits) }), want);
        }
    }
}
