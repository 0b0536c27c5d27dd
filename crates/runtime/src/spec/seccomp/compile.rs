//! From rules to the classic BPF program that the kernel runs on every call.
//!
//! Calls with the same fate and neighbouring numbers become ranges, found by binary search: a program a
//! quarter the size of a chain of comparisons, which the kernel also checks and caches faster when it is
//! loaded, as every container start does.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::profile::{Action, Condition, Operator, Profile};

/// `linux/audit.h`.
const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;
const AUDIT_ARCH_I386: u32 = 0x4000_0003;
/// Calls of the x32 ABI carry this bit; no table here knows them.
const X32_BIT: u32 = 0x4000_0000;
/// The kernel's limit (`BPF_MAXINSNS`).
const INSTRUCTIONS_MAX: usize = 4096;

/// Offsets in `struct seccomp_data`.
const NUMBER_OFFSET: u32 = 0;
const ARCH_OFFSET: u32 = 4;
const ARGUMENTS_OFFSET: u32 = 16;

const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
const AND: u16 = 0x54; // BPF_ALU | BPF_AND | BPF_K
const JUMP: u16 = 0x05; // BPF_JMP | BPF_JA
const JUMP_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const JUMP_GREATER: u16 = 0x25; // BPF_JMP | BPF_JGT | BPF_K
const JUMP_GREATER_EQUAL: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
const RETURN: u16 = 0x06; // BPF_RET | BPF_K

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    pub code: u16,
    pub if_true: u8,
    pub if_false: u8,
    pub value: u32,
}

/// Jump target to be filled in: past the end of the rule.
const FAIL: u8 = u8::MAX;

/// Name, x86-64 number, i386 number, from the kernel's `unistd_64.h` and `unistd_32.h`.
struct Call {
    x86_64: Option<u32>,
    i386: Option<u32>,
}

static CALLS: LazyLock<BTreeMap<&'static str, Call>> = LazyLock::new(|| {
    let line = |line: &'static str| {
        let mut fields = line.split(' ');
        let name = fields.next()?;
        let mut number = || fields.next().and_then(|field| field.parse().ok());
        Some((name, Call { x86_64: number(), i386: number() }))
    };
    include_str!("syscalls.txt").lines().filter_map(line).collect()
});

/// The program's bytes, as `struct sock_filter`.
pub fn compile(profile: &Profile) -> Result<Vec<u8>, String> {
    let program = assemble(profile)?;
    let mut bytes = Vec::with_capacity(program.len() * 8);
    for i in &program {
        bytes.extend_from_slice(&i.code.to_ne_bytes());
        bytes.extend_from_slice(&[i.if_true, i.if_false]);
        bytes.extend_from_slice(&i.value.to_ne_bytes());
    }
    Ok(bytes)
}

pub fn assemble(profile: &Profile) -> Result<Vec<Instruction>, String> {
    let default = give(profile.default);
    let native = search(&fates(profile, |call| call.x86_64), default);
    let mut program = vec![load(ARCH_OFFSET)];
    let mut native_part = vec![load(NUMBER_OFFSET), jump(JUMP_GREATER_EQUAL, X32_BIT, 0, 1), default];
    native_part.extend(native);
    skip_unless_equal(&mut program, AUDIT_ARCH_X86_64, native_part);
    if profile.x86 {
        let mut part = vec![load(NUMBER_OFFSET)];
        part.extend(search(&fates(profile, |call| call.i386), default));
        skip_unless_equal(&mut program, AUDIT_ARCH_I386, part);
    }
    program.push(give(Action::KillProcess));
    if program.len() > INSTRUCTIONS_MAX {
        return Err(format!("{} instructions, more than {INSTRUCTIONS_MAX}", program.len()));
    }
    Ok(program)
}

/// `part`, which always returns, run only if the loaded value is `value`.
fn skip_unless_equal(program: &mut Vec<Instruction>, value: u32, part: Vec<Instruction>) {
    program.push(jump(JUMP_EQUAL, value, 1, 0));
    program.push(Instruction { code: JUMP, if_true: 0, if_false: 0, value: part.len() as u32 });
    program.extend(part);
}

/// What becomes of one call: the first alternative whose conditions hold, else the default.
type Fate = Vec<(Vec<Condition>, Action)>;

fn fates(profile: &Profile, number: impl Fn(&Call) -> Option<u32>) -> BTreeMap<u32, Fate> {
    let mut fates: BTreeMap<u32, Fate> = BTreeMap::new();
    for rule in &profile.rules {
        for name in &rule.names {
            // Names of other architectures and of newer kernels are no error.
            let Some(number) = CALLS.get(name.as_str()).and_then(&number) else { continue };
            fates.entry(number).or_default().push((rule.conditions.clone(), rule.action));
        }
    }
    for fate in fates.values_mut() {
        // A rule without conditions beats those with, whichever came first.
        if let Some(always) = fate.iter().find(|(conditions, _)| conditions.is_empty()).cloned() {
            *fate = vec![always];
        }
    }
    fates
}

