//! What a definition's status says: which names it got, whether it is served
//! (`pkg/controller/status/naming_controller.go`, `pkg/controller/establish`). Pure.

use std::collections::BTreeSet;

use orlop_api::{Value, meta};
use serde_json::json;

/// The status a definition should have among `all` definitions; `None` when it has it.
pub fn settle(definition: &Value, all: &[Value], now: &str) -> Option<Value> {
    let (wanted, accepted) = (&definition["spec"]["names"], &definition["status"]["acceptedNames"]);
    let taken = Taken::by_others(definition, all);
    let mut names = json!({ "plural": "", "kind": "" });
    let mut conflict: Option<(&str, String)> = None;
    for (field, reason, set) in [
        ("plural", "PluralConflict", &taken.resources),
        ("singular", "SingularConflict", &taken.resources),
        ("kind", "KindConflict", &taken.kinds),
        ("listKind", "ListKindConflict", &taken.kinds),
    ] {
        let name = wanted[field].as_str().unwrap_or_default();
        let free = wanted[field] == accepted[field] || !set.contains(name);
        if !free {
            conflict = Some((reason, format!("{name:?} is already in use")));
        }
        let got = if free { &wanted[field] } else { &accepted[field] };
        if got.is_string() {
            names[field] = got.clone();
        }
    }
    let own: Vec<&str> = texts(&accepted["shortNames"]).collect();
    let used: Vec<String> = texts(&wanted["shortNames"])
        .filter(|name| !own.contains(name) && taken.resources.contains(*name))
        .map(|name| format!("{name:?} is already in use"))
        .collect();
    let short_names = if used.is_empty() { &wanted["shortNames"] } else { &accepted["shortNames"] };
    if !used.is_empty() {
        let why = if used.len() == 1 { used.concat() } else { format!("[{}]", used.join(", ")) };
        conflict = Some(("ShortNamesConflict", why));
    }
    for (field, list) in [("shortNames", short_names), ("categories", &wanted["categories"])] {
        if list.as_array().is_some_and(|list| !list.is_empty()) {
            names[field] = list.clone();
        }
    }
    let mut status = definition["status"].clone();
    status["acceptedNames"] = names;
    let fine = conflict.is_none();
    let (reason, message) = conflict.unwrap_or(("NoConflicts", "no conflicts found".into()));
    set_condition(&mut status, &condition("NamesAccepted", fine, reason, &message), now);
    if fine {
        let message = "the initial names have been accepted";
        set_condition(&mut status, &condition("Established", true, "InitialNamesAccepted", message), now);
    } else if !is_true(&status, "Established") {
        let message = "not all names are accepted";
        set_condition(&mut status, &condition("Established", false, "NotAccepted", message), now);
    }
    (status != definition["status"]).then_some(status)
}

/// Served once its names were accepted, and from then on whatever becomes of them.
pub fn is_served(definition: &Value) -> bool {
    let status = &definition["status"];
    is_true(status, "Established") || is_true(status, "NamesAccepted")
}

pub fn is_true(status: &Value, kind: &str) -> bool {
    let mut conditions = status["conditions"].as_array().into_iter().flatten();
    conditions.any(|condition| condition["type"] == kind && condition["status"] == "True")
}

pub fn condition(kind: &str, status: bool, reason: &str, message: &str) -> Value {
    let status = if status { "True" } else { "False" };
    json!({ "type": kind, "status": status, "reason": reason, "message": message })
}

/// Sets a condition; its transition time moves only with its status.
pub fn set_condition(status: &mut Value, condition: &Value, now: &str) {
    let list = meta::child_mut_list(status, "conditions");
    let mut new = condition.clone();
    match list.iter_mut().find(|old| old["type"] == condition["type"]) {
        Some(old) => {
            let moved = old["status"] != new["status"] || !old["lastTransitionTime"].is_string();
            new["lastTransitionTime"] = if moved { now.into() } else { old["lastTransitionTime"].clone() };
            *old = new;
        }
        None => {
            new["lastTransitionTime"] = now.into();
            list.push(new);
        }
    }
}

/// Names that other definitions of the group hold.
struct Taken {
    resources: BTreeSet<String>,
    kinds: BTreeSet<String>,
}

impl Taken {
    fn by_others(definition: &Value, all: &[Value]) -> Self {
        let mut taken = Self { resources: BTreeSet::new(), kinds: BTreeSet::new() };
        let others = all.iter().filter(|other| {
            other["spec"]["group"] == definition["spec"]["group"] && meta::name(other) != meta::name(definition)
        });
        for names in others.map(|other| &other["status"]["acceptedNames"]) {
            let plain = ["plural", "singular"].into_iter().filter_map(|field| names[field].as_str());
            taken.resources.extend(plain.chain(texts(&names["shortNames"])).map(str::to_owned));
            taken
                .kinds
                .extend(["kind", "listKind"].into_iter().filter_map(|field| names[field].as_str()).map(str::to_owned));
        }
        taken
    }
}

fn texts(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(plural: &str, kind: &str) -> Value {
        json!({"metadata": {"name": format!("{plural}.g.io")}, "spec": {"group": "g.io", "names": {
            "plural": plural, "singular": kind.to_lowercase(), "kind": kind, "listKind": format!("{kind}List"),
            "shortNames": ["x"]}}, "status": {}})
    }

    fn reasons(status: &Value) -> Vec<&str> {
        status["conditions"].as_array().unwrap().iter().map(|c| c["reason"].as_str().unwrap()).collect()
    }

    #[test]
    fn names_are_accepted_once_and_for_all() {
        let mut first = definition("as", "A");
        let status = settle(&first, &[first.clone()], "t").unwrap();
        assert_eq!(reasons(&status), ["NoConflicts", "InitialNamesAccepted"]);
        assert_eq!(status["acceptedNames"], first["spec"]["names"]);
        first["status"] = status;
        assert_eq!(settle(&first, &[first.clone()], "later"), None);
    }

    #[test]
    fn names_in_use_are_refused() {
        let mut first = definition("as", "A");
        first["status"] = settle(&first, &[], "t").unwrap();
        let second = definition("bs", "A");
        let status = settle(&second, &[first.clone(), second.clone()], "t").unwrap();
        assert_eq!(reasons(&status), ["ShortNamesConflict", "NotAccepted"]);
        assert_eq!(status["acceptedNames"], json!({"plural": "bs", "kind": ""}));
        assert!(!is_true(&status, "Established"));
    }
}
