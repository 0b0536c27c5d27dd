//! What a shim is told to do, every decision made: no name is looked up and no default filled in there,
//! save what only the container's own file system knows.

use std::ffi::CString;

use crate::wire::{wire_enum, wire_struct};

wire_struct! {
    /// The pod: its namespaces and what lives in them.
    pub struct SandboxPlan {
        pub id: String,
        pub hostname: String,
        pub host_network: bool,
        pub host_ipc: bool,
        /// One PID namespace for all containers, with a small process as its first.
        pub share_pid: bool,
        /// An empty file to mount the network namespace on.
        pub netns: Option<CString>,
        /// An empty directory for the pod's `/dev/shm`, unless it uses the host's.
        pub shm: Option<CString>,
        /// Files below `/proc/sys` and what to write there.
        pub sysctls: Vec<(CString, String)>,
        /// Where the shim itself goes.
        pub cgroup: CgroupPlan,
        /// An empty file to mount the shared PID namespace on.
        pub pidns: Option<CString>,
        pub users: Option<Users>,
    }
}

wire_struct! {
    /// How a process gets into its cgroups and what can be learnt and done there.
    pub struct CgroupPlan {
        /// v1 `tasks` files. Writing "0" there moves the writer without the global lock that
        /// `cgroup.procs` takes (kernel/cgroup/cgroup.c, `cgroup_procs_write_start`).
        pub tasks: Vec<CString>,
        /// v2 directory to be born in.
        pub unified: Option<CString>,
        /// File with an `oom_kill` line.
        pub oom: Option<CString>,
        /// `cgroup.kill`, or with v1 alone a `cgroup.procs` to read.
        pub kill: Option<CString>,
    }
}

wire_struct! {
    pub struct ContainerPlan {
        pub id: String,
        /// Where `started` and `exit` records are written.
        pub dir: CString,
        pub log: CString,
        pub tty: bool,
        pub stdin: bool,
        pub stdin_once: bool,
        pub pid: PidNamespace,
        pub cgroup: CgroupPlan,
        pub root: RootPlan,
        pub process: ProcessPlan,
        /// Runs it in our stead, from the bundle in `dir`.
        pub runtime: Option<RuntimePlan>,
        pub users: Option<Users>,
    }
}

wire_struct! {
    /// A user namespace: its users from 0 on are the host's from `first` on.
    pub struct Users {
        pub first: u32,
        pub length: u32,
    }
}

wire_struct! {
    /// An external OCI runtime.
    pub struct RuntimePlan {
        pub program: CString,
        /// Where it keeps its state.
        pub root: CString,
    }
}

wire_enum! {
    pub enum PidNamespace {
        Own = 0,
        Host = 1,
        /// The pod's, see [`SandboxPlan::share_pid`].
        Pod = 2,
        /// That of another container of the pod.
        Container { id: String } = 3,
    }
}

wire_struct! {
    pub struct RootPlan {
        /// Topmost first.
        pub lowers: Vec<CString>,
        pub upper: CString,
        pub work: CString,
        /// An empty directory to put it together on.
        pub target: CString,
        pub read_only: bool,
        /// In order.
        pub steps: Vec<RootStep>,
    }
}

wire_enum! {
    pub enum RootStep {
        /// A new file system.
        Filesystem {
            target: CString, kind: CString, options: Vec<(CString, Option<CString>)>, attributes: u32,
        } = 1,
        Bind { bind: BindPlan } = 2,
        Node { path: CString, mode: u32, device: u64, uid: u32, gid: u32 } = 3,
        Symlink { path: CString, target: CString } = 4,
        /// Makes a file or directory unreadable, if it exists.
        Mask { path: CString } = 5,
        /// Makes a subtree read-only, if it exists.
        ReadOnly { path: CString } = 6,
        /// Makes what is mounted at a path read-only.
        Seal { path: CString } = 7,
    }
}

wire_struct! {
    pub struct BindPlan {
        pub source: CString,
        pub target: CString,
        pub recursive: bool,
        pub read_only: bool,
        pub read_only_recursive: bool,
        /// `MS_PRIVATE`, `MS_SLAVE` or `MS_SHARED`.
        pub propagation: u64,
        /// More attributes for the new mount itself. `MOUNT_ATTR_IDMAP`: its files' owners are taken for users of the
        /// pod's namespace.
        pub attributes: u32,
    }
}

wire_struct! {
    /// A program and who runs it.
    pub struct ProcessPlan {
        pub args: Vec<CString>,
        pub env: Vec<CString>,
        pub cwd: CString,
        pub uid: u32,
        pub gid: u32,
        pub groups: Vec<u32>,
        /// Bounding, permitted and effective set.
        pub capabilities: u64,
        pub no_new_privileges: bool,
        /// A BPF program; empty for none.
        pub seccomp: Vec<u8>,
        /// Resource, soft and hard limit; clamped to what this process may set.
        pub rlimits: Vec<(u32, (u64, u64))>,
        pub oom_score_adj: Option<i32>,
    }
}

wire_struct! {
    pub struct ExecPlan {
        pub container: String,
        pub tty: bool,
        /// Which of the three standard streams come with the request, in order.
        pub streams: Vec<bool>,
        pub cgroup: CgroupPlan,
        pub process: ProcessPlan,
        /// The process as the container's external runtime takes it, JSON; else empty.
        pub process_json: String,
        pub users: Option<Users>,
    }
}
