//! Starting the command: fork, put back what is the command's, exec. What can be prepared is prepared before we lead.

use std::{
    ffi::{CStr, CString, OsStr},
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
};

use nix::{
    errno::Errno,
    fcntl::OFlag,
    libc,
    sys::signal::Signal,
    unistd::{ForkResult, Pid, fork, getpid, getppid, pipe2, setpgid, write},
};

use super::inherited::Inherited;
use crate::{clock::Moment, lease::FencingToken, settings::Settings, systemd};

/// Variables that hold secrets of ours.
const TAKEN_OUT: [&str; 1] = ["LEADERRUN_REDIS"];
/// Variables that the command gets; an older leaderrun around us may have set them.
const RESOURCE: &str = "LEADERRUN_RESOURCE";
const HOLDER: &str = "LEADERRUN_HOLDER";
const TOKEN: &str = "LEADERRUN_FENCING_TOKEN";

/// Everything that exec needs, in the form that the kernel takes.
#[derive(Debug)]
pub struct CommandSpec {
    path: CString,
    args: Vec<CString>,
    env: Vec<CString>,
    /// For a script without an interpreter line.
    shell: CString,
    shell_args: Vec<CString>,
    inherited: Inherited,
    /// Under a terminal the command stays in our process group; elsewhere it leads its own.
    own_group: bool,
}

/// A command that has been forked. It runs once `failure` is at its end.
#[derive(Debug)]
pub struct Spawned {
    pub pid: Pid,
    /// Gives the error number of a failed exec, or ends with a successful one.
    pub failure: OwnedFd,
}

impl CommandSpec {
    pub fn new(settings: &Settings, inherited: Inherited, own_group: bool) -> Self {
        let program = &settings.program;
        let path = c_string(program.path.as_os_str());
        let args: Vec<CString> = program.args.iter().map(|a| c_string(a)).collect();
        let replaced = [RESOURCE, HOLDER, TOKEN];
        let socket: &[&str] = if settings.ready_when.is_some() { &systemd::VARIABLES } else { &[] };
        let env = std::env::vars_os()
            .filter(|(name, _)| !TAKEN_OUT.iter().chain(&replaced).chain(socket).any(|n| name == n))
            .map(|(name, value)| variable(&name, &value))
            .chain([
                variable(OsStr::new(RESOURCE), OsStr::new(&settings.resource)),
                variable(OsStr::new(HOLDER), OsStr::new(&settings.holder)),
            ])
            .collect();
        let shell_args = [c"sh".to_owned(), path.clone()].into_iter().chain(args.iter().skip(1).cloned()).collect();
        CommandSpec { path, args, env, shell: c"/bin/sh".to_owned(), shell_args, inherited, own_group }
    }

    /// Forks and execs the command, unless `by` has passed when it would be exec'd: then the error is ETIME.
    ///
    /// # Errors
    /// Those of pipe2(2) and fork(2); a failed exec is told through [`Spawned::failure`].
    pub fn spawn(&mut self, token: FencingToken, by: Option<Moment>) -> Result<Spawned, Errno> {
        self.env.push(variable(OsStr::new(TOKEN), OsStr::new(&token.to_string())));
        let (failure, report) = pipe2(OFlag::O_CLOEXEC)?;
        let guard = getpid();
        let ready = ExecArguments {
            args: pointers(&self.args),
            shell_args: pointers(&self.shell_args),
            env: pointers(&self.env),
        };
        // SAFETY: the guard has one thread, and the child makes only async-signal-safe calls on what is prepared here.
        match unsafe { fork() }? {
            ForkResult::Parent { child } => {
                if self.own_group {
                    // Here as well as in the child, so that the group is there whoever runs first. It may have exec'd.
                    let _ = setpgid(child, child);
                }
                Ok(Spawned { pid: child, failure })
            }
            ForkResult::Child => {
                let errno = self.become_command(guard, &ready, by);
                let _ = write(&report, &(errno as i32).to_ne_bytes());
                // SAFETY: ends the child at once, without handlers or buffers of the guard.
                unsafe { libc::_exit(127) }
            }
        }
    }

    /// In the child: returns only if it failed.
    fn become_command(&self, guard: Pid, ready: &ExecArguments, by: Option<Moment>) -> Errno {
        if let Err(errno) = self.prepare(guard) {
            return errno;
        }
        // As late as can be: this process may have been stopped anywhere up to here.
        if by.is_some_and(|by| Moment::now() >= by) {
            return Errno::ETIME;
        }
        match exec(&self.path, &ready.args, &ready.env) {
            // execvp(3) and the shells run such a file as a script.
            Errno::ENOEXEC => exec(&self.shell, &ready.shell_args, &ready.env),
            errno => errno,
        }
    }

    fn prepare(&self, guard: Pid) -> Result<(), Errno> {
        if self.own_group {
            setpgid(Pid::from_raw(0), Pid::from_raw(0))?;
        }
        // The command dies with the guard (prctl(2), PR_SET_PDEATHSIG); a guard that died before this call sends nothing.
        nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
        if getppid() != guard {
            // SAFETY: as above.
            unsafe { libc::_exit(127) }
        }
        self.inherited.give_back()
    }
}

/// Null-terminated arrays of pointers into a [`CommandSpec`], made before the fork since making them allocates.
struct ExecArguments {
    args: Vec<*const libc::c_char>,
    shell_args: Vec<*const libc::c_char>,
    env: Vec<*const libc::c_char>,
}

fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect()
}

fn exec(path: &CStr, args: &[*const libc::c_char], env: &[*const libc::c_char]) -> Errno {
    // SAFETY: both arrays end with a null pointer, and the strings that they point into outlive the call.
    unsafe { libc::execve(path.as_ptr(), args.as_ptr(), env.as_ptr()) };
    Errno::last()
}

fn variable(name: &OsStr, value: &OsStr) -> CString {
    c_string(OsStr::from_bytes(&[name.as_bytes(), b"=", value.as_bytes()].concat()))
}

/// Arguments and variables came to us as C strings, and names of ours are checked: there is no NUL to cut at.
pub(super) fn c_string(text: &OsStr) -> CString {
    let bytes = text.as_bytes();
    let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    CString::new(&bytes[..end]).unwrap_or_default()
}

/// Reads what [`Spawned::failure`] has: the error number of a failed exec, or nothing at its end.
pub fn exec_error(failure: &OwnedFd) -> Option<Errno> {
    let mut number = [0; 4];
    match nix::unistd::read(failure, &mut number) {
        Ok(4) => Some(Errno::from_raw(i32::from_ne_bytes(number))),
        _ => None,
    }
}
