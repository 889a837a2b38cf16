//! Forks the guard, and runs it from its options to its exit status.

use std::{ffi::CStr, io, os::fd::AsFd, time::Duration};

use anyhow::{Context, Result};
use nix::{
    errno::Errno,
    sys::{
        prctl::{set_child_subreaper, set_name},
        signal::Signal,
    },
    unistd::{ForkResult, Pid, getpid, getppid},
};

use super::{
    delivery::Delivery,
    elector_link::{ElectorEnd, ElectorLink},
    handle::ForkedGuard,
    namespace,
    orphaned::{GuardEnd, OrphanedLease},
    secrets::seal_memory,
    session::has_job_control,
    spawn::CommandSpec,
    supervisor::{self, GuardConfig},
    terminal::Terminal,
    tree::Tree,
    wakeups::Wakeups,
};
use crate::{
    event::Event,
    exit::Exit,
    leader_variables::LeaderAround,
    limits::{allow_few_processes, is_lack_of_descriptors, no_process},
    program::Program,
    report::Report,
    sys::{inherited::Inherited, launch, process::fork_with_one_thread, socket::PacketSocket, wait},
};

/// The guard's name, by which ps(1) and killall(1) tell it from the elector; the kernel keeps 15 bytes.
const NAME: &CStr = c"leaderrun-guard";

/// How many descriptors the guard opens from its fork until the command runs: its own, those of a lock, and a pipe.
const DESCRIPTORS: usize = 8;

/// What the guard is to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GuardOptions<'a> {
    pub program: &'a Program,
    pub resource: &'a str,
    pub holder: &'a str,
    /// The leaders that we run under.
    pub around: &'a [LeaderAround],
    /// Whether the command learns of its slot.
    pub has_slots: bool,
    /// Whether the command is kept from systemd's notify socket, which is ours.
    pub hide_notify_socket: bool,
    /// The signal that asks the command to stop.
    pub signal: Signal,
    /// The time between that signal and SIGKILL.
    pub kill_after: Duration,
    /// The same if the lease isn't lost.
    pub stop_timeout: Duration,
    /// Whether the guard gets a PID namespace of its own.
    pub pid_namespace: bool,
    pub report: &'a Report,
}

/// Forks the guard. Called while there is one thread and no runtime; in the guard it doesn't return.
///
/// `release` releases the lease of a dead elector, in the guard, and returns whether it is free now.
///
/// # Errors
/// What the system refuses or lacks: a process, a descriptor, /proc, a seal on our memory.
pub(crate) fn fork_guard(
    options: GuardOptions<'_>,
    release: impl FnOnce(OrphanedLease) -> bool,
) -> Result<ForkedGuard> {
    let inherited = Inherited::take_over().context("can't block signals")?;
    wait::probe().context("can't see children end (waitid(2) and wait4(2) are needed)")?;
    set_child_subreaper(true).context("can't become a subreaper (Linux 5.4 or newer is needed)")?;
    let terminal = Terminal::open().context("can't open /dev/tty")?;
    // The guard is PID 1 of a namespace, and the kernel kills all of it with the guard: nothing is left to be found.
    let tree = if options.pid_namespace { None } else { Some(Tree::open()?) };
    let strangers =
        tree.as_ref().map(Tree::children).transpose().context("can't list our children")?.unwrap_or_default();
    let (ours, guards) = PacketSocket::pair().context("can't make a socket pair")?;
    if options.pid_namespace {
        ours.receive_processes().context("can't learn process ids from another PID namespace")?;
    }
    has_room_for(DESCRIPTORS, &ours)?;
    let (elector, starter) = (getpid(), getppid());
    // A guard in a namespace can't see who started us. Any other looks itself, while the elector connects.
    let job_control = options.pid_namespace.then(|| has_job_control(starter));
    let forked = if options.pid_namespace {
        namespace::fork_into_new()?
    } else {
        fork_with_one_thread().map_err(no_process).context("can't start the guard process")?
    };
    // Not earlier: a process that makes a namespace must be able to write to its own /proc.
    let sealed = seal_memory();
    match forked {
        ForkResult::Parent { child } => {
            drop(guards);
            sealed?;
            if allow_few_processes() {
                launch::probe().map_err(no_process).context("no process can be forked to run the command")?;
            }
            Ok(ForkedGuard { pid: child, socket: ours, terminal, tree, strangers, inherited })
        }
        ForkResult::Child => {
            drop(ours);
            if sealed.is_err() {
                // The elector has found the same, and reports it.
                std::process::exit(Exit::Failure.status().into());
            }
            let job_control = job_control.unwrap_or_else(|| has_job_control(starter));
            let exit =
                supervise(options, (elector, job_control), inherited, terminal, ElectorLink::new(guards), release);
            std::process::exit(exit.status().into());
        }
    }
}

