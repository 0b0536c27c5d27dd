//! Requests, limits and claims of containers and pods.

use serde_json::{Map, Value};

use super::options::Options;
use super::prelude::*;
use crate::names;
use crate::quantity::Quantity;

/// What a resource requirement is for: decides which names it may use.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holder {
    Container,
    Pod,
}

/// A quantity as it stands in an object; zero when it is none.
pub(crate) fn quantity(value: &Value) -> Quantity {
    match value {
        Value::String(text) => Quantity::parse(text),
        Value::Number(number) => Quantity::parse(&number.to_string()),
        _ => return Quantity::ZERO,
    }
    .unwrap_or(Quantity::ZERO)
}

/// `core.ResourceRequirements`.
pub(crate) fn requirements(
    value: &Value,
    holder: Holder,
    claim_names: &[&str],
    path: &Path<'_>,
    options: &Options,
    errors: &mut ErrorList,
) {
    if value.is_null() {
        return;
    }
    let (limits, requests) = (value.map("limits"), value.map("requests"));
    let limits_path = path.child("limits");
    each_amount(limits, holder, &limits_path, options, errors, |_, _, _| {});
    let requests_path = path.child("requests");
    each_amount(requests, holder, &requests_path, options, errors, |name, amount, errors| {
        against_limit(name, amount, limits.get(name), &limits_path, &requests_path, errors);
    });
    let any = |test: fn(&str) -> bool| limits.keys().chain(requests.keys()).any(|name| test(name));
    if any(is_huge_pages) && !any(|name| matches!(name, "cpu" | "memory")) {
        errors.forbidden(path, "HugePages require cpu or memory");
    }
    claims(value, claim_names, &path.child("claims"), errors);
}

fn each_amount(
    amounts: &Map<String, Value>,
    holder: Holder,
    path: &Path<'_>,
    options: &Options,
    errors: &mut ErrorList,
    also: impl Fn(&str, &Quantity, &mut ErrorList),
) {
    for (name, value) in amounts {
        let (path, amount) = (path.key(name), quantity(value));
        match holder {
            Holder::Container => container_resource_name(name, &path, errors),
            Holder::Pod => pod_resource_name(name, &path, errors),
        }
        resource_amount(name, &amount, &path, errors);
        also(name, &amount, errors);
        if is_huge_pages(name) && !options.allow_indivisible_huge_pages && !is_divisible(name, &amount) {
            let detail = format!("{amount} is not positive integer multiple of {name}");
            errors.invalid(&path, amount.to_string(), detail);
        }
    }
}

fn against_limit(
    name: &str,
    amount: &Quantity,
    limit: Option<&Value>,
    limits_path: &Path<'_>,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let overcommits = is_native(name) && !is_huge_pages(name);
    let Some(limit) = limit.map(quantity) else {
        if !overcommits {
            errors.required(limits_path, "Limit must be set for non overcommitable resources");
        }
        return;
    };
    if !overcommits && *amount != limit {
        errors.invalid(path, amount.to_string(), format!("must be equal to {name} limit of {limit}"));
    } else if *amount > limit {
        errors.invalid(path, amount.to_string(), format!("must be less than or equal to {name} limit of {limit}"));
    }
}

/// Not negative, and whole where halves make no sense.
pub(crate) fn resource_amount(name: &str, amount: &Quantity, path: &Path<'_>, errors: &mut ErrorList) {
    if amount.sign() < 0 {
        errors.invalid(path, amount.to_string(), NOT_NEGATIVE);
    }
    if is_integer(name) && !is_whole(amount) {
        errors.invalid(path, amount.to_string(), "must be an integer");
    }
}

