//! Filters, as their profile says them.

use serde_json::{Value, json};

use crate::spec::seccomp::{Action, Condition, Operator, Profile, Rule};

pub fn filter(profile: &Profile) -> Value {
    let architectures: &[&str] =
        if profile.x86 { &["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"] } else { &["SCMP_ARCH_X86_64"] };
    let (action, errno) = action(profile.default);
    let mut value = json!({
        "defaultAction": action,
        "architectures": architectures,
        "syscalls": profile.rules.iter().map(rule).collect::<Vec<Value>>(),
    });
    if let Some(errno) = errno {
        value["defaultErrnoRet"] = errno.into();
    }
    value
}

fn rule(rule: &Rule) -> Value {
    let (action, errno) = action(rule.action);
    let conditions: Vec<Value> = rule.conditions.iter().map(condition).collect();
    let mut value = json!({ "names": rule.names, "action": action, "args": conditions });
    if let Some(errno) = errno {
        value["errnoRet"] = errno.into();
    }
    value
}

fn action(action: Action) -> (&'static str, Option<u16>) {
    match action {
        Action::Allow => ("SCMP_ACT_ALLOW", None),
        Action::Log => ("SCMP_ACT_LOG", None),
        Action::Errno(errno) => ("SCMP_ACT_ERRNO", Some(errno)),
        Action::Trace(errno) => ("SCMP_ACT_TRACE", Some(errno)),
        Action::Trap => ("SCMP_ACT_TRAP", None),
        Action::KillThread => ("SCMP_ACT_KILL_THREAD", None),
        Action::KillProcess => ("SCMP_ACT_KILL_PROCESS", None),
    }
}

fn condition(condition: &Condition) -> Value {
    let (op, value, second) = match condition.operator {
        Operator::NotEqual => ("SCMP_CMP_NE", condition.value, 0),
        Operator::Less => ("SCMP_CMP_LT", condition.value, 0),
        Operator::LessOrEqual => ("SCMP_CMP_LE", condition.value, 0),
        Operator::Equal => ("SCMP_CMP_EQ", condition.value, 0),
        Operator::GreaterOrEqual => ("SCMP_CMP_GE", condition.value, 0),
        Operator::Greater => ("SCMP_CMP_GT", condition.value, 0),
        Operator::MaskedEqual(mask) => ("SCMP_CMP_MASKED_EQ", mask, condition.value),
    };
    json!({ "index": condition.argument, "op": op, "value": value, "valueTwo": second })
}
