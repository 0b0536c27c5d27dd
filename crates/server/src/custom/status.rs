//! What a definition's status says: which names it got, whether it is served
//! (`pkg/controller/status/naming_controller.go`, `pkg/controller/establish`). Pure.

use orlop_api::{Value, meta};
use serde_json::json;

use super::names::{Names, Sort};

/// The status a definition should have among those that hold `names`; `None` when it has it.
pub fn settle(definition: &Value, held: &Names, now: &str) -> Option<Value> {
    let (wanted, accepted) = (&definition["spec"]["names"], &definition["status"]["acceptedNames"]);
    let mut names = json!({ "plural": "", "kind": "" });
    let mut conflict: Option<(&str, String)> = None;
    for (field, reason, sort) in [
        ("plural", "PluralConflict", Sort::Resource),
        ("singular", "SingularConflict", Sort::Resource),
        ("kind", "KindConflict", Sort::Kind),
        ("listKind", "ListKindConflict", Sort::Kind),
    ] {
        let name = wanted[field].as_str().unwrap_or_default();
        let free = wanted[field] == accepted[field] || !held.is_taken(definition, sort, name);
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
        .filter(|name| !own.contains(name) && held.is_taken(definition, Sort::Resource, name))
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
        let status = settle(&first, &Names::of([&first]), "t").unwrap();
        assert_eq!(reasons(&status), ["NoConflicts", "InitialNamesAccepted"]);
        assert_eq!(status["acceptedNames"], first["spec"]["names"]);
        first["status"] = status;
        assert_eq!(settle(&first, &Names::of([&first]), "later"), None);
    }

    #[test]
    fn names_in_use_are_refused() {
        let mut first = definition("as", "A");
        first["status"] = settle(&first, &Names::default(), "t").unwrap();
        let second = definition("bs", "A");
        let status = settle(&second, &Names::of([&first, &second]), "t").unwrap();
        assert_eq!(reasons(&status), ["ShortNamesConflict", "NotAccepted"]);
        assert_eq!(status["acceptedNames"], json!({"plural": "bs", "kind": ""}));
        assert!(!is_true(&status, "Established"));
        let mut names = Names::of([&first, &second]);
        names.remove("as.g.io");
        assert_eq!(reasons(&settle(&second, &names, "t").unwrap()), ["NoConflicts", "InitialNamesAccepted"]);
    }
}
