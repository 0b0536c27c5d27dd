//! Objects that are really there: read in every form, updated, patched, applied, deleted.

use anyhow::Result;
use http::Method;
use orlop_api::{Value, meta};
use serde_json::json;

use super::super::corpus::Subject;
use super::super::exchange::{Answer, Ask};
use super::super::judge::{Case, Judge};
use super::super::mutate::{Scope, mutations};
use super::objects::{Spoiled, spoiled};
use super::scripts;

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";
const PARTIAL: &str = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io";
const PARTIAL_LIST: &str = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const JSON: &str = "application/json-patch+json";
const APPLY: &str = "application/apply-patch+yaml";

pub async fn run(judge: &Judge<'_>, subject: &Subject, sample: usize) -> Result<()> {
    let label = subject.label();
    for (name, object) in &subject.valid {
        let path = subject.collection(meta::namespace(object));
        judge.one(&label, format!("store {name}"), Ask::json(Method::POST, path, object)).await?;
    }
    for (_, object) in &subject.valid {
        marked(judge, subject, object).await?;
    }
    status(judge, subject, sample).await?;
    judge.all(&label, reads(subject)).await?;
    judge.all(&label, updates(subject, sample)).await?;
    judge.all(&label, patches(subject)).await?;
    deletions(judge, subject).await
}

fn path_of(subject: &Subject, object: &Value) -> String {
    format!("{}/{}", subject.collection(meta::namespace(object)), meta::name(object))
}

/// Both servers say themselves whether a FlowSchema's level is there, a moment after each write.
async fn marked(judge: &Judge<'_>, subject: &Subject, object: &Value) -> Result<()> {
    if subject.info().kind != "FlowSchema" {
        return Ok(());
    }
    let says = |answer: &Answer| {
        let reason = answer.body.pointer("/status/conditions/0/reason");
        reason.is_some_and(|reason| matches!(reason.as_str(), Some("Found" | "NotFound")))
    };
    let ask = Ask::get(path_of(subject, object));
    scripts::both_until(judge, (&ask, &ask), &says).await?;
    Ok(())
}

/// The written status stays, for the reads that follow.
async fn status(judge: &Judge<'_>, subject: &Subject, sample: usize) -> Result<()> {
    let (Some(status), Some((_, object))) = (&subject.status, subject.valid.last()) else { return Ok(()) };
    let label = subject.label();
    let path = path_of(subject, object) + "/status";
    let mut object = object.clone();
    object["status"] = status.clone();
    let ask = Ask::json(Method::PUT, &path, &object);
    judge.one(&label, "write the status", ask).await?;
    marked(judge, subject, &object).await?;
    judge.one(&label, "read the status", Ask::get(&path)).await?;
    let Some(schema) = subject.kind.schema(&subject.version) else { return Ok(()) };
    let mut cases = Vec::new();
    mutations(schema.get(), &object, Scope::Field("status"), 1, &mut |how, mutated| {
        let ask = Ask::json(Method::PUT, format!("{path}?dryRun=All"), mutated);
        cases.push(Case { name: format!("update of the status: {how}"), ask });
    });
    let cases = cases.into_iter().skip(sample - 1).step_by(sample).collect();
    judge.all(&label, cases).await
}

fn reads(subject: &Subject) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut read = |name: String, ask: Ask| cases.push(Case { name, ask });
    for (name, object) in &subject.valid {
        let path = path_of(subject, object);
        read(format!("get {name}"), Ask::get(&path));
        read(format!("get {name} as YAML"), Ask::get(&path).accept("application/yaml"));
        for include in ["None", "Metadata", "Object", "Bad"] {
            let path = format!("{path}?includeObject={include}");
            read(format!("get {name} as a Table with {include}"), Ask::get(path).accept(TABLE));
        }
        read(format!("get the metadata of {name}"), Ask::get(&path).accept(PARTIAL));
        for sub in subject.info().subresources.iter().filter(|s| matches!(&*s.name, "status" | "scale")) {
            read(format!("get {}/{name}", sub.name), Ask::get(format!("{path}/{}", sub.name)));
        }
    }
    let namespace = subject.valid.first().map_or("", |(_, object)| meta::namespace(object));
    for path in [subject.collection(namespace), subject.collection("")] {
        read("list".into(), Ask::get(&path));
        read("list as a Table".into(), Ask::get(&path).accept(TABLE));
        read("list metadata".into(), Ask::get(&path).accept(PARTIAL_LIST));
        for selector in ["labelSelector=corpus", "labelSelector=!corpus", "labelSelector=a in (", "limit=1", "limit=-1"]
        {
            read(format!("list with {selector}"), Ask::get(format!("{path}?{selector}")));
        }
        for label in [
            "metadata.name",
            "metadata.namespace",
            "metadata.uid",
            "spec.nodeName",
            "status.phase",
            "type",
            "spec.none",
        ] {
            for how in ["=minimal", "!=minimal"] {
                read(format!("list with {label}{how}"), Ask::get(format!("{path}?fieldSelector={label}{how}")));
            }
        }
        for label in subject.kind.field_labels().iter() {
            read(format!("list with {}", label.label), Ask::get(format!("{path}?fieldSelector={}=x", label.label)));
        }
    }
    cases
}

