//! Images are pulled anew each time, so that nobody uses what others had the credentials for
//! (`plugin/pkg/admission/alwayspullimages`).

use std::collections::BTreeSet;

use futures_util::future::BoxFuture;
use orlop_api::Value;
use orlop_api::field::{ErrorList, Path};
use orlop_api::status::StatusError;

use super::{Attributes, Operation, Plugin};
use crate::Server;

pub struct AlwaysPullImages;

const ALWAYS: &str = "Always";
const CONTAINERS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

impl Plugin for AlwaysPullImages {
    fn name(&self) -> &'static str {
        "AlwaysPullImages"
    }

    fn handles(&self, a: &Attributes) -> bool {
        let pods = a.is("", "pods") && a.subresource.is_empty();
        pods && match a.operation {
            Operation::Create => true,
            Operation::Update => a.old_object.as_deref().is_none_or(|old| has_new_image(&a.object, old)),
            _ => false,
        }
    }

    fn admit<'a>(&'a self, _: &'a Server, a: &'a mut Attributes) -> BoxFuture<'a, Result<(), StatusError>> {
        pull_always(&mut a.object);
        Box::pin(async { Ok(()) })
    }

    fn validate<'a>(&'a self, _: &'a Server, a: &'a Attributes) -> BoxFuture<'a, Result<(), StatusError>> {
        let errors = check(&a.object);
        let result = if errors.is_empty() { Ok(()) } else { Err(a.forbidden(&errors.aggregate())) };
        Box::pin(async { result })
    }
}

fn has_new_image(pod: &Value, old: &Value) -> bool {
    let known: BTreeSet<&str> = images(old).collect();
    images(pod).any(|image| !known.contains(image))
}

fn images(pod: &Value) -> impl Iterator<Item = &str> {
    let containers = CONTAINERS.iter().flat_map(|list| pod["spec"][*list].as_array().into_iter().flatten());
    containers.map(|container| container["image"].as_str().unwrap_or_default())
}

fn pull_always(pod: &mut Value) {
    let mut items = |list: &str, set: fn(&mut Value)| {
        pod["spec"].get_mut(list).and_then(Value::as_array_mut).into_iter().flatten().for_each(set);
    };
    for list in CONTAINERS {
        items(list, |container| container["imagePullPolicy"] = ALWAYS.into());
    }
    items("volumes", |volume| {
        if volume["image"].is_object() {
            volume["image"]["pullPolicy"] = ALWAYS.into();
        }
    });
}

fn check(pod: &Value) -> ErrorList {
    let mut errors = ErrorList::default();
    let spec = Path::new("spec");
    for list in CONTAINERS.into_iter().chain(["volumes"]) {
        let path = spec.child(list);
        for (i, item) in pod["spec"][list].as_array().into_iter().flatten().enumerate() {
            let path = path.index(i);
            if list == "volumes" {
                if item["image"].is_object() {
                    check_policy(&item["image"]["pullPolicy"], &path.child("image").child("pullPolicy"), &mut errors);
                }
            } else {
                check_policy(&item["imagePullPolicy"], &path.child("imagePullPolicy"), &mut errors);
            }
        }
    }
    errors
}

fn check_policy(policy: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let policy = policy.as_str().unwrap_or_default();
    if policy != ALWAYS {
        errors.not_supported(path, policy, &[ALWAYS]);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_image_is_pulled_always() {
        let mut pod = json!({"spec": {
            "initContainers": [{"image": "a", "imagePullPolicy": "Never"}], "containers": [{"image": "b"}],
            "volumes": [{"image": {"reference": "c"}}, {"emptyDir": {}}],
        }});
        assert_eq!(
            check(&pod).aggregate(),
            "[spec.initContainers[0].imagePullPolicy: Unsupported value: \"Never\": supported values: \"Always\", \
             spec.containers[0].imagePullPolicy: Unsupported value: \"\": supported values: \"Always\", \
             spec.volumes[0].image.pullPolicy: Unsupported value: \"\": supported values: \"Always\"]"
        );
        pull_always(&mut pod);
        assert!(check(&pod).is_empty());
        assert_eq!(pod["spec"]["volumes"][1], json!({"emptyDir": {}}));
        assert!(!has_new_image(&json!({"spec": {"containers": [{"image": "a"}]}}), &pod));
        assert!(has_new_image(&json!({"spec": {"containers": [{"image": "d"}]}}), &pod));
    }
}