/// A binary search over ranges of calls with one fate.
fn search(fates: &BTreeMap<u32, Fate>, default: Instruction) -> Vec<Instruction> {
    let mut ranges: Vec<(u32, Option<&Fate>)> = vec![(0, None)];
    let mut next = 0;
    for (number, fate) in fates {
        if *number > next {
            push_range(&mut ranges, next, None);
        }
        push_range(&mut ranges, *number, Some(fate));
        next = number + 1;
    }
    push_range(&mut ranges, next, None);
    tree(&ranges, default)
}

fn push_range<'a>(ranges: &mut Vec<(u32, Option<&'a Fate>)>, start: u32, fate: Option<&'a Fate>) {
    match ranges.last_mut() {
        Some((_, last)) if *last == fate => {}
        Some((last_start, last)) if *last_start == start => *last = fate,
        _ => ranges.push((start, fate)),
    }
}

fn tree(ranges: &[(u32, Option<&Fate>)], default: Instruction) -> Vec<Instruction> {
    if let [(_, fate)] = ranges {
        return leaf(*fate, default);
    }
    let (low, high) = ranges.split_at(ranges.len() / 2);
    let (low_code, high_code) = (tree(low, default), tree(high, default));
    let start = high[0].0;
    let mut code = match u8::try_from(low_code.len()) {
        Ok(len) => vec![jump(JUMP_GREATER_EQUAL, start, len, 0)],
        Err(_) => vec![
            jump(JUMP_GREATER_EQUAL, start, 0, 1),
            Instruction { code: JUMP, if_true: 0, if_false: 0, value: low_code.len() as u32 },
        ],
    };
    code.extend(low_code);
    code.extend(high_code);
    code
}

fn leaf(fate: Option<&Fate>, default: Instruction) -> Vec<Instruction> {
    let mut code = Vec::new();
    for (conditions, action) in fate.into_iter().flatten() {
        let start = code.len();
        code.extend(conditions.iter().flat_map(test));
        code.push(give(*action));
        let end = code.len();
        for (at, instruction) in code.iter_mut().enumerate().skip(start) {
            let distance = (end - at - 1) as u8;
            for target in [&mut instruction.if_true, &mut instruction.if_false] {
                if *target == FAIL {
                    *target = distance;
                }
            }
        }
        if conditions.is_empty() {
            return code;
        }
    }
    code.push(default);
    code
}

/// Falls through when the condition holds. Arguments have 64 bits, the machine 32: high half first.
fn test(condition: &Condition) -> Vec<Instruction> {
    let low_at = ARGUMENTS_OFFSET + 8 * u32::from(condition.argument);
    let (low, high) = (load(low_at), load(low_at + 4));
    let (value_low, value_high) = (condition.value as u32, (condition.value >> 32) as u32);
    match condition.operator {
        Operator::Equal => {
            vec![high, jump(JUMP_EQUAL, value_high, 0, FAIL), low, jump(JUMP_EQUAL, value_low, 0, FAIL)]
        }
        Operator::NotEqual => {
            vec![high, jump(JUMP_EQUAL, value_high, 0, 2), low, jump(JUMP_EQUAL, value_low, FAIL, 0)]
        }
        Operator::Greater | Operator::GreaterOrEqual => {
            let strict = condition.operator == Operator::Greater;
            vec![
                high,
                jump(JUMP_GREATER, value_high, 3, 0),
                jump(JUMP_EQUAL, value_high, 0, FAIL),
                low,
                jump(if strict { JUMP_GREATER } else { JUMP_GREATER_EQUAL }, value_low, 0, FAIL),
            ]
        }
        Operator::Less | Operator::LessOrEqual => {
            let strict = condition.operator == Operator::Less;
            vec![
                high,
                jump(JUMP_GREATER, value_high, FAIL, 0),
                jump(JUMP_EQUAL, value_high, 0, 2),
                low,
                jump(if strict { JUMP_GREATER_EQUAL } else { JUMP_GREATER }, value_low, FAIL, 0),
            ]
        }
        Operator::MaskedEqual(mask) => vec![
            high,
            Instruction { code: AND, if_true: 0, if_false: 0, value: (mask >> 32) as u32 },
            jump(JUMP_EQUAL, value_high, 0, FAIL),
            low,
            Instruction { code: AND, if_true: 0, if_false: 0, value: mask as u32 },
            jump(JUMP_EQUAL, value_low, 0, FAIL),
        ],
    }
}

fn load(offset: u32) -> Instruction {
    Instruction { code: LOAD, if_true: 0, if_false: 0, value: offset }
}

fn jump(code: u16, value: u32, if_true: u8, if_false: u8) -> Instruction {
    Instruction { code, if_true, if_false, value }
}

/// `linux/seccomp.h`, `SECCOMP_RET_*`.
fn give(action: Action) -> Instruction {
    let value = match action {
        Action::Allow => 0x7fff_0000,
        Action::Log => 0x7ffc_0000,
        Action::Trace(data) => 0x7ff0_0000 | u32::from(data),
        Action::Errno(errno) => 0x0005_0000 | u32::from(errno),
        Action::Trap => 0x0003_0000,
        Action::KillThread => 0,
        Action::KillProcess => 0x8000_0000,
    };
    Instruction { code: RETURN, if_true: 0, if_false: 0, value }
}
