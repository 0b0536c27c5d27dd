use std::process::Command;

use super::compile::{Instruction, assemble};
use super::profile::Profile;
use super::*;
use crate::spec::capabilities::bit;

const ALLOW: u32 = 0x7fff_0000;
const EPERM: u32 = 0x0005_0001;
const ENOSYS: u32 = 0x0005_0000 + libc::ENOSYS as u32;
const KILL: u32 = 0x8000_0000;
const X86_64: u32 = 0xc000_003e;
const I386: u32 = 0x4000_0003;

/// Runs a program as the kernel would.
fn judge(program: &[Instruction], arch: u32, number: u32, arguments: [u64; 6]) -> u32 {
    let mut data = vec![number, arch, 0, 0];
    data.extend(arguments.iter().flat_map(|a| [*a as u32, (*a >> 32) as u32]));
    let (mut at, mut accumulator) = (0, 0);
    loop {
        let i = program[at];
        at += 1;
        let go = |holds: bool| usize::from(if holds { i.if_true } else { i.if_false });
        match i.code {
            0x20 => accumulator = data[i.value as usize / 4],
            0x54 => accumulator &= i.value,
            0x05 => at += i.value as usize,
            0x15 => at += go(accumulator == i.value),
            0x25 => at += go(accumulator > i.value),
            0x35 => at += go(accumulator >= i.value),
            0x06 => return i.value,
            other => panic!("instruction {other:#x}"),
        }
    }
}

fn default_program(capabilities: &[&str]) -> Vec<Instruction> {
    let set = capabilities.iter().map(|name| bit(name).unwrap()).fold(0, |a, b| a | b);
    assemble(&default::profile(set)).unwrap()
}

#[test]
fn the_default_profile_judges_as_others_do() {
    let plain = default_program(&[]);
    let call = |program: &[Instruction], number: i64, first: u64| {
        judge(program, X86_64, number as u32, [first, 0, 0, 0, 0, 0])
    };
    for (number, first, want) in [
        (libc::SYS_read, 0, ALLOW),
        (libc::SYS_openat, 0, ALLOW),
        (libc::SYS_mount, 0, EPERM),
        (libc::SYS_unshare, 0, EPERM),
        (libc::SYS_io_uring_setup, 0, EPERM),
        (libc::SYS_keyctl, 0, EPERM),
        (libc::SYS_clone3, 0, ENOSYS),
        (libc::SYS_clone, libc::CLONE_VM as u64, ALLOW),
        (libc::SYS_clone, libc::CLONE_NEWUSER as u64, EPERM),
        (libc::SYS_personality, 0x2_0008, ALLOW),
        (libc::SYS_personality, 0x4_0000, EPERM),
        (libc::SYS_socket, libc::AF_INET as u64, ALLOW),
        (libc::SYS_socket, libc::AF_ALG as u64, EPERM),
        (libc::SYS_socket, libc::AF_VSOCK as u64, EPERM),
        (100_000, 0, EPERM),
    ] {
        assert_eq!(call(&plain, number, first), want, "call {number} of {first:#x}");
    }
    assert_eq!(judge(&plain, I386, 102, [0; 6]), ALLOW, "socketcall");
    assert_eq!(judge(&plain, I386, 21, [0; 6]), EPERM, "mount");
    assert_eq!(judge(&plain, X86_64, 0x4000_0000, [0; 6]), EPERM, "x32");
    assert_eq!(judge(&plain, 0xc000_00b7, 0, [0; 6]), KILL, "another architecture");
    let admin = default_program(&["SYS_ADMIN"]);
    for number in [libc::SYS_mount, libc::SYS_clone3, libc::SYS_setns] {
        assert_eq!(call(&admin, number, 0), ALLOW);
    }
    assert_eq!(call(&admin, libc::SYS_clone, libc::CLONE_NEWUSER as u64), ALLOW);
    assert!(plain.len() < 700, "{} instructions", plain.len());
}

