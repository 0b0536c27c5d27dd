//! Rolling back by the annotation that stands in for the extensions/v1beta1 field.
//! (`kubectl rollout undo` patches the template itself.)

use orlop_api::typed::kinds::Deployment;
use orlop_client::engine::{Note, Plan, View, Write};

use super::rollout::Rollout;
use super::{revision, template};

/// The revision asked for; 0 is the one before the newest.
pub fn wanted(deployment: &Deployment) -> Option<i64> {
    deployment.metadata.annotations.as_ref()?.get(revision::ROLLBACK_TO)?.parse().ok()
}

impl Rollout<'_> {
    pub fn roll_back(mut self, asked: i64, view: &View) -> Plan {
        if !self.ensure_new(view) {
            return self.finish_progressing();
        }
        let target = if asked == 0 { revision::last(self.sets.iter()) } else { asked };
        let name = self.seen.metadata.name.clone().unwrap_or_default();
        let warn = |reason, text: String| Note::warning(&**self.seen, reason, text);
        let found = self.sets.iter().find(|set| target != 0 && revision::of(set.object()) == Some(target));
        let mut changed = (**self.seen).clone();
        let note = match found {
            None if target == 0 => {
                warn("DeploymentRollbackRevisionNotFound", "Unable to find last revision.".to_owned())
            }
            None => {
                let text = "Unable to find the revision to rollback to.";
                warn("DeploymentRollbackRevisionNotFound", text.to_owned())
            }
            Some(set) if template::same(set.seen.spec.template.as_ref(), &self.seen.spec.template) => {
                let text = format!("The rollback revision contains the same template as current deployment {name:?}");
                warn("DeploymentRollbackTemplateUnchanged", text)
            }
            Some(set) => {
                restore(&mut changed, set.object());
                let text = format!("Rolled back deployment {name:?} to revision {target}");
                Note::normal(&**self.seen, "DeploymentRollback", text)
            }
        };
        if let Some(annotations) = &mut changed.metadata.annotations {
            annotations.remove(revision::ROLLBACK_TO);
        }
        self.write_sets();
        self.plan.write(Write::update(&changed).done(note));
        self.plan
    }
}

/// The template and the annotations (such as the change cause) of `set`, back on the Deployment.
fn restore(deployment: &mut Deployment, set: &orlop_api::typed::kinds::ReplicaSet) {
    let mut template = set.spec.template.clone().unwrap_or_default();
    if let Some(labels) = template.metadata.as_mut().and_then(|m| m.labels.as_mut()) {
        labels.remove(template::HASH_LABEL);
    }
    deployment.spec.template = template;
    let annotations = deployment.metadata.annotations.get_or_insert_default();
    annotations.retain(|key, _| !revision::is_copied(key));
    let copied = set.metadata.annotations.iter().flatten().filter(|(key, _)| revision::is_copied(key));
    annotations.extend(copied.map(|(k, v)| (k.clone(), v.clone())));
}
