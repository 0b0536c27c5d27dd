use std::collections::BTreeMap;
use std::path::PathBuf;

use super::*;
use crate::cgroup::View;
use crate::plan::CgroupPlan;
use crate::spec::{self, Places, seccomp};
use crate::{ContainerConfig, Device, Mount, SandboxConfig, Seccomp, Security};

const CGROUP: CgroupPlan = CgroupPlan { tasks: Vec::new(), unified: None, oom: None, kill: None };

fn config_of(config: &ContainerConfig, sandbox: &SandboxConfig, pid_namespace: Option<&Path>) -> Value {
    let places = Places { dir: "/state/c1".into(), shm: "/run/shm".into() };
    let (plan, devices) = spec::container("c1", config, sandbox, &places, CGROUP, &View::default()).unwrap();
    let profile = seccomp::profile(&config.security.seccomp, plan.process.capabilities).unwrap();
    let beside = Beside {
        cgroups_path: "/orlop/n/pod/c1",
        resources: &config.resources,
        devices: devices.as_deref(),
        seccomp: profile.as_ref(),
        pid_namespace,
    };
    super::config(&plan, &beside)
}

fn web() -> ContainerConfig {
    ContainerConfig {
        rootfs_layers: vec!["/layer".into()],
        args: vec!["serve".into(), "-v".into()],
        env: vec![("A".into(), "1".into())],
        ..ContainerConfig::default()
    }
}

#[test]
fn a_bundle_says_what_the_plan_does() {
    let mut config = web();
    config.security = Security {
        uid: 33,
        gid: 34,
        supplemental_groups: vec![5],
        drop_capabilities: vec!["ALL".into()],
        add_capabilities: vec!["KILL".into()],
        read_only_rootfs: true,
        no_new_privileges: true,
        masked_paths: vec!["/proc/kcore".into()],
        readonly_paths: vec!["/proc/sys".into()],
        ..Security::default()
    };
    config.resources = Resources {
        cpu_shares: Some(102),
        cpu_quota_us: Some(50_000),
        cpu_period_us: Some(100_000),
        memory_limit_bytes: Some(64 << 20),
        pids_limit: Some(10),
        hugepages: BTreeMap::from([("2MB".into(), 4 << 20)]),
        ..Resources::default()
    };
    config.devices =
        vec![Device { container_path: "/dev/x".into(), host_path: "/dev/null".into(), permissions: "r".into() }];
    let value = config_of(&config, &SandboxConfig::default(), None);
    assert_eq!(value["root"], json!({ "path": "/state/c1/rootfs", "readonly": true }));
    let process = &value["process"];
    assert_eq!(process["user"], json!({ "uid": 33, "gid": 34, "additionalGids": [5] }));
    assert_eq!(process["args"], json!(["serve", "-v"]));
    assert!(process["env"].as_array().unwrap().contains(&json!("A=1")));
    for set in ["bounding", "effective", "permitted"] {
        assert_eq!(process["capabilities"][set], json!(["CAP_KILL"]), "{set}");
    }
    assert_eq!((&process["noNewPrivileges"], &process["terminal"]), (&json!(true), &json!(false)));
    let linux = &value["linux"];
    assert_eq!(linux["cgroupsPath"], "/orlop/n/pod/c1");
    assert_eq!(linux["maskedPaths"], json!(["/proc/kcore"]));
    assert_eq!(linux["readonlyPaths"], json!(["/proc/sys"]));
    let resources = &linux["resources"];
    assert_eq!(resources["cpu"], json!({ "shares": 102, "quota": 50_000, "period": 100_000 }));
    assert_eq!(resources["memory"], json!({ "limit": 64 << 20 }));
    assert_eq!(resources["pids"], json!({ "limit": 10 }));
    assert_eq!(resources["hugepageLimits"], json!([{ "pageSize": "2MB", "limit": 4 << 20 }]));
    let rules = resources["devices"].as_array().unwrap();
    assert_eq!(rules[0], json!({ "allow": false, "access": "rwm" }));
    assert_eq!(*rules.last().unwrap(), json!({ "allow": true, "type": "c", "major": 1, "minor": 3, "access": "r" }));
    let device = linux["devices"].as_array().unwrap().iter().find(|d| d["path"] == "/dev/x").unwrap();
    assert_eq!((&device["type"], &device["major"]), (&json!("c"), &json!(1)));
}

