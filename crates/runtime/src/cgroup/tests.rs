use std::fs;
use std::process::{Child, Command, Stdio};

use super::*;

const HYBRID: &str = "\
30 25 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
31 30 0:27 / /sys/fs/cgroup/unified rw,relatime shared:5 - cgroup2 cgroup2 rw
32 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw shared:6 - cgroup cgroup rw,cpu,cpuacct
33 30 0:29 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
34 30 0:30 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
35 30 0:29 / /elsewhere rw - cgroup cgroup rw,memory
";

#[test]
fn mounts_are_told_apart() {
    let trees = v1::mounted(HYBRID);
    let seen: Vec<(&str, String)> = trees.iter().map(|t| (t.dir.to_str().unwrap(), t.controllers.join("+"))).collect();
    assert_eq!(
        seen,
        [
            ("/sys/fs/cgroup/cpu,cpuacct", "cpu+cpuacct".to_owned()),
            ("/sys/fs/cgroup/memory", "memory".into()),
            ("/sys/fs/cgroup/systemd", "name=systemd".into()),
        ]
    );
    assert_eq!(v2::mounted(HYBRID), Some("/sys/fs/cgroup/unified".into()));
    let v1 = v1::Version1::new(trees, v2::mounted(HYBRID), "orlop/n".into()).unwrap();
    let view = v1.view("pod/c");
    assert_eq!(view.links, [("cpu".into(), "cpu,cpuacct".into()), ("cpuacct".into(), "cpu,cpuacct".into())]);
    let shown: Vec<&str> = view.binds.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(shown, ["cpu,cpuacct", "memory"], "as runc shows them");
    assert_eq!(v1.limitations().len(), 3, "pids, devices and cpuset are missing");
    assert!(v1::Version1::new(v1::mounted(""), None, String::new()).is_none());
}

/// A node root of this test's own.
struct Root(Arc<dyn Hierarchy>);

impl Root {
    fn new() -> Self {
        let name = format!("orlop-test-{}", orlop_base::id::suffix(8));
        Self(open(&name).unwrap())
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        let _ = self.0.remove("");
    }
}

fn enter(plan: &CgroupPlan, pid: u32) {
    let text = |c: &std::ffi::CString| c.to_str().unwrap().to_owned();
    for tasks in &plan.tasks {
        fs::write(text(tasks), pid.to_string()).unwrap();
    }
    if let Some(dir) = &plan.unified {
        fs::write(format!("{}/cgroup.procs", text(dir)), pid.to_string()).unwrap();
    }
}

fn sleeper() -> Child {
    Command::new("sleep").arg("1000").stdout(Stdio::null()).spawn().unwrap()
}

#[test]
fn groups_limit_count_and_go() {
    let root = Root::new();
    let limits = Resources {
        cpu_shares: Some(512),
        cpu_quota_us: Some(20_000),
        cpu_period_us: Some(100_000),
        memory_limit_bytes: Some(64 << 20),
        pids_limit: Some(10),
        ..Resources::default()
    };
    assert!(root.0.create("kube/pod/c").unwrap());
    assert!(!root.0.create("kube/pod/c").unwrap());
    root.0.apply("kube/pod/c", &limits, true).unwrap();
    root.0.seal("kube/pod/c", &DeviceRule::defaults()).unwrap();
    // Up, down and away again.
    for limit in [Some(128 << 20), Some(32 << 20), None] {
        root.0.apply("kube/pod/c", &Resources { memory_limit_bytes: limit, ..limits.clone() }, false).unwrap();
    }
    let mut child = sleeper();
    enter(&root.0.plan("kube/pod/c"), child.id());
    let stats = root.0.stats("kube/pod").unwrap();
    assert_eq!(stats.pids, 1);
    assert!(stats.unix_nanos > 0);
    root.0.remove("kube").unwrap();
    assert!(!child.wait().unwrap().success(), "removing a group kills what is in it");
    root.0.remove("kube").unwrap();
    assert!(root.0.stats("kube/pod").is_err());
}

#[test]
fn cpusets_are_made_when_asked_for() {
    let root = Root::new();
    root.0.create("pod/c").unwrap();
    let mut child = sleeper();
    enter(&root.0.plan("pod/c"), child.id());
    root.0.apply("pod/c", &Resources { cpuset_cpus: Some("0".into()), ..Resources::default() }, true).unwrap();
    let allowed = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    assert!(allowed.lines().any(|l| l.starts_with("Cpus_allowed_list:") && l.ends_with("\t0")), "{allowed}");
    root.0.remove("pod").unwrap();
    child.wait().unwrap();
}

