//! One rule made ready to run.

use std::sync::Arc;

use orlop_api::Value as Json;
use orlop_cel::cost::estimate::estimate;
use orlop_cel::decl::DeclType;
use orlop_cel::env::Env;
use orlop_cel::plan::Program;
use orlop_cel::types::Type;

use super::field_path;

/// A rule as it is written, and what became of it.
pub struct Rule {
    pub expression: String,
    /// Empty: none.
    pub message: String,
    pub message_expression: String,
    pub reason: Option<String>,
    /// Where below the rule's own place an error is reported.
    pub field_path: Option<String>,
    /// `oldSelf` is an optional, and the rule runs without an old value, too.
    pub optional_old: bool,
    pub uses_old: bool,
    pub program: Result<Ready, String>,
    /// None where the rule has no expression, or does not compile itself.
    pub message_program: Option<Result<Ready, String>>,
}

/// A program, and the most it may cost.
pub struct Ready {
    pub program: Program,
    pub max_cost: u64,
    uses_old: bool,
}

impl Rule {
    /// Of a schema's node that `decl` declares.
    pub fn compile(rule: &Json, schema: &Json, decl: &Arc<DeclType>) -> Self {
        let text = |field: &str| rule[field].as_str().unwrap_or_default().to_owned();
        let optional_old = rule["optionalOldSelf"] == true;
        let env = environment(decl, optional_old);
        let expression = text("rule");
        let program = ready(&env, &expression, &Type::Bool, ["", "cel expression must evaluate to a bool"]);
        let message_expression = text("messageExpression");
        let message_program = (program.is_ok() && !message_expression.is_empty()).then(|| {
            let words = ["messageExpression ", "messageExpression must evaluate to a string"];
            ready(&env, &message_expression, &Type::String, words)
        });
        Self {
            uses_old: program.as_ref().is_ok_and(|ready| ready.uses_old),
            message: text("message"),
            reason: rule["reason"].as_str().map(str::to_owned),
            field_path: field_path::resolve(&text("fieldPath"), schema).ok().filter(|path| !path.is_empty()),
            expression,
            message_expression,
            optional_old,
            program,
            message_program,
        }
    }

    /// What errors call the rule.
    pub fn name(&self) -> &str {
        if self.message.is_empty() { self.expression.trim() } else { self.message.trim() }
    }
}

fn environment(decl: &Arc<DeclType>, optional_old: bool) -> Env {
    let env = Env::new().with_declared("self", decl.clone());
    match &decl.cel {
        Some(cel) if optional_old => env.with_variable("oldSelf", Type::optional(cel.clone())),
        _ => env.with_declared("oldSelf", decl.clone()),
    }
}

/// `words`: what stands before "compilation failed", and what is said of another type.
fn ready(env: &Env, expression: &str, wanted: &Type, words: [&str; 2]) -> Result<Ready, String> {
    let [prefix, other_type] = words;
    let checked = env.compile(expression).map_err(|issues| format!("{prefix}compilation failed: {issues}"))?;
    if checked.result_type() != wanted {
        return Err(other_type.to_owned());
    }
    let program = Program::new(&checked, env.types());
    let program = program.map_err(|error| {
        let what = if prefix.is_empty() { "program " } else { prefix };
        format!("{what}instantiation failed: {error}")
    })?;
    Ok(Ready { program, max_cost: estimate(&checked, env).max, uses_old: checked.reads("oldSelf") })
}
