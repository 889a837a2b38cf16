//! One run: acquire, lead, conclude, release.

use std::{ffi::OsString, pin::pin};

use anyhow::{Context, Result};
use tokio::{runtime::Builder, task::yield_now};

use crate::{
    backend::{self, Backend},
    clock::Moment,
    conclude::{conclude, report_not_held},
    election::{self, ElectionEnd},
    event::Event,
    exit::Exit,
    guard::{self, Ending, ForkedGuard, Guard, GuardEvent, GuardHandle, GuardOptions, OrphanedLease},
    history::{EndedRun, RunResult},
    leadership::{self, LeadershipEnd, LeadershipOutcome},
    lock::{Lease, ReleaseOptions, Released, Slot},
    observer::Observer,
    once_per::Note,
    run_end::{RunEnd, exit_of, result_of_ending, run_of},
    settings::Settings,
    systemd::Service,
};

/// The outcome of trying to lead.
enum Acquired {
    Lease(Lease),
    /// The run is over.
    Nothing(RunEnd),
}

/// Forks the guard while there is one thread, competes for the lease, and runs the command once it is acquired.
/// `arguments`: those that leaderrun was started with, for `--rejoin`.
///
/// # Errors
/// What the system refuses.
pub(crate) fn run(settings: &Settings, arguments: &[OsString]) -> Result<Exit> {
    if settings.rejoin {
        guard::restore_name(arguments);
    }
    let forked = guard::fork_guard(guard_options(settings), |lease| release_orphaned(lease, settings))?;
    let inherited = forked.inherited;
    let runtime = Builder::new_current_thread().enable_all().build().context("can't start the event loop")?;
    let end = runtime.block_on(serve(settings, forked));
    // The process is about to end: dropping the runtime would only take time.
    std::mem::forget(runtime);
    if starts_over(settings, &end) {
        settings.report.info(Event::Rejoins, "stands by again (--rejoin)");
        // A guard is forked while there is one thread, so the program starts over.
        let errno = guard::start_over(inherited, arguments);
        return Err(errno).context("can't start over for --rejoin");
    }
    end.map(|end| end.exit(settings))
}

fn guard_options(settings: &Settings) -> GuardOptions<'_> {
    GuardOptions {
        program: &settings.program,
        resource: &settings.resource,
        holder: &settings.holder,
        around: &settings.around,
        has_slots: settings.slots.is_some(),
        hide_notify_socket: settings.ready_when.is_some(),
        signal: settings.signal,
        kill_after: settings.times.kill_after(),
        stop_timeout: settings.stop_timeout,
        pid_namespace: settings.pid_namespace,
        report: &settings.report,
    }
}

/// Releases the lease of a dead elector, in its guard, and records the run and the command's success with it. Returns whether
/// the lease is free.
fn release_orphaned(lease: OrphanedLease, settings: &Settings) -> bool {
    let (note, run) = (note_of_orphaned(&lease, settings), run_of_orphaned(&lease));
    backend::release_for_dead_elector(settings, lease.slot, lease.release_key, note.as_ref(), run)
}

/// Returns the run of a dead elector, which ends now.
pub(crate) fn run_of_orphaned(lease: &OrphanedLease) -> EndedRun {
    let result = lease.ending.map_or(RunResult::Failed, result_of_ending);
    EndedRun { token: lease.token, began: lease.began, ended: Moment::now(), is_end_seen: true, result }
}

/// Returns the note of a success whose elector is dead.
pub(crate) fn note_of_orphaned(lease: &OrphanedLease, settings: &Settings) -> Option<Note> {
    let once_per = settings.once_per.as_ref().filter(|_| lease.ending == Some(Ending::Code(0)));
    once_per.and_then(|once| once.success(&settings.holder, lease.token, lease.began))
}

/// Returns whether we stand by again after this.
fn starts_over(settings: &Settings, end: &Result<RunEnd>) -> bool {
    settings.rejoin && end.as_ref().is_ok_and(RunEnd::lost_leadership)
}

/// Competes and leads, and keeps systemd informed if it asks for that.
async fn serve(settings: &Settings, forked: ForkedGuard) -> Result<RunEnd> {
    let mut guard = GuardHandle::watch(forked)?;
    let Some(ready_when) = settings.ready_when else { return compete(settings, &mut guard).await };
    let (service, stopped) = Service::start(ready_when)?;
    settings.report.notify(service);
    let end = compete(settings, &mut guard).await;
    if !starts_over(settings, &end) {
        settings.report.notify_stopping();
        stopped.wait();
    }
    end
}