fn updates(subject: &Subject, sample: usize) -> Vec<Case> {
    if !subject.has_verb("update") {
        return Vec::new();
    }
    // Another name than the path's is one rule, which the scripts judge.
    let path = |name: &str| {
        let of = subject.valid.iter().find(|(_, valid)| meta::name(valid) == name);
        of.map(|(_, valid)| path_of(subject, valid) + "?dryRun=All")
    };
    let update = |Spoiled { name, object, body }: Spoiled| {
        Some(Case { name: format!("update to {name}"), ask: Ask::body(Method::PUT, path(&object)?, body) })
    };
    spoiled(subject, sample).into_iter().filter_map(update).collect()
}

fn patches(subject: &Subject) -> Vec<Case> {
    if !subject.has_verb("patch") {
        return Vec::new();
    }
    let mut cases = Vec::new();
    for (name, object) in &subject.valid {
        let path = path_of(subject, object);
        let mut patch = |how: String, media_type: &str, query: &str, body: &Value| {
            let ask = Ask::patch(format!("{path}?dryRun=All{query}"), media_type, body);
            cases.push(Case { name: format!("patch {name}: {how}"), ask });
        };
        let labels = json!({"metadata": {"labels": {"patched": "yes"}, "annotations": {"patched": null}}});
        for media_type in [MERGE, STRATEGIC] {
            patch(format!("labels by {media_type}"), media_type, "", &labels);
            patch(format!("nothing by {media_type}"), media_type, "", &json!({}));
            patch(format!("no object by {media_type}"), media_type, "", &json!([]));
            for (field, value) in object.as_object().into_iter().flatten() {
                for (inner, _) in value.as_object().into_iter().flatten() {
                    let body = json!({ (field.as_str()): { (inner.as_str()): null } });
                    patch(format!("{field}.{inner} = null by {media_type}"), media_type, "", &body);
                }
                patch(format!("{field} = null by {media_type}"), media_type, "", &json!({ (field.as_str()): null }));
            }
        }
        for op in ["add", "replace", "remove", "test", "copy", "bad"] {
            let body = json!([{"op": op, "path": "/metadata/labels/patched", "value": "yes", "from": "/kind"}]);
            patch(format!("JSON patch, {op}"), JSON, "", &body);
        }
        patch("apply".into(), APPLY, "&fieldManager=applier", object);
        patch("apply with force".into(), APPLY, "&fieldManager=applier&force=true", object);
        patch("apply without a manager".into(), APPLY, "", object);
        let mut less = object.clone();
        for field in ["spec", "data", "rules", "subjects", "webhooks", "status"] {
            if let Value::Object(fields) = &mut less {
                fields.remove(field);
            }
        }
        patch("apply only metadata".into(), APPLY, "&fieldManager=applier", &less);
        for (other, object) in subject.valid.iter().filter(|(other, _)| other != name) {
            let mut object = object.clone();
            meta::set(&mut object, "name", path.rsplit('/').next().unwrap_or_default());
            for force in ["", "&force=true"] {
                patch(format!("apply {other}{force}"), APPLY, &format!("&fieldManager=applier{force}"), &object);
            }
        }
        patch("of no known type".into(), "application/x-patch", "", &json!({}));
    }
    cases
}

async fn deletions(judge: &Judge<'_>, subject: &Subject) -> Result<()> {
    if !subject.has_verb("delete") {
        return Ok(());
    }
    let label = subject.label();
    for (name, object) in &subject.valid {
        let path = path_of(subject, object);
        let mut cases = Vec::new();
        let mut delete = |how: &str, query: &str, body: Option<Value>| {
            let path = format!("{path}?dryRun=All{query}");
            let ask =
                body.map_or_else(|| Ask::new(Method::DELETE, &path), |body| Ask::json(Method::DELETE, &path, &body));
            cases.push(Case { name: format!("delete {name}, {how}"), ask });
        };
        for policy in ["Orphan", "Background", "Foreground", "Bad"] {
            delete(policy, &format!("&propagationPolicy={policy}"), None);
        }
        delete("another uid", "", Some(json!({"preconditions": {"uid": "other"}})));
        delete("another revision", "", Some(json!({"preconditions": {"resourceVersion": "1"}})));
        delete("at once", "&gracePeriodSeconds=0", None);
        delete("a negative grace period", "&gracePeriodSeconds=-1", None);
        judge.all(&label, cases).await?;
        judge.one(&label, format!("delete {name}"), Ask::new(Method::DELETE, &path)).await?;
        judge.one(&label, format!("get {name}, deleted"), Ask::get(&path)).await?;
        let now = Ask::new(Method::DELETE, format!("{path}?gracePeriodSeconds=0"));
        judge.one(&label, format!("delete {name} again"), now).await?;
    }
    Ok(())
}
