//! The second process. It owns the command and everything that the command starts, and keeps the deadline: whatever
//! happens to the elector (killed, stopped, hung), the tree is dead before the lease can be another's.
//!
//! ```text
//! leaderrun (elector)   tokio, the backend; the process that the caller waits for
//! └── guard             one thread, no runtime, no network while the elector lives
//!     └── command       with all its descendants, which come back to the guard when they are orphaned
//! ```

mod descriptors;
mod handle;
mod inherited;
mod namespace;
mod protocol;
mod secrets;
mod signals;
mod spawn;
mod supervisor;
mod terminal;
mod tree;
mod wakeups;

use std::ffi::OsString;

use anyhow::{Context, Result};
use nix::{
    errno::Errno,
    sys::prctl::set_child_subreaper,
    unistd::{ForkResult, execv, fork},
};

pub use self::{
    descriptors::let_go,
    handle::{ForkedGuard, GuardEvent, GuardHandle},
    inherited::Inherited,
    protocol::{Ending, GuardMessage, Order, Recipient},
    secrets::{hide_passwords, seal_memory},
    signals::{Signaled, end_self, stop_self},
};
use self::{
    protocol::Channel,
    spawn::CommandSpec,
    supervisor::{ElectorEnd, GuardEnd},
    terminal::Terminal,
    tree::Tree,
};
use crate::{backend, event::Event, exit::Exit, settings::Settings};

/// Forks the guard. Called while there is one thread and no runtime; in the guard it doesn't return.
///
/// # Errors
/// What the system refuses or lacks: a process, a descriptor, /proc.
pub fn fork_guard(settings: &Settings) -> Result<ForkedGuard> {
    let inherited = Inherited::take_over().context("can't block signals")?;
    set_child_subreaper(true).context("can't become a subreaper (Linux 5.4 or newer is needed)")?;
    let terminal = Terminal::open().context("can't open /dev/tty")?;
    // The kernel kills a namespace with its PID 1, which the guard is: what it leaves need not be found.
    let tree = if settings.pid_namespace { None } else { Some(Tree::open()?) };
    let strangers =
        tree.as_ref().map(Tree::children).transpose().context("can't list our children")?.unwrap_or_default();
    let (ours, guards) = Channel::pair().context("can't make a socket pair")?;
    let forked = if settings.pid_namespace {
        namespace::fork_into_new()?
    } else {
        // SAFETY: this process has one thread, so that the child may go on as an ordinary process.
        unsafe { fork() }.context("can't start the guard process")?
    };
    // Not before: who makes a namespace must be able to write to its own /proc.
    seal_memory();
    match forked {
        ForkResult::Parent { child } => {
            drop(guards);
            Ok(ForkedGuard { pid: child, channel: ours, terminal, tree, strangers, inherited })
        }
        ForkResult::Child => {
            drop(ours);
            let exit = keep_guard(settings, inherited, terminal, guards);
            std::process::exit(exit.status().into());
        }
    }
}

/// Becomes a leaderrun that was just started, with these arguments; returns only if that fails. What is open is close-on-exec,
/// and other threads are gone with it.
pub fn start_over(inherited: Inherited, arguments: &[OsString]) -> Errno {
    let arguments: Vec<_> = arguments.iter().map(|argument| spawn::c_string(argument)).collect();
    match inherited.give_back().and_then(|()| execv(c"/proc/self/exe", &arguments)) {
        Err(errno) => errno,
    }
}

fn keep_guard(settings: &Settings, inherited: Inherited, terminal: Option<Terminal>, channel: Channel) -> Exit {
    let kept = (|| {
        set_child_subreaper(true).context("can't become a subreaper")?;
        let tree = Tree::open()?;
        let spec = CommandSpec::new(settings, inherited, terminal.is_none());
        let config = supervisor::GuardConfig {
            channel,
            spec,
            terminal,
            tree,
            signal: settings.signal,
            kill_after: settings.times.kill_after(),
            report: settings.report.clone(),
            command: settings.program.name(),
        };
        supervisor::run(config)
    })();
    match kept {
        Ok(GuardEnd::Done) => Exit::Command(0),
        Ok(GuardEnd::LeaseLeft(leadership, end)) => {
            let success = settings.once_per.filter(|_| leadership.succeeded);
            let note = success.and_then(|once| once.success(&settings.holder, leadership.token, leadership.began));
            let released = backend::release_for_dead_elector(settings, leadership.release_key, note.as_ref());
            let lease = if released { "released the lease" } else { "the lease runs out by itself" };
            let command = settings.program.name();
            let end = match end {
                ElectorEnd::Died => "died".to_owned(),
                ElectorEnd::Unintelligible(errno) => format!("can't be understood ({})", errno.desc()),
            };
            let told = format_args!(
                "leaderrun's main process {end}; its guard killed {command} and all that it started; {lease}"
            );
            settings.report.error(Event::ProcessDied, told);
            Exit::LeadershipLost
        }
        Err(e) => {
            settings.report.error(Event::ProcessDied, format_args!("the guard ended: {e:#}"));
            Exit::Failure
        }
    }
}
