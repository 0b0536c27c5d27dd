//! `matchConditions` (KEP 3716): expressions that keep webhooks and policies out of requests that do not concern them.

use orlop_api::Value as Json;
use orlop_api::field::{ErrorList, Path};
use orlop_cel::cost::MATCH_CONDITIONS_BUDGET;
use orlop_cel::types::Type;
use orlop_cel::value::Value;
use tokio::time::Instant;

use super::environment::{Compiled, Place, compile, environment};
use super::evaluate::{Asker, Input, Scope};
use crate::admission::metrics::{ConditionLabels, METRICS};

pub struct Conditions(Vec<Compiled>);

impl Conditions {
    /// `params`: whether the expressions may refer to a policy's params.
    pub fn compile(list: &Json, params: bool) -> Self {
        let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
        if list.is_empty() {
            return Self(Vec::new());
        }
        let env = environment(Place { params, authorizer: true, patch: false }, None);
        let expression = |condition: &Json| condition["expression"].as_str().unwrap_or_default().trim().to_owned();
        Self(list.iter().map(|condition| compile(&env, &expression(condition), &[Type::Bool])).collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What does not compile.
    pub fn check(&self, path: &Path<'_>, errors: &mut ErrorList) {
        for (i, condition) in self.0.iter().enumerate() {
            condition.check(&path.index(i).child("expression"), errors);
        }
    }

    /// Whether all hold. An error counts only if none is false.
    pub fn hold(
        &self,
        input: &Input,
        asker: &Asker<'_>,
        ignore_failures: bool,
        whose: &ConditionLabels,
    ) -> Result<bool, String> {
        if self.0.is_empty() {
            return Ok(true);
        }
        let (began, mut failed) = (Instant::now(), 0);
        let held = self.judge(input, asker, ignore_failures, &mut failed);
        let excluded = failed == 0 && held == Ok(false);
        METRICS.conditions(whose, began.elapsed(), failed, excluded);
        held
    }

    fn judge(
        &self,
        input: &Input,
        asker: &Asker<'_>,
        ignore_failures: bool,
        failed: &mut usize,
    ) -> Result<bool, String> {
        let mut budget = MATCH_CONDITIONS_BUDGET;
        let scope = Scope::new(input, Some(asker), &[]);
        let mut errors = Vec::new();
        for compiled in &self.0 {
            match scope.run(compiled, &mut budget) {
                Ok(Ok(Value::Bool(false))) => return Ok(false),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => {
                    *failed += 1;
                    errors.push(error);
                }
                Err(_) if ignore_failures => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        match errors.as_slice() {
            [] => Ok(true),
            _ if ignore_failures => Ok(false),
            [one] => Err(one.clone()),
            many => Err(format!("[{}]", many.join(", "))),
        }
    }
}
