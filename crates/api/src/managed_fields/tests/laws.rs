//! What holds whatever is applied.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::managed_fields::{FieldSet, PathElement};

const KEYS: &[&str] = &["a", "b", "c"];

fn any_labels() -> impl Strategy<Value = Value> {
    prop::collection::btree_map(prop::sample::select(KEYS), prop::sample::select(KEYS), 0..4)
        .prop_map(|labels| labels.into_iter().map(|(k, v)| (k.to_owned(), v.into())).collect::<Map<_, _>>().into())
}

fn any_containers() -> impl Strategy<Value = Value> {
    let container = (prop::option::of(prop::sample::select(KEYS)), prop::collection::btree_set(0..3i64, 0..3));
    prop::collection::btree_map(prop::sample::select(KEYS), container, 0..3).prop_shuffle_values()
}

trait Shuffled: Strategy + Sized {
    fn prop_shuffle_values(self) -> BoxedStrategy<Value>;
}

type Container = (Option<&'static str>, std::collections::BTreeSet<i64>);

impl<S> Shuffled for S
where
    S: Strategy<Value = std::collections::BTreeMap<&'static str, Container>> + 'static,
{
    fn prop_shuffle_values(self) -> BoxedStrategy<Value> {
        self.prop_flat_map(|containers| Just(containers.into_iter().collect::<Vec<_>>()).prop_shuffle())
            .prop_map(|containers| {
                containers
                    .into_iter()
                    .map(|(name, (image, ports))| {
                        let ports: Value = ports.into_iter().map(|port| json!({ "containerPort": port })).collect();
                        let mut container = json!({ "name": name, "ports": ports });
                        if let Some(image) = image {
                            container["image"] = image.into();
                        }
                        container
                    })
                    .collect()
            })
            .boxed()
    }
}

fn any_config() -> impl Strategy<Value = Value> {
    (any_labels(), any_containers(), prop::option::of(1..3i64), prop::collection::btree_set(prop::sample::select(KEYS), 0..3)).prop_map(
        |(labels, containers, grace, finalizers)| {
            let mut spec = json!({ "containers": containers });
            if let Some(grace) = grace {
                spec["terminationGracePeriodSeconds"] = grace.into();
            }
            let finalizers: Value = finalizers.into_iter().collect();
            json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "p", "labels": labels, "finalizers": finalizers }, "spec": spec })
        },
    )
}

fn any_write() -> impl Strategy<Value = (&'static str, bool, Value)> {
    (prop::sample::select(&["x", "y", "z"][..]), any::<bool>(), any_config())
}

/// All sets of an object's entries.
fn sets(object: &Value) -> Vec<FieldSet> {
    owners(object).as_object().unwrap().values().map(|fields| FieldSet::from_json(fields).unwrap()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn applying_twice_changes_nothing(writes in prop::collection::vec(any_write(), 1..5), config in any_config()) {
        let mut object = live_after(&writes);
        object = forced("me", &object, &config);
        let again = forced("me", &object, &config);
        prop_assert_eq!(&again, &object);
    }

    #[test]
    fn what_is_applied_holds(writes in prop::collection::vec(any_write(), 1..5), config in any_config()) {
        let object = forced("me", &live_after(&writes), &config);
        let holds = crate::managed_fields::merge::merge(
            &object,
            &config,
            crate::managed_fields::types::TypeRef::Object(kind_of(&config).schema("v1").unwrap().get()),
        );
        prop_assert_eq!(normal(&bare(&holds)), normal(&bare(&object)));
    }

    #[test]
    fn force_leaves_no_other_owner_of_a_changed_field(writes in prop::collection::vec(any_write(), 1..5), config in any_config()) {
        let object = forced("me", &live_after(&writes), &config);
        // Without force there is nothing left to disagree about.
        prop_assert!(applied("me", Some(&object), &config).is_ok());
    }

    #[test]
    fn letting_go_of_everything_leaves_the_others_theirs(writes in prop::collection::vec(any_write(), 1..5), config in any_config()) {
        let before = live_after(&writes);
        let object = forced("me", &before, &config);
        let nothing = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "p" } });
        let after = forced("me", &object, &nothing);
        prop_assert!(owners(&after).get("me/Apply").is_none());
        for set in sets(&after) {
            set.for_each(&mut |path| {
                if let Some(scalar) = value_at(&object, path).filter(|value| !value.is_array() && !value.is_object()) {
                    assert_eq!(value_at(&after, path), Some(scalar), "{path:?} of {after}");
                }
            });
        }
    }

    #[test]
    fn entries_own_nothing_twice_by_update(writes in prop::collection::vec(any_write(), 1..6)) {
        let object = live_after(&writes);
        let updates: Vec<FieldSet> = object["metadata"]["managedFields"].as_array().into_iter().flatten()
            .filter(|entry| entry["operation"] == "Update")
            .map(|entry| FieldSet::from_json(&entry["fieldsV1"]).unwrap())
            .collect();
        for (i, a) in updates.iter().enumerate() {
            for b in &updates[i + 1..] {
                prop_assert!(a.intersection(b).is_empty());
            }
        }
    }
}

/// What stands at a path.
fn value_at<'a>(object: &'a Value, path: &[PathElement]) -> Option<&'a Value> {
    path.iter().try_fold(object, |at, element| match element {
        PathElement::Field(name) => at.get(name),
        PathElement::Key(key) => {
            at.as_array()?.iter().find(|item| key.iter().all(|(name, value)| item.get(name).is_none_or(|v| v == value)))
        }
        PathElement::Value(value) => at.as_array()?.iter().find(|item| *item == value),
        PathElement::Index(_) => None,
    })
}

/// As the decoder gives it to the server: without empty lists and the like.
fn normal(object: &Value) -> Value {
    let mut object = object.clone();
    let schema = kind_of(&object).schema("v1").expect("pods have a schema");
    crate::codec::json::normalise(&mut object, schema.get());
    crate::codec::json::settle(&mut object, schema.get(), true);
    object
}

/// A pod after these writes, by update or by apply.
fn live_after(writes: &[(&'static str, bool, Value)]) -> Value {
    let mut object: Option<Value> = None;
    for (who, applies, config) in writes {
        object = Some(match (&object, applies) {
            (None, true) => applied(who, None, config).expect("nobody to conflict with"),
            (None, false) => created(who, normal(config)),
            (Some(live), true) => forced(who, live, config),
            (Some(live), false) => updated(who, live, |new| {
                let owners = new["metadata"]["managedFields"].take();
                *new = normal(config);
                new["metadata"]["managedFields"] = owners;
            }),
        });
    }
    object.expect("at least one write")
}
