use crate::kinds::prelude::*;
use crate::table::{Now, age, cells, columns, quantity};

pub struct PodDisruptionBudget;

facts!(namespaced("policy", "PodDisruptionBudget", "poddisruptionbudgets").short(&["pdb"]).status().generation());

impl Kind for PodDisruptionBudget {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    validation! {
        create: sets::disruption_budget,
        update: sets::disruption_budget_update,
    }

    fn unconditional_update(&self) -> bool {
        false
    }

    fn columns(&self) -> Vec<Column> {
        columns("Name, Min Available, Max Unavailable, Allowed Disruptions:integer, Age")
    }

    fn row(&self, obj: &Value, now: Now) -> Vec<Value> {
        let or_na = |path| if obj.has(path) { quantity(obj.at(path)) } else { "N/A".into() };
        cells![
            meta::name(obj),
            or_na("spec.minAvailable"),
            or_na("spec.maxUnavailable"),
            obj.int("status.disruptionsAllowed"),
            age(obj, now)
        ]
    }
}
