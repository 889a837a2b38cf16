//! What the command is started with. Whatever can be prepared is prepared before we lead.

use std::{
    ffi::{CString, OsStr, OsString},
    os::unix::ffi::OsStrExt,
};

use nix::errno::Errno;

use crate::{
    clock::Moment,
    lease::FencingToken,
    program::Program,
    sys::{
        inherited::Inherited,
        launch::{Image, Launch, Launched},
        strings::{CStringArray, c_string},
    },
    systemd,
};

/// Variables that hold secrets of ours.
const SECRET: [&str; 1] = ["LEADERRUN_REDIS"];
/// Variables that the command gets; an older leaderrun around us may have set them.
const RESOURCE: &str = "LEADERRUN_RESOURCE";
const HOLDER: &str = "LEADERRUN_HOLDER";
const TOKEN: &str = "LEADERRUN_FENCING_TOKEN";

/// Everything that exec needs, in the form that the kernel takes.
#[derive(Debug)]
pub(super) struct CommandSpec {
    program: Image,
    /// For a script without an interpreter line.
    shell: Image,
    env: CStringArray,
    inherited: Inherited,
    own_group: bool,
}

impl CommandSpec {
    /// Prepares the start of a program with the environment of this process, and with `resource` and `holder` in it.
    ///
    /// `hide_notify_socket`: the environment doesn't name systemd's notify socket. `own_group`: the command leads a
    /// process group.
    pub(super) fn new(
        program: &Program,
        resource: &str,
        holder: &str,
        hide_notify_socket: bool,
        inherited: Inherited,
        own_group: bool,
    ) -> Self {
        let path = c_string(program.path.as_os_str());
        let args: Vec<CString> = program.args.iter().map(|a| c_string(a)).collect();
        let shell_args = [c"sh".to_owned(), path.clone()].into_iter().chain(args.iter().skip(1).cloned()).collect();
        let added =
            [(RESOURCE, resource), (HOLDER, holder)].map(|(name, value)| variable(name.as_ref(), value.as_ref()));
        CommandSpec {
            program: Image { path, args: CStringArray::new(args) },
            shell: Image { path: c"/bin/sh".to_owned(), args: CStringArray::new(shell_args) },
            env: CStringArray::new(passed_on(hide_notify_socket).chain(added).collect()),
            inherited,
            own_group,
        }
    }

    /// Forks and execs the command, unless `by` has passed when it would be exec'd: then the exec fails with ETIME.
    ///
    /// # Errors
    /// Those of pipe2(2) and fork(2). A failed exec comes through [`Launched::exec`].
    pub(super) fn spawn(&self, token: FencingToken, by: Option<Moment>) -> Result<Launched, Errno> {
        let env = self.env.with(variable(TOKEN.as_ref(), token.to_string().as_ref()));
        let launch = Launch {
            program: &self.program,
            shell: &self.shell,
            env: &env,
            inherited: &self.inherited,
            own_group: self.own_group,
            start_by: by.map(Moment::since_boot),
        };
        launch.start()
    }
}

/// Returns the variables of this process that the command gets as they are.
fn passed_on(hide_notify_socket: bool) -> impl Iterator<Item = CString> {
    let ours = [RESOURCE, HOLDER, TOKEN];
    let socket: &[&str] = if hide_notify_socket { &systemd::VARIABLES } else { &[] };
    let is_hidden = move |name: &OsString| SECRET.iter().chain(&ours).chain(socket).any(|hidden| name == hidden);
    std::env::vars_os().filter(move |(name, _)| !is_hidden(name)).map(|(name, value)| variable(&name, &value))
}

fn variable(name: &OsStr, value: &OsStr) -> CString {
    c_string(OsStr::from_bytes(&[name.as_bytes(), b"=", value.as_bytes()].concat()))
}
