//! An external runtime's program, run once for each step of a container's life, in the container's bundle.

use std::convert::Infallible;
use std::ffi::{CStr, CString, OsStr};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::UnmountFlags;
use rustix::process::Signal;

use super::console;
use crate::init::{self, Context, Stdio, cause};
use crate::plan::{ContainerPlan, ExecPlan, RootPlan, RuntimePlan};
use crate::sys::process::{self, Cloned};

/// Of a runtime's log, the end: the error comes last.
const LOG_BYTES_MAX: usize = 3 << 10;
/// Runtimes look for helpers of their own.
const ENVIRONMENT: &CStr = c"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A container that an external runtime runs.
#[derive(Clone)]
pub struct External {
    id: CString,
    runtime: RuntimePlan,
    bundle: PathBuf,
    root: CString,
}

/// What the runtime leaves in the bundle for us.
#[derive(Clone)]
pub struct Files {
    pid: CString,
    log: CString,
    console: CString,
    process: CString,
}

/// A step that was begun: the program's process, and where a terminal will come from.
pub struct Begun {
    pub pid: i32,
    pub console: Option<OwnedFd>,
    pub files: Files,
}

impl External {
    pub fn of(plan: &ContainerPlan) -> Result<Option<Self>, String> {
        let Some(runtime) = plan.runtime.clone() else { return Ok(None) };
        let id = CString::new(plan.id.as_str()).map_err(|e| e.to_string())?;
        let bundle = OsStr::from_bytes(plan.dir.to_bytes()).into();
        Ok(Some(Self { id, runtime, bundle, root: plan.root.target.clone() }))
    }

    /// Everything but the program itself. The root file system has to be in sight only until this is over.
    pub fn create(&self, plan: &ContainerPlan, context: Context) -> Result<Begun, String> {
        let files = Files::named("oci");
        let console = self.console(&files, plan.tty)?;
        let mut arguments = vec![c"--bundle", c".", c"--pid-file", &files.pid];
        if console.is_some() {
            arguments.extend([c"--console-socket", &files.console]);
        }
        let pid = self.run(&files, c"create", &arguments, &[], Some(&plan.root), Some(context))?;
        Ok(Begun { pid, console, files })
    }

    /// Leaves the root file system to the container alone.
    pub fn let_go_of_root(&self) {
        let _ = rustix::mount::unmount(&self.root, UnmountFlags::DETACH);
    }

    pub fn start(&self) -> Result<Begun, String> {
        self.simple("start", &[], &[])
    }

    pub fn kill(&self, signal: i32) -> Result<Begun, String> {
        self.simple("kill", &[], &[signal.to_string()])
    }

    pub fn delete(&self) -> Result<Begun, String> {
        self.simple("delete", &[c"--force"], &[])
    }

    /// One more process, detached. `number` tells it from others of the same time.
    pub fn exec(&self, plan: &ExecPlan, number: u32, context: Context) -> Result<Begun, String> {
        let files = Files::named(&format!("exec-{number}"));
        let console = self.console(&files, plan.tty)?;
        std::fs::write(self.path(&files.process), &plan.process_json)
            .map_err(|e| format!("write the process: {}", cause(&e)))?;
        let mut arguments = vec![c"--detach", c"--process", &files.process, c"--pid-file", &files.pid];
        if console.is_some() {
            arguments.extend([c"--console-socket", &files.console]);
        }
        let pid = self.run(&files, c"exec", &arguments, &[], None, Some(context))?;
        Ok(Begun { pid, console, files })
    }

    /// Number of the process that a step was to leave.
    pub fn pid(&self, files: &Files) -> Option<i32> {
        std::fs::read_to_string(self.path(&files.pid)).ok()?.trim().parse().ok()
    }

    /// What the runtime logged, for the agent to find the reason in.
    pub fn log(&self, files: &Files) -> String {
        let log = std::fs::read(self.path(&files.log)).unwrap_or_default();
        String::from_utf8_lossy(&log[log.len().saturating_sub(LOG_BYTES_MAX)..]).into_owned()
    }