#[test]
fn every_comparison_on_both_halves() {
    let values = [0, 1, 5, 6, u64::from(u32::MAX), 1 << 32, (1 << 32) + 5, (5 << 32) + 5, u64::MAX];
    let holds: [(&str, fn(u64, u64) -> bool); 6] = [
        ("NE", |a, b| a != b),
        ("LT", |a, b| a < b),
        ("LE", |a, b| a <= b),
        ("EQ", |a, b| a == b),
        ("GE", |a, b| a >= b),
        ("GT", |a, b| a > b),
    ];
    let program = |op: &str, value: u64, two: u64| {
        let text = format!(
            r#"{{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{{"names":["read"],"action":"SCMP_ACT_ALLOW",
               "args":[{{"index":2,"value":{value},"valueTwo":{two},"op":"SCMP_CMP_{op}"}}]}}]}}"#
        );
        assemble(&Profile::parse(text.as_bytes()).unwrap()).unwrap()
    };
    let ask = |program: &[Instruction], value| judge(program, X86_64, 0, [0, 0, value, 0, 0, 0]) == ALLOW;
    for value in values {
        for (op, holds) in holds {
            let program = program(op, value, 0);
            for argument in values {
                assert_eq!(ask(&program, argument), holds(argument, value), "{argument:#x} {op} {value:#x}");
            }
        }
        let mask = (1 << 32) | 4;
        let program = program("MASKED_EQ", mask, value & mask);
        for argument in values {
            assert_eq!(ask(&program, argument), argument & mask == value & mask);
        }
    }
}

#[test]
fn profiles_of_users() {
    let text = br#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86_64"],"syscalls":[
        {"names":["chmod","nonsense"],"action":"SCMP_ACT_ERRNO","errnoRet":2},
        {"name":"mkdir","action":"SCMP_ACT_KILL_PROCESS"},
        {"names":["socket"],"action":"SCMP_ACT_ERRNO","args":[
            {"index":0,"value":1,"op":"SCMP_CMP_EQ"},{"index":0,"value":2,"op":"SCMP_CMP_EQ"}]}]}"#;
    let program = assemble(&Profile::parse(text).unwrap()).unwrap();
    let call = |number: i64, first| judge(&program, X86_64, number as u32, [first, 0, 0, 0, 0, 0]);
    assert_eq!(call(libc::SYS_chmod, 0), 0x0005_0002);
    assert_eq!(call(libc::SYS_mkdir, 0), KILL);
    assert_eq!([1, 2, 3].map(|family| call(libc::SYS_socket, family)), [EPERM, EPERM, ALLOW]);
    assert_eq!(judge(&program, I386, 0, [0; 6]), KILL, "not among its architectures");
    for (bad, why) in [
        (r#"{"defaultAction":"SCMP_ACT_NOTIFY"}"#, "not supported"),
        (r#"{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/x"}"#, "not supported"),
        ("{}", "missing field"),
    ] {
        assert!(Profile::parse(bad.as_bytes()).unwrap_err().contains(why));
    }
    let missing = program_of(&Seccomp::Localhost("/nowhere.json".into())).unwrap_err().to_string();
    assert_eq!(missing, "cannot load seccomp profile \"/nowhere.json\": open /nowhere.json: no such file or directory");
}

fn program_of(seccomp: &Seccomp) -> Result<Vec<u8>> {
    program(seccomp, 0)
}

/// The kernel takes the program and obeys it.
#[test]
fn a_real_process_under_the_default_profile() {
    use std::os::unix::process::CommandExt;
    let filter = program_of(&Seccomp::RuntimeDefault).unwrap();
    let mut command = Command::new("/bin/busybox");
    command.args(["sh", "-c", "unshare -m true; echo unshare=$?; ls / >/dev/null && echo ls"]);
    // SAFETY: only system calls, on memory that exists before the fork.
    unsafe { command.pre_exec(move || crate::sys::process::set_seccomp(&filter)) };
    let out = command.output().unwrap();
    assert_eq!(String::from_utf8_lossy(&out.stdout), "unshare=1\nls\n", "{}", String::from_utf8_lossy(&out.stderr));
}