#[test]
fn mounts_are_in_order_and_say_how() {
    let mount = |path: &str, propagation: &str, read_only, recursive_read_only| Mount {
        container_path: path.into(),
        host_path: PathBuf::from("/"),
        read_only,
        recursive_read_only,
        propagation: propagation.into(),
    };
    let mut config = web();
    config.mounts = vec![
        mount("/a/b", "", true, false),
        mount("/a", "rslave", false, false),
        mount("/c", "", true, true),
        mount("/d", "rshared", false, false),
    ];
    let value = config_of(&config, &SandboxConfig::default(), None);
    let shown: Vec<String> = value["mounts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| {
            let options: Vec<&str> = m["options"].as_array().unwrap().iter().map(|o| o.as_str().unwrap()).collect();
            let (kind, to) = (m["type"].as_str().unwrap(), m["destination"].as_str().unwrap());
            format!("{kind} {to} {}", options.join(","))
        })
        .collect();
    assert_eq!(
        shown,
        [
            "proc /proc nosuid,nodev,noexec",
            "tmpfs /dev nosuid,mode=755,size=65536k",
            "sysfs /sys nosuid,nodev,noexec,ro",
            "cgroup /sys/fs/cgroup nosuid,noexec,nodev,relatime,ro",
            "devpts /dev/pts nosuid,noexec,mode=0620,ptmxmode=0666,gid=5",
            "mqueue /dev/mqueue nosuid,nodev,noexec",
            "bind /dev/shm bind,rw,rprivate,nosuid,nodev,noexec",
            "bind /a rbind,rw,rslave",
            "bind /c rbind,rro,rprivate",
            "bind /d rbind,rw,rshared",
            "bind /a/b rbind,ro,rprivate",
        ]
    );
    assert_eq!(value["linux"]["rootfsPropagation"], "rshared");
    config.mounts.clear();
    assert_eq!(config_of(&config, &SandboxConfig::default(), None)["linux"].get("rootfsPropagation"), None);
}

#[test]
fn pid_namespaces_are_named_as_asked() {
    let pid = |sandbox: &SandboxConfig, path: Option<&Path>| {
        let value = config_of(&web(), sandbox, path);
        let namespaces = value["linux"]["namespaces"].as_array().unwrap().clone();
        namespaces.into_iter().find(|n| n["type"] == "pid")
    };
    let mut sandbox = SandboxConfig::default();
    assert_eq!(pid(&sandbox, None), Some(json!({ "type": "pid" })));
    sandbox.share_pid = true;
    assert_eq!(pid(&sandbox, Some(Path::new("/run/pidns"))), Some(json!({ "type": "pid", "path": "/run/pidns" })));
    sandbox.host.pid = true;
    assert_eq!(pid(&sandbox, None), None);
}

#[test]
fn privilege_is_every_device_and_no_filter() {
    let mut config = web();
    config.security.privileged = true;
    let value = config_of(&config, &SandboxConfig::default(), None);
    assert_eq!(value["linux"]["resources"]["devices"], json!([{ "allow": true, "access": "rwm" }]));
    assert_eq!(value["linux"].get("seccomp"), None);
    config.security = Security { seccomp: Seccomp::RuntimeDefault, ..Security::default() };
    let filter = config_of(&config, &SandboxConfig::default(), None)["linux"]["seccomp"].clone();
    assert_eq!((&filter["defaultAction"], &filter["defaultErrnoRet"]), (&json!("SCMP_ACT_ERRNO"), &json!(1)));
    // What is written is what a profile's reader understands.
    let read = seccomp::Profile::parse(filter.to_string().as_bytes()).unwrap();
    assert!(read.x86 && read.rules.len() > 3);
}

#[test]
fn reasons_are_found_in_logs() {
    let log = r#"{"level":"warning","msg":"no"}
not json
{"level":"error","msg":"runc create failed: exec: \"x\": not found\n","time":"t"}
"#;
    assert_eq!(reason(log).as_deref(), Some("runc create failed: exec: \"x\": not found"));
    assert_eq!(reason("exec: \"x\": not found"), None);
}