fn claims(value: &Value, known: &[&str], path: &Path<'_>, errors: &mut ErrorList) {
    let mut taken: Vec<String> = Vec::new();
    for (i, claim) in value.list("claims").iter().enumerate() {
        let (path, name, request) = (path.index(i), claim.text("name"), claim.text("request"));
        if name.is_empty() {
            errors.required(&path, "");
        } else if taken.iter().any(|t| t == name) {
            errors.duplicate(&path, name);
        } else {
            let key = if request.is_empty() { name.to_owned() } else { format!("{name}/{request}") };
            if !request.is_empty() {
                dns1123_label(request, &path.child("request"), errors);
            }
            if taken.contains(&key) {
                errors.duplicate(&path, key.as_str());
            } else if request.is_empty() {
                let whole = taken.iter().filter(|t| t.split_once('/').is_some_and(|(claim, _)| claim == name));
                whole.for_each(|_| errors.duplicate(&path, name));
            }
            taken.push(key);
        }
        if !name.is_empty() && !known.contains(&name) {
            errors.not_found(&path, name);
            let mut sorted = known.to_vec();
            sorted.sort_unstable();
            sorted.dedup();
            let detail = match sorted.join(", ") {
                none if none.is_empty() => " which is empty".to_owned(),
                list => format!(": {list}"),
            };
            if let Some(error) = errors.0.last_mut() {
                error.detail = format!("must be one of the names in pod.spec.resourceClaims{detail}");
            }
        }
    }
}

const COMPUTE: &[&str] = &[
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
];
const COUNTED: &[&str] = &[
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
];

pub(crate) fn is_huge_pages(name: &str) -> bool {
    name.starts_with("hugepages-")
}

fn is_quota_huge_pages(name: &str) -> bool {
    is_huge_pages(name) || name.starts_with("requests.hugepages-")
}

/// Amounts too large for thousandths to be told have none.
pub(crate) fn is_whole(amount: &Quantity) -> bool {
    let milli = amount.milli_value();
    milli % 1000 == 0 || milli == i64::MAX
}

/// Whether an amount of huge pages is whole pages.
pub(crate) fn divides(name: &str, amount: &Value) -> bool {
    is_divisible(name, &quantity(amount))
}

fn is_divisible(name: &str, amount: &Quantity) -> bool {
    let size = name.strip_prefix("hugepages-").and_then(|size| Quantity::parse(size).ok());
    // What no `i64` holds is nothing to Go, and so a multiple of anything.
    let value = amount.as_i64().unwrap_or_else(|| Some(amount.value()).filter(|v| *v < i64::MAX).unwrap_or(0));
    size.is_some_and(|s| s.sign() > 0 && s.milli_value() % 1000 == 0 && value % s.value().max(1) == 0)
}

/// Kubernetes' own, as opposed to `vendor.example/device`.
pub(crate) fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

fn is_extended(name: &str) -> bool {
    !is_native(name) && !name.starts_with("requests.") && names::qualified_name(&format!("requests.{name}")).is_empty()
}

fn is_integer(name: &str) -> bool {
    COUNTED.contains(&name) || is_extended(name)
}

pub(crate) fn is_standard_quota(name: &str) -> bool {
    COMPUTE.contains(&name) || COUNTED.contains(&name) || name == "requests.storage" || is_quota_huge_pages(name)
}

/// A name of any resource.
pub(crate) fn resource_name(name: &str, path: &Path<'_>, errors: &mut ErrorList) {
    let problems = names::qualified_name(name);
    if !problems.is_empty() {
        return errors.each_invalid(path, name, problems);
    }
    if !name.contains('/') && !is_standard_quota(name) && name != "storage" {
        errors.invalid(path, name, "must be a standard resource type or fully qualified");
    }
}

pub(crate) fn container_resource_name(name: &str, path: &Path<'_>, errors: &mut ErrorList) {
    resource_name(name, path, errors);
    if !name.contains('/') {
        if !matches!(name, "cpu" | "memory" | "ephemeral-storage") && !is_huge_pages(name) {
            errors.invalid(path, name, "must be a standard resource for containers");
        }
    } else if !is_native(name) && !is_extended(name) {
        errors.invalid(path, name, "doesn't follow extended resource name standard");
    }
}