/// # Errors
/// This many descriptors more can't be opened.
fn has_room_for(number: usize, any: impl AsFd) -> Result<()> {
    let copies: io::Result<Vec<_>> = (0..number).map(|_| any.as_fd().try_clone_to_owned()).collect();
    let lacks = |error: &io::Error| error.raw_os_error().map(Errno::from_raw).is_some_and(is_lack_of_descriptors);
    copies.map(drop).map_err(|error| {
        let what =
            if lacks(&error) { "too few descriptors are left to start a command" } else { "can't copy a descriptor" };
        anyhow::Error::new(error).context(what)
    })
}

/// What the guard can't do without.
struct Equipment {
    terminal: Option<Terminal>,
    tree: Tree,
    wakeups: Wakeups,
}

impl Equipment {
    /// # Errors
    /// What the system refuses.
    fn open(elector: &ElectorLink, terminal: Option<Terminal>) -> Result<Self> {
        set_child_subreaper(true).context("can't become a subreaper")?;
        let terminal = terminal.map(Terminal::seen_by_guard).transpose().context("can't see our session")?;
        Ok(Equipment { terminal, tree: Tree::of_guard()?, wakeups: Wakeups::new(elector)? })
    }
}

/// Guards the command to its end. Returns the guard's exit status.
fn supervise(
    options: GuardOptions<'_>,
    (elector_pid, job_control): (Pid, bool),
    inherited: Inherited,
    terminal: Option<Terminal>,
    elector: ElectorLink,
    release: impl FnOnce(OrphanedLease) -> bool,
) -> Exit {
    let GuardOptions { program, resource, holder, around, has_slots, hide_notify_socket, signal, report, .. } = options;
    let _ = set_name(NAME);
    let Equipment { terminal, tree, wakeups } = match Equipment::open(&elector, terminal) {
        Ok(equipment) => equipment,
        Err(error) => {
            // Reported while the link is open: the elector kills a guard whose end it sees.
            report.error(Event::ProcessDied, format_args!("the guard ended: {error:#}"));
            return Exit::Failure;
        }
    };
    let end = supervisor::run(GuardConfig {
        elector,
        // Under a terminal the command stays in our process group; elsewhere it gets one of its own.
        spec: CommandSpec::new(
            program,
            (resource, holder, around),
            has_slots,
            hide_notify_socket,
            elector_pid,
            inherited,
            terminal.is_none(),
        ),
        delivery: Delivery::new(terminal, job_control),
        tree,
        wakeups,
        signal,
        kill_after: options.kill_after,
        stop_timeout: options.stop_timeout,
        report: report.clone(),
        command: program.name(),
    });
    conclude(end, options, release)
}

/// Releases a lease that is left to the guard, and reports why the guard has ended.
fn conclude(end: GuardEnd, options: GuardOptions<'_>, release: impl FnOnce(OrphanedLease) -> bool) -> Exit {
    let GuardOptions { program, report, .. } = options;
    match end {
        GuardEnd::Done => Exit::Command(0),
        GuardEnd::LeaseLeft(lease, end) => {
            let lease = if release(lease) { "released the lease" } else { "the lease runs out by itself" };
            let command = program.name();
            let end = match end {
                ElectorEnd::Died => "died".to_owned(),
                ElectorEnd::Unintelligible(errno) => format!("can't be understood ({})", errno.desc()),
            };
            let message = format_args!(
                "leaderrun's main process {end}; its guard killed {command} and all that it started; {lease}"
            );
            report.error(Event::ProcessDied, message);
            Exit::LeadershipLost
        }
    }
}
