//! What the command is started with. Whatever can be prepared is prepared before we lead.

use std::{
    ffi::{CString, OsStr},
    os::unix::ffi::OsStrExt,
};

use nix::{errno::Errno, unistd::Pid};

use crate::{
    clock::Moment,
    leader_variables::{self, HOLDER, LeaderAround, RESOURCE, SLOT, SLOTS, TOKEN, WITHIN, shown},
    lease::FencingToken,
    lock::Slot,
    program::Program,
    sys::{
        inherited::Inherited,
        launch::{Image, Launch, Launched},
        strings::{CStringArray, c_string, environment},
    },
    systemd,
};

/// Variables that hold secrets of ours.
const SECRET: [&str; 2] = ["LEADERRUN_REDIS", "LEADERRUN_REDIS_BEFORE"];
/// Room for any process id.
const ANY_PID: &str = "0000000000";

/// Everything that exec needs, in the form that the kernel takes.
#[derive(Debug)]
pub(super) struct CommandSpec {
    program: Image,
    /// For a script without an interpreter line.
    shell: Image,
    env: CStringArray,
    /// How many of the variables are known before we lead.
    known_variables: usize,
    /// The leaders that the command runs under. The last is this one, whose token is known once we lead.
    within: Vec<LeaderAround>,
    /// Which variables name the command's process.
    names_command: Vec<usize>,
    inherited: Inherited,
    new_group: bool,
    has_slots: bool,
}

impl CommandSpec {
    /// Prepares the start of a program with the environment of this process, and with `resource`, `holder` and the leaders `around` us
    /// in it.
    /// Where systemd has told its service by a process id that something is for it, that id is the command's in place of
    /// `elector`'s.
    ///
    /// `has_slots`: the environment names the slot. `hide_notify_socket`: the environment doesn't name systemd's notify socket. `new_group`: the command gets a
    /// process group of its own.
    pub(super) fn new(
        program: &Program,
        (resource, holder, around): (&str, &str, &[LeaderAround]),
        has_slots: bool,
        hide_notify_socket: bool,
        elector: Pid,
        inherited: Inherited,
        new_group: bool,
    ) -> Self {
        let path = c_string(program.path.as_os_str());
        let args: Vec<CString> = program.args.iter().map(|a| c_string(a)).collect();
        let shell_args = [c"sh".to_owned(), path.clone()].into_iter().chain(args.iter().skip(1).cloned()).collect();
        let added = [(RESOURCE, resource), (HOLDER, holder)].map(|(name, value)| variable(name, value.as_ref()));
        let mut env: Vec<CString> = passed_on(hide_notify_socket).chain(added).collect();
        let names_command = name_command(&mut env, elector);
        let us = LeaderAround { resource: resource.to_owned(), holder: holder.to_owned(), token: FencingToken::ZERO };
        CommandSpec {
            program: Image { path, args: CStringArray::new(args) },
            shell: Image { path: c"/bin/sh".to_owned(), args: CStringArray::new(shell_args) },
            known_variables: env.len(),
            env: CStringArray::new(env),
            within: around.iter().cloned().chain([us]).collect(),
            names_command,
            inherited,
            new_group,
            has_slots,
        }
    }

    /// Forks and execs the command, unless `by` has passed when it would be exec'd: then the exec fails with ETIME.
    ///
    /// # Errors
    /// Those of pipe2(2), clone(2) and fork(2). A failed exec comes through [`Launched::exec`].
    pub(super) fn spawn(&mut self, slot: Slot, token: FencingToken, by: Option<Moment>) -> Result<Launched, Errno> {
        let of_slot = [(SLOT, slot.number), (SLOTS, slot.of)].into_iter().filter(|_| self.has_slots);
        let of_slot = of_slot.map(|(name, number)| variable(name, number.to_string().as_ref()));
        if let Some(us) = self.within.last_mut() {
            us.token = token;
        }
        let within = variable(WITHIN, shown(&self.within).as_ref());
        let token = variable(TOKEN, token.to_string().as_ref());
        // The others stay where they are: a copy, and its end, would touch memory that is shared with the elector until then.
        self.env.replace_after(self.known_variables, of_slot.chain([token, within]));
        let launch = Launch {
            program: &self.program,
            shell: &self.shell,
            env: &mut self.env,
            names_child: &self.names_command,
            inherited: &self.inherited,
            new_group: self.new_group,
            start_by: by.map(Moment::since_boot),
        };
        launch.start()
    }
}

/// Returns the variables of this process that the command gets as they are.
fn passed_on(hide_notify_socket: bool) -> impl Iterator<Item = CString> {
    // Another leaderrun around us may have set them.
    let socket: &[&str] = if hide_notify_socket { &systemd::VARIABLES } else { &[] };
    let is_hidden = move |name: &[u8]| {
        SECRET
            .iter()
            .chain(&leader_variables::ALL)
            .chain(socket)
            .chain(&systemd::PIDFD_VARIABLES)
            .any(|hidden| name == hidden.as_bytes())
    };
    environment()
        .into_iter()
        .filter(move |entry| !entry.as_bytes().split(|&b| b == b'=').next().is_some_and(&is_hidden))
}

/// Makes room for the command's process id in the variables that name `elector`. Returns which they are.
fn name_command(env: &mut [CString], elector: Pid) -> Vec<usize> {
    let ours = systemd::PID_VARIABLES.map(|name| (name, variable(name, elector.to_string().as_ref())));
    let mut changed = Vec::new();
    for (index, entry) in env.iter_mut().enumerate() {
        if let Some((name, _)) = ours.iter().find(|(_, ours)| ours == entry) {
            *entry = variable(name, ANY_PID.as_ref());
            changed.push(index);
        }
    }
    changed
}

fn variable(name: &str, value: &OsStr) -> CString {
    c_string(OsStr::from_bytes(&[name.as_bytes(), b"=", value.as_bytes()].concat()))
}