fn pod_resource_name(name: &str, path: &Path<'_>, errors: &mut ErrorList) {
    let before = errors.0.len();
    resource_name(name, path, errors);
    if errors.0.len() == before && !matches!(name, "cpu" | "memory") && !is_huge_pages(name) {
        errors.not_supported(path, name, &["cpu", "hugepages-", "memory"]);
    }
}

/// `spec.resources`, the pod's own (KEP 2837).
pub(crate) fn of_pod(spec: &Value, claim_names: &[&str], path: &Path<'_>, options: &Options, errors: &mut ErrorList) {
    let resources = &spec["resources"];
    if resources.is_null() {
        return;
    }
    let path = path.child("resources");
    if spec.text("os.name") == "windows" {
        return errors.forbidden(&path, "may not be set for a windows pod");
    }
    if resources.has("claims") {
        errors.forbidden(&path.child("claims"), "claims may not be set for Resources at pod-level");
    }
    requirements(resources, Holder::Pod, claim_names, &path, options, errors);
    covers_containers(spec, &path, errors);
}

fn covers_containers(spec: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let sums = |kind| aggregate(spec, kind);
    let requests = path.child("requests");
    for (name, sum) in sums("requests") {
        if let Some(own) = spec["resources"]["requests"].get(name).map(quantity).filter(|own| sum > *own) {
            let detail = format!("must be greater than or equal to aggregate container requests of {sum}");
            errors.invalid(&requests.key(name), own.to_string(), detail);
        }
    }
    let limits = path.child("limits");
    for (name, sum) in sums("limits").into_iter().filter(|(name, _)| is_huge_pages(name)) {
        if let Some(own) = spec["resources"]["limits"].get(name).map(quantity).filter(|own| sum > *own) {
            let detail = format!("must be greater than or equal to aggregate container limits of {sum}");
            errors.invalid(&limits.key(name), own.to_string(), detail);
        }
    }
    let containers = path.child("containers");
    for (i, container) in spec.list("containers").iter().enumerate() {
        for (name, limit) in container.map("resources.limits") {
            let limit = quantity(limit);
            if let Some(own) = spec["resources"]["limits"].get(name).map(quantity).filter(|own| limit > *own) {
                let at = containers.index(i);
                let detail = format!("must be less than or equal to pod limits of {own}");
                errors.invalid(&at.key(name).child("limits"), limit.to_string(), detail);
            }
        }
    }
}

type Amounts<'a> = std::collections::BTreeMap<&'a str, Quantity>;

/// What the containers need together: the sum of those that run at once, or the greatest step of initialisation.
fn aggregate<'a>(spec: &'a Value, kind: &str) -> Amounts<'a> {
    let amounts = |container: &'a Value| container["resources"][kind].as_object().into_iter().flatten();
    let mut running = Amounts::new();
    for (name, amount) in spec.list("containers").iter().flat_map(amounts) {
        add(&mut running, name, &quantity(amount));
    }
    let (mut sidecars, mut initial) = (Amounts::new(), Amounts::new());
    for container in spec.list("initContainers") {
        let mut step = sidecars.clone();
        for (name, amount) in amounts(container) {
            let amount = quantity(amount);
            if container.text("restartPolicy") == "Always" {
                add(&mut running, name, &amount);
                add(&mut sidecars, name, &amount);
            }
            add(&mut step, name, &amount);
        }
        for (name, amount) in step {
            let most = initial.entry(name).or_insert(Quantity::ZERO);
            if amount > *most {
                *most = amount;
            }
        }
    }
    for (name, amount) in initial {
        if running.get(name).is_none_or(|sum| amount > *sum) {
            running.insert(name, amount);
        }
    }
    running
}

fn add<'a>(sums: &mut Amounts<'a>, name: &'a str, amount: &Quantity) {
    sums.entry(name).or_insert(Quantity::ZERO).add(amount);
}
