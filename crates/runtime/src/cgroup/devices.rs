//! Which devices a container may use.

/// A rule of the allow list, as v1's `devices.allow` has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceRule {
    pub kind: DeviceKind,
    /// `None` is any.
    pub major: Option<u32>,
    pub minor: Option<u32>,
    pub read: bool,
    pub write: bool,
    pub make: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceKind {
    Char,
    Block,
}

impl DeviceRule {
    /// With permissions like `rwm`.
    pub fn new(kind: DeviceKind, major: Option<u32>, minor: Option<u32>, permissions: &str) -> Self {
        let has = |letter| permissions.contains(letter);
        Self { kind, major, minor, read: has('r'), write: has('w'), make: has('m') }
    }

    /// What every container may do: make any node, use the harmless ones and its own terminals
    /// (opencontainers/runtime-spec, "Default Devices"; runc's allowed devices).
    pub fn defaults() -> Vec<Self> {
        use DeviceKind::{Block, Char};
        let mut rules = vec![Self::new(Char, None, None, "m"), Self::new(Block, None, None, "m")];
        let usable = [
            (1, Some(3)),
            (1, Some(5)),
            (1, Some(7)),
            (1, Some(8)),
            (1, Some(9)),
            (5, Some(0)),
            (5, Some(2)),
            (136, None),
        ];
        rules.extend(usable.map(|(major, minor)| Self::new(Char, Some(major), minor, "rwm")));
        rules
    }

    /// A line for `devices.allow`.
    pub fn line(&self) -> String {
        let kind = if self.kind == DeviceKind::Char { 'c' } else { 'b' };
        let number = |n: Option<u32>| n.map_or_else(|| "*".to_owned(), |n| n.to_string());
        format!("{kind} {}:{} {}", number(self.major), number(self.minor), self.access())
    }

    /// Permissions like `rwm`.
    pub fn access(&self) -> String {
        let letters = [(self.read, 'r'), (self.write, 'w'), (self.make, 'm')];
        letters.into_iter().filter_map(|(on, letter)| on.then_some(letter)).collect()
    }
}

/// An eBPF instruction (`struct bpf_insn`).
fn instruction(code: u8, to: u8, from: u8, offset: i16, value: i32) -> u64 {
    u64::from_le_bytes({
        let (offset, value) = (offset.to_le_bytes(), value.to_le_bytes());
        [code, to | (from << 4), offset[0], offset[1], value[0], value[1], value[2], value[3]]
    })
}

/// The allow list as a program of type `BPF_PROG_TYPE_CGROUP_DEVICE`: v2 has no files for it. Its context is
/// `struct bpf_cgroup_dev_ctx { u32 access_type, major, minor }`, where `access_type` holds the kind of device
/// in its low half and the access wanted in its high half. Answers 1 to allow.
pub fn program(rules: &[DeviceRule]) -> Vec<u64> {
    const LOAD_32: u8 = 0x61; // BPF_LDX | BPF_MEM | BPF_W
    const AND: u8 = 0x54; // BPF_ALU | BPF_AND | BPF_K
    const SHIFT_RIGHT: u8 = 0x74; // BPF_ALU | BPF_RSH | BPF_K
    const SET: u8 = 0xb4; // BPF_ALU | BPF_MOV | BPF_K
    const COPY: u8 = 0xbc; // BPF_ALU | BPF_MOV | BPF_X
    const JUMP_NOT_EQUAL: u8 = 0x56; // BPF_JMP32 | BPF_JNE | BPF_K
    const JUMP_NOT_EQUAL_REGISTER: u8 = 0x5e; // BPF_JMP32 | BPF_JNE | BPF_X
    const EXIT: u8 = 0x95;
    // Register 2: kind. 3: access. 4: major. 5: minor. 1: the context, later scratch.
    let mut code = vec![
        instruction(LOAD_32, 2, 1, 0, 0),
        instruction(AND, 2, 0, 0, 0xffff),
        instruction(LOAD_32, 3, 1, 0, 0),
        instruction(SHIFT_RIGHT, 3, 0, 0, 16),
        instruction(LOAD_32, 4, 1, 4, 0),
        instruction(LOAD_32, 5, 1, 8, 0),
    ];
    for rule in rules {
        let kind = if rule.kind == DeviceKind::Block { 1 } else { 2 };
        let access = i32::from(rule.make) | i32::from(rule.read) << 1 | i32::from(rule.write) << 2;
        let mut tests = vec![(JUMP_NOT_EQUAL, 2, kind)];
        tests.extend(rule.major.map(|major| (JUMP_NOT_EQUAL, 4, major as i32)));
        tests.extend(rule.minor.map(|minor| (JUMP_NOT_EQUAL, 5, minor as i32)));
        // The jumps skip what remains of this rule: later tests, the three of the access, the two of the answer.
        for (at, (jump, register, value)) in tests.iter().enumerate() {
            let rest = tests.len() - at - 1 + 3 + 2;
            code.push(instruction(*jump, *register, 0, rest as i16, *value));
        }
        code.push(instruction(COPY, 1, 3, 0, 0));
        code.push(instruction(AND, 1, 0, 0, access));
        code.push(instruction(JUMP_NOT_EQUAL_REGISTER, 1, 3, 2, 0));
        code.push(instruction(SET, 0, 0, 0, 1));
        code.push(instruction(EXIT, 0, 0, 0, 0));
    }
    code.push(instruction(SET, 0, 0, 0, 0));
    code.push(instruction(EXIT, 0, 0, 0, 0));
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_as_the_kernel_reads_them() {
        let lines: Vec<String> = DeviceRule::defaults().iter().map(DeviceRule::line).collect();
        assert_eq!(&lines[..3], ["c *:* m", "b *:* m", "c 1:3 rwm"]);
        assert_eq!(lines[9], "c 136:* rwm");
        assert_eq!(DeviceRule::new(DeviceKind::Block, Some(8), None, "r").line(), "b 8:* r");
    }
}
