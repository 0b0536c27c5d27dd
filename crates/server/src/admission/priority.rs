//! From a pod's priority class to its priority (`plugin/pkg/admission/priority`).

use futures_util::future::BoxFuture;
use orlop_api::status::StatusError;
use orlop_api::{Value, meta};

use super::{Attributes, Operation, Plugin};
use crate::Server;

pub struct Priority;

const CLASSES: &str = "scheduling.k8s.io/priorityclasses";
const PREEMPT: &str = "PreemptLowerPriority";

impl Plugin for Priority {
    fn name(&self) -> &'static str {
        "Priority"
    }

    fn handles(&self, a: &Attributes) -> bool {
        matches!(a.operation, Operation::Create | Operation::Update)
            && a.subresource.is_empty()
            && (a.is("", "pods") || a.is("scheduling.k8s.io", "priorityclasses"))
    }

    fn admit<'a>(&'a self, server: &'a Server, a: &'a mut Attributes) -> BoxFuture<'a, Result<(), StatusError>> {
        Box::pin(async move {
            match a.operation {
                _ if !a.is("", "pods") => Ok(()),
                Operation::Create => resolve(server, a),
                _ => {
                    keep_old(a);
                    Ok(())
                }
            }
        })
    }

    fn validate<'a>(&'a self, server: &'a Server, a: &'a Attributes) -> BoxFuture<'a, Result<(), StatusError>> {
        Box::pin(async move {
            if a.is("", "pods") || a.object["globalDefault"] != true {
                return Ok(());
            }
            match default_class(server) {
                Some(class) if a.operation == Operation::Create || meta::name(&class) != meta::name(&a.object) => {
                    let name = meta::name(&class);
                    let why = format!("PriorityClass {name} is already marked as default. Only one default can exist");
                    Err(a.forbidden(&why))
                }
                _ => Ok(()),
            }
        })
    }
}

fn default_class(server: &Server) -> Option<Value> {
    let snapshot = server.store.snapshot();
    let classes = snapshot.range(CLASSES, None, None).filter_map(|e| serde_json::from_slice::<Value>(&e.json).ok());
    // A race may have made two: the lower one counts.
    classes.filter(|class| class["globalDefault"] == true).min_by_key(|class| class["value"].as_i64())
}

fn resolve(server: &Server, a: &mut Attributes) -> Result<(), StatusError> {
    let asked = a.object["spec"]["priorityClassName"].as_str().unwrap_or_default();
    let (name, value, policy) = if asked.is_empty() {
        match default_class(server) {
            Some(class) => of_class(&class),
            None => (String::new(), 0, PREEMPT.to_owned()),
        }
    } else {
        let key = orlop_store::Key { resource: CLASSES.into(), namespace: "".into(), name: asked.into() };
        let class = server.store.newest(&key).and_then(|entry| serde_json::from_slice::<Value>(&entry.json).ok());
        of_class(&class.ok_or_else(|| a.forbidden(&format!("no PriorityClass with name {asked} was found")))?)
    };
    let spec = &a.object["spec"];
    if let Some(given) = spec["priority"].as_i64().filter(|given| *given != value) {
        return Err(a.forbidden(&format!(
            "the integer value of priority ({given}) must not be provided in pod spec; priority admission controller \
             computed {value} from the given PriorityClass name"
        )));
    }
    if let Some(given) = spec["preemptionPolicy"].as_str().filter(|given| !policy.is_empty() && *given != policy) {
        return Err(a.forbidden(&format!(
            "the string value of PreemptionPolicy ({given}) must not be provided in pod spec; priority admission controller \
             computed {policy} from the given PriorityClass name"
        )));
    }
    let spec = meta::child_mut(&mut a.object, "spec");
    if !name.is_empty() {
        spec.insert("priorityClassName".into(), name.into());
    }
    spec.insert("priority".into(), value.into());
    if !policy.is_empty() {
        spec.insert("preemptionPolicy".into(), policy.into());
    }
    Ok(())
}

fn of_class(class: &Value) -> (String, i64, String) {
    let policy = class["preemptionPolicy"].as_str().unwrap_or_default();
    (meta::name(class).to_owned(), class["value"].as_i64().unwrap_or(0), policy.to_owned())
}

/// Clients that leave out what was computed do not mean to change it.
fn keep_old(a: &mut Attributes) {
    let Some(old) = a.old_object.clone() else { return };
    let spec = meta::child_mut(&mut a.object, "spec");
    for field in ["priority", "preemptionPolicy"] {
        if spec.get(field).is_none_or(Value::is_null)
            && let Some(value) = old["spec"].get(field)
        {
            spec.insert(field.into(), value.clone());
        }
    }
}