/// The version 2 program works in any version 2 tree, controllers or not.
#[test]
fn device_rules_as_a_program() {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let unified = v2::mounted(&mounts).expect("this test needs a version 2 tree: mount -t cgroup2 none DIRECTORY");
    let dir = unified.join(format!("orlop-test-{}", orlop_base::id::suffix(8)));
    fs::create_dir(&dir).unwrap();
    let mut rules = DeviceRule::defaults();
    rules.retain(|rule| rule.minor != Some(5));
    rules.push(DeviceRule::new(devices::DeviceKind::Char, Some(1), Some(5), "r"));
    let cgroup = fs::File::open(&dir).unwrap();
    let attached = crate::sys::bpf::attach_device_program(std::os::fd::AsFd::as_fd(&cgroup), &devices::program(&rules));
    let script = format!(
        "echo $$ > {0}/cgroup.procs; cat /dev/null; echo null=$?; head -c1 /dev/zero >/dev/null; echo zero=$?; \
         (echo x > /dev/zero) 2>/dev/null; echo zero-write=$?; (cat /dev/kmsg </dev/kmsg) 2>/dev/null; echo kmsg=$?",
        dir.display()
    );
    let out = Command::new("sh").arg("-c").arg(script).output().unwrap();
    fs::remove_dir(&dir).unwrap();
    attached.unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..2], ["null=0", "zero=0"]);
    assert!(!lines[2].ends_with("=0") && !lines[3].ends_with("=0"), "{text}");
}

/// A version 2 tree with all controllers, which hybrid hosts cannot have: directories and files as the kernel
/// makes them, for what is written where.
#[test]
fn version_2_limits_are_written_where_they_belong() {
    let tree = tempfile::tempdir().unwrap();
    let dirs = ["", "orlop", "orlop/n", "orlop/n/kube", "orlop/n/kube/pod"];
    for dir in dirs.map(|dir| tree.path().join(dir)) {
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("cgroup.controllers"), "cpuset cpu io memory hugetlb pids\n").unwrap();
        fs::write(dir.join("cgroup.subtree_control"), "").unwrap();
    }
    let v2 = v2::Version2::new(tree.path().into(), "orlop/n".into()).unwrap();
    assert!(v2.limitations().is_empty());
    let leaf = tree.path().join("orlop/n/kube/pod/c");
    assert!(v2.create("kube/pod/c").unwrap() && !v2.create("kube/pod/c").unwrap() && leaf.is_dir());
    let control = |dir: &str| fs::read_to_string(tree.path().join(dir).join("cgroup.subtree_control")).unwrap();
    // Each write replaces the last here; the kernel adds.
    assert!(dirs.iter().all(|dir| control(dir).starts_with('+')), "given away on the whole way down");
    let files =
        ["cpu.weight", "cpu.max", "memory.max", "memory.swap.max", "pids.max", "cpuset.cpus", "hugetlb.2MB.max"];
    for file in files {
        fs::write(leaf.join(file), "").unwrap();
    }
    let written = |limits: &Resources, fresh: bool| {
        files.iter().for_each(|file| fs::write(leaf.join(file), "").unwrap());
        v2.apply("kube/pod/c", limits, fresh).unwrap();
        files.map(|file| fs::read_to_string(leaf.join(file)).unwrap())
    };
    let limits = Resources {
        cpu_shares: Some(1024),
        cpu_quota_us: Some(50_000),
        cpu_period_us: Some(100_000),
        memory_limit_bytes: Some(64 << 20),
        pids_limit: Some(10),
        cpuset_cpus: Some("0-1".into()),
        hugepages: [("hugepages-2Mi".to_owned(), 4 << 20)].into(),
        ..Resources::default()
    };
    assert_eq!(written(&limits, true), ["100", "50000 100000", "67108864", "0", "10", "0-1", "4194304"]);
    let shares = Resources { cpu_shares: Some(2), ..Resources::default() };
    assert_eq!(written(&shares, true), ["1", "", "", "", "", "", ""], "a fresh group has no limits to take away");
    assert_eq!(written(&shares, false), ["1", "max 100000", "max", "max", "", "", ""]);
    let plan = v2.plan("kube/pod/c");
    let oom = plan.oom.unwrap();
    assert!(oom.to_str().unwrap().ends_with("orlop/n/kube/pod/c/memory.events") && plan.tasks.is_empty());
}
