//! One run: acquire, lead, conclude, release.

use std::{ffi::OsString, pin::pin};

use anyhow::{Context, Result};
use nix::{libc::SIGINT, sys::signal::Signal};
use tokio::{runtime::Builder, task::yield_now};

use crate::{
    backend::Backend,
    conclude::conclude,
    election::{self, Elected},
    event::Event,
    exit::Exit,
    guard::{self, ForkedGuard, GuardEvent, GuardHandle},
    leadership,
    lock::{Lease, ReleaseOptions},
    observer::Observer,
    settings::Settings,
    systemd::Service,
};

/// Forks the guard while there is one thread, competes for the lease, and runs the command where it is won. `arguments`: those
/// that leaderrun was started with, for `--rejoin`.
///
/// # Errors
/// What the system refuses.
pub fn run(settings: &Settings, arguments: &[OsString]) -> Result<Exit> {
    let forked = guard::fork_guard(settings)?;
    let inherited = forked.inherited;
    let runtime = Builder::new_current_thread().enable_all().build().context("can't start the event loop")?;
    let exit = runtime.block_on(serve(settings, forked));
    // The process ends: taking the runtime apart would only take time.
    std::mem::forget(runtime);
    if starts_over(settings, &exit) {
        settings.report.info(Event::Rejoins, "stands by again (--rejoin)");
        // A guard is forked where there is one thread: from a new start.
        let errno = guard::start_over(inherited, arguments);
        return Err(errno).context("can't start over for --rejoin");
    }
    exit
}

/// Whether we stand by again after this.
fn starts_over(settings: &Settings, exit: &Result<Exit>) -> bool {
    settings.rejoin && matches!(exit, Ok(Exit::LeadershipLost))
}

/// Competes and leads, and tells systemd where it wants to know.
async fn serve(settings: &Settings, forked: ForkedGuard) -> Result<Exit> {
    let Some(ready_when) = settings.ready_when else { return acquire_and_lead(settings, forked).await };
    let (service, stopped) = Service::start(ready_when)?;
    settings.report.notify(service);
    let exit = acquire_and_lead(settings, forked).await;
    if !starts_over(settings, &exit) {
        settings.report.notify_stopping();
        stopped.wait();
    }
    exit
}

async fn acquire_and_lead(settings: &Settings, forked: ForkedGuard) -> Result<Exit> {
    let mut guard = GuardHandle::watch(forked)?;
    let mut backend = Backend::open(settings)?;
    let exit = match acquire(&mut backend, &mut guard, settings).await? {
        Elected::Leader(lease) => lead(lease, &mut backend, &mut guard, settings).await?,
        Elected::Over(exit) => {
            release(&mut backend, &guard, settings, ReleaseOptions::default(), true).await;
            exit
        }
    };
    guard.kill();
    if exit == Exit::Signal(SIGINT) && guard.shares_group() {
        // A shell breaks off its script after ^C only if what it ran was ended by it.
        guard::end_self(Signal::SIGINT);
    }
    Ok(exit)
}

async fn acquire(backend: &mut Backend, guard: &mut GuardHandle, settings: &Settings) -> Result<Elected> {
    let elected = tokio::select! {
        // A signal that is there first is heeded first: nothing is started at a shutdown.
        biased;
        exit = interrupted(guard, settings) => Ok(Elected::Over(exit)),
        elected = election::run(backend, settings) => elected,
    };
    settings.report.stop_waiting();
    elected
}

async fn lead(lease: Lease, backend: &mut Backend, guard: &mut GuardHandle, settings: &Settings) -> Result<Exit> {
    let ended = leadership::run(lease, backend, guard, settings).await;
    if matches!(ended.exit, Exit::Signal(_) | Exit::LeadershipLost | Exit::Failure) {
        guard.put_terminal_back();
    }
    let (command, status) = (settings.program.name(), ended.exit.status());
    settings.report.info(Event::Ended, format_args!("{command} ended with exit status {status}"));
    let (exit, options) = conclude(&ended, backend, guard, settings).await;
    let lets_another_lead = ended.stepped_down && settings.rejoin;
    release(backend, guard, settings, options, !lets_another_lead).await;
    if !lets_another_lead {
        return Ok(exit);
    }
    tokio::select! {
        biased;
        interrupted = interrupted(guard, settings) => Ok(interrupted),
        led = another_leads(settings) => led.map(|()| exit),
    }
}

/// Gives back what we hold. Once the requests are on their way the guard has nothing left to answer for, and ends while they
/// are answered, if it is to be dismissed.
async fn release(
    backend: &mut Backend,
    guard: &GuardHandle,
    settings: &Settings,
    options: ReleaseOptions,
    dismiss_guard: bool,
) {
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
    match (released, options.hold) {
        (Ok(()), _) => {}
        (Err(story), Some(_)) => {
            let told = format_args!("the lock could not be kept for --hold: {story}");
            settings.report.error(Event::NotRecorded, told);
        }
        (Err(story), None) => {
            let told = format_args!("{story}; what they hold runs out by itself");
            settings.report.info(Event::NotReleased, told);
        }
    }
}

/// Who has stepped down doesn't take the lead from others, for a ttl at most: then there are none.
async fn another_leads(settings: &Settings) -> Result<()> {
    let mut observer = Observer::open(&settings.backend, &settings.resource, settings.times)?;
    observer.listen()?;
    observer.until(settings.times.ttl(), |seen| seen.active_leader().is_some()).await;
    Ok(())
}

/// A standby ends at once by a signal that would end a command; the guard's death ends it too.
async fn interrupted(guard: &mut GuardHandle, settings: &Settings) -> Exit {
    loop {
        match guard.hear().await {
            GuardEvent::Signal(signal) if signal.ends_a_process() => return Exit::Signal(signal.number),
            GuardEvent::Signal(signal) if signal.stops_a_process() => {
                settings.report.stop_waiting();
                guard::stop_self();
            }
            GuardEvent::GuardDied => {
                settings.report.error(Event::ProcessDied, "leaderrun's guard died; the command was not started");
                return Exit::Failure;
            }
            _ => {}
        }
    }
}
