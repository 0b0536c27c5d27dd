//! Seccomp profiles as the OCI runtime specification writes them.

use serde::Deserialize;

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    Allow,
    Log,
    Errno(u16),
    Trace(u16),
    Trap,
    KillThread,
    KillProcess,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    pub default: Action,
    /// Whether 32-bit x86 programs are judged by the rules too; else they are killed.
    pub x86: bool,
    pub rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub names: Vec<String>,
    pub action: Action,
    /// All must hold; none means always.
    pub conditions: Vec<Condition>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    pub argument: u8,
    pub operator: Operator,
    pub value: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    NotEqual,
    Less,
    LessOrEqual,
    Equal,
    GreaterOrEqual,
    Greater,
    /// The argument's bits under this mask equal the value.
    MaskedEqual(u64),
}

/// `EPERM`, where a profile names no error.
const DEFAULT_ERRNO: u16 = libc::EPERM as u16;
/// A call has no more.
const ARGUMENTS: u8 = 6;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    default_action: String,
    #[serde(default)]
    default_errno_ret: Option<u16>,
    #[serde(default)]
    architectures: Vec<String>,
    #[serde(default)]
    arch_map: Vec<ArchMap>,
    #[serde(default)]
    listener_path: String,
    #[serde(default)]
    syscalls: Vec<FileRule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ArchMap {
    #[serde(default)]
    sub_architectures: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FileRule {
    #[serde(default)]
    names: Vec<String>,
    #[serde(default)]
    name: String,
    action: String,
    #[serde(default)]
    errno_ret: Option<u16>,
    #[serde(default)]
    args: Option<Vec<FileCondition>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FileCondition {
    index: u8,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: String,
}

impl Profile {
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let file: File = serde_json::from_slice(text).map_err(|e| e.to_string())?;
        if !file.listener_path.is_empty() {
            return Err("listenerPath is not supported".into());
        }
        let default = action(&file.default_action, file.default_errno_ret)?;
        let sub_architectures = file.arch_map.iter().flat_map(|map| map.sub_architectures.iter().flatten());
        let x86 = file.architectures.iter().chain(sub_architectures).any(|arch| arch == "SCMP_ARCH_X86");
        let mut rules = Vec::new();
        for rule in file.syscalls {
            add_rule(&mut rules, rule)?;
        }
        Ok(Self { default, x86, rules })
    }
}

fn add_rule(rules: &mut Vec<Rule>, rule: FileRule) -> Result<(), String> {
    let action = action(&rule.action, rule.errno_ret)?;
    let mut names = rule.names;
    if !rule.name.is_empty() {
        names.push(rule.name);
    }
    let conditions = rule.args.unwrap_or_default().iter().map(condition).collect::<Result<Vec<Condition>, String>>()?;
    let mut arguments: Vec<u8> = conditions.iter().map(|c| c.argument).collect();
    arguments.sort_unstable();
    if arguments.windows(2).any(|pair| pair[0] == pair[1]) {
        // Two conditions on one argument are alternatives (runc's reading of older docker profiles).
        rules.extend(conditions.iter().map(|c| Rule { names: names.clone(), action, conditions: vec![*c] }));
    } else {
        rules.push(Rule { names, action, conditions });
    }
    Ok(())
}

fn action(name: &str, errno: Option<u16>) -> Result<Action, String> {
    Ok(match name {
        "SCMP_ACT_ALLOW" => Action::Allow,
        "SCMP_ACT_LOG" => Action::Log,
        "SCMP_ACT_ERRNO" => Action::Errno(errno.unwrap_or(DEFAULT_ERRNO)),
        "SCMP_ACT_TRACE" => Action::Trace(errno.unwrap_or(DEFAULT_ERRNO)),
        "SCMP_ACT_TRAP" => Action::Trap,
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => Action::KillThread,
        "SCMP_ACT_KILL_PROCESS" => Action::KillProcess,
        other => return Err(format!("action \"{other}\" is not supported")),
    })
}

fn condition(c: &FileCondition) -> Result<Condition, String> {
    if c.index >= ARGUMENTS {
        return Err(format!("a system call has no argument {}", c.index));
    }
    let (operator, value) = match c.op.as_str() {
        "SCMP_CMP_NE" => (Operator::NotEqual, c.value),
        "SCMP_CMP_LT" => (Operator::Less, c.value),
        "SCMP_CMP_LE" => (Operator::LessOrEqual, c.value),
        "SCMP_CMP_EQ" => (Operator::Equal, c.value),
        "SCMP_CMP_GE" => (Operator::GreaterOrEqual, c.value),
        "SCMP_CMP_GT" => (Operator::Greater, c.value),
        "SCMP_CMP_MASKED_EQ" => (Operator::MaskedEqual(c.value), c.value_two),
        other => return Err(format!("comparison \"{other}\" is not known")),
    };
    Ok(Condition { argument: c.index, operator, value })
}