    pub fn remove_files(&self, files: &Files) {
        for name in [&files.pid, &files.log, &files.console, &files.process] {
            let _ = std::fs::remove_file(self.path(name));
        }
    }

    fn path(&self, name: &CStr) -> PathBuf {
        self.bundle.join(OsStr::from_bytes(name.to_bytes()))
    }

    fn console(&self, files: &Files, tty: bool) -> Result<Option<OwnedFd>, String> {
        let listen = || console::listen(&self.bundle, &files.console);
        tty.then(listen).transpose().map_err(|e| format!("listen for the terminal: {}", cause(&e)))
    }

    fn simple(&self, verb: &str, arguments: &[&CStr], last: &[String]) -> Result<Begun, String> {
        let files = Files::named(verb);
        let c = |text: &str| CString::new(text).map_err(|e| e.to_string());
        let last = last.iter().map(|text| c(text)).collect::<Result<Vec<CString>, String>>()?;
        let pid = self.run(&files, &c(verb)?, arguments, &last, None, None)?;
        Ok(Begun { pid, console: None, files })
    }

    /// `program --root … --log … VERB ARGUMENTS ID LAST`.
    fn run(
        &self,
        files: &Files,
        verb: &CStr,
        arguments: &[&CStr],
        last: &[CString],
        root: Option<&RootPlan>,
        context: Option<Context>,
    ) -> Result<i32, String> {
        // An older run's error must not be taken for this one's.
        let _ = std::fs::remove_file(self.path(&files.log));
        let RuntimePlan { program, root: state } = &self.runtime;
        let global = [program, c"--root", state, c"--log", &files.log, c"--log-format", c"json", verb];
        let words = global.iter().chain(arguments).copied().chain([self.id.as_c_str()]);
        let command: Vec<CString> = words.map(CString::from).chain(last.iter().cloned()).collect();
        // SAFETY: a shim has one thread.
        match unsafe { process::fork(0, None) } {
            Ok(Cloned::Parent { child }) => Ok(child),
            Ok(Cloned::Child) => {
                let (sync, stdio) = context.map_or((None, Stdio::Terminal), |c| (Some(c.sync), c.stdio));
                init::finish(sync.as_ref(), self.become_program(&command, root, stdio))
            }
            Err(error) => Err(format!("fork: {}", cause(&error))),
        }
    }

    fn become_program(&self, command: &[CString], root: Option<&RootPlan>, stdio: Stdio) -> Result<Infallible, String> {
        let doing = |what: &'static str| move |e: std::io::Error| format!("{what}: {}", cause(&e));
        let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
        process::reset_signals();
        if let Some(root) = root {
            init::mount_root(root)?;
        }
        rustix::process::chdir(&self.bundle).map_err(|e| doing("enter the bundle")(e.into()))?;
        let streams = match stdio {
            // It makes the terminal itself.
            Stdio::Terminal => [None, None, None],
            Stdio::Pipes(streams) => streams,
        };
        let null = rustix::fs::openat(CWD, c"/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
            .map_err(|e| doing("open /dev/null")(e.into()))?;
        for (number, stream) in streams.iter().enumerate() {
            init::set_standard(stream.as_ref().unwrap_or(&null), number).map_err(doing("connect standard streams"))?;
        }
        process::close_on_exec_from(3).map_err(doing("close descriptors"))?;
        let error = process::exec(&self.runtime.program, command, &[ENVIRONMENT.into()]);
        Err(format!("exec {}: {}", self.runtime.program.to_string_lossy(), cause(&error)))
    }
}

impl Files {
    fn named(name: &str) -> Self {
        let file = |end: &str| CString::new(format!("{name}.{end}")).unwrap_or_default();
        Self { pid: file("pid"), log: file("log"), console: file("console"), process: file("process") }
    }
}