/// Competes, leads, concludes and releases.
///
/// # Errors
/// What the system refuses.
pub(crate) async fn compete(settings: &Settings, guard: &mut impl Guard) -> Result<RunEnd> {
    let mut backend = Backend::open(settings)?;
    if let Some(file) = backend.file() {
        // Two that use different files, such as under cron and in a session, can be told apart.
        settings.report.info(Event::LockFile, format_args!("the lock is {}", file.display()));
    }
    let end = match acquire(&mut backend, guard, settings).await? {
        Acquired::Lease(lease) => {
            let ended = lead(lease, &backend, guard, settings).await;
            let mut conclusion = conclude(&ended, &backend, guard, settings).await;
            conclusion.release.run = Some(run_of(&ended));
            let slot = ended.slot;
            let lets_another_lead = settings.rejoin && ended.outcome == LeadershipOutcome::SteppedDown;
            let released = release(&mut backend, guard, settings, conclusion.release, !lets_another_lead).await;
            conclusion.report_left_alone(released, settings);
            let end = RunEnd::Led { outcome: ended.outcome, not_recorded: conclusion.not_recorded };
            if lets_another_lead { wait_for_another(slot, end, guard, settings).await? } else { end }
        }
        Acquired::Nothing(end) => {
            release(&mut backend, guard, settings, ReleaseOptions::default(), true).await;
            end
        }
    };
    guard.end().await;
    Ok(end)
}

async fn acquire(backend: &mut Backend, guard: &mut impl Guard, settings: &Settings) -> Result<Acquired> {
    // Lets the runtime see the signals that have come before there was a guard: a lock on this machine takes no wait.
    yield_now().await;
    let acquired = tokio::select! {
        // Signals come first: nothing is started during a shutdown.
        biased;
        end = interrupted(guard, settings) => Ok(Acquired::Nothing(end)),
        elected = election::run(backend, settings) => elected.map(|end| match end {
            ElectionEnd::Elected(lease) => Acquired::Lease(lease),
            ElectionEnd::GaveUp(reason) => Acquired::Nothing(RunEnd::GaveUp(reason)),
        }),
    };
    settings.report.stop_waiting();
    acquired
}

async fn lead(lease: Lease, backend: &Backend, guard: &mut impl Guard, settings: &Settings) -> LeadershipEnd {
    let ended = leadership::run(lease, backend, guard, settings).await;
    let exit = exit_of(ended.outcome);
    if matches!(exit, Exit::Signal(_) | Exit::LeadershipLost | Exit::TimedOut | Exit::Failure) {
        guard.put_terminal_back();
    }
    let command = settings.program.name();
    settings.report.info_with(Event::Ended, &ended.details(), format_args!("{command} {}", ended.story()));
    ended
}

/// Releases what we hold. Once the requests are on their way, the guard has nothing left to do. With `dismiss_guard` it
/// ends while they are answered. Nothing is known of what isn't confirmed.
async fn release(
    backend: &mut Backend,
    guard: &impl Guard,
    settings: &Settings,
    options: ReleaseOptions,
    dismiss_guard: bool,
) -> Released {
    let mut release = pin!(backend.release(options));
    let released = tokio::select! {
        biased;
        released = &mut release => Some(released),
        () = yield_now() => None,
    };
    if dismiss_guard {
        guard.dismiss();
    }
    let released = match released {
        Some(released) => released,
        None => release.await,
    };
    let why = match released {
        Ok(released) => return released,
        Err(why) => why,
    };
    if options.hold.is_some() {
        report_not_held(&why, settings);
    } else {
        settings.report.info(Event::NotReleased, format_args!("{why}; what they hold runs out by itself"));
    }
    Released::default()
}

/// Lets another lead before we stand by again after a step-down. Waits a ttl at most: after that there is no other
/// candidate.
async fn wait_for_another(slot: Slot, end: RunEnd, guard: &mut impl Guard, settings: &Settings) -> Result<RunEnd> {
    let another_leads = async {
        let mut observer = Observer::open(&settings.backend, &settings.resource, settings.times, None)?;
        observer.turn_to(slot);
        observer.listen()?;
        observer.until(settings.times.ttl(), |seen| seen.active_leader().is_some()).await;
        Ok(end)
    };
    tokio::select! {
        biased;
        interrupted = interrupted(guard, settings) => Ok(interrupted),
        end = another_leads => end,
    }
}

/// Waits for what ends a standby at once: a signal that would end a command, or the guard's death.
async fn interrupted(guard: &mut impl Guard, settings: &Settings) -> RunEnd {
    loop {
        match guard.hear().await {
            GuardEvent::Signal(signal) if signal.ends_a_process() => {
                leadership::report_received(signal, &settings.report);
                return RunEnd::Interrupted(signal.number);
            }
            GuardEvent::Signal(signal) if signal.stops_a_process() => {
                settings.report.stop_waiting();
                guard::stop_self();
            }
            GuardEvent::GuardDied => {
                settings.report.error(Event::ProcessDied, "leaderrun's guard died; the command was not started");
                return RunEnd::GuardDied;
            }
            _ => {}
        }
    }
}
