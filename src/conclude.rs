//! Concludes a leadership: what its end means for the other instances.

use std::{fmt, time::Duration};

use tokio::{task::yield_now, time::sleep};

use crate::{
    backend::Backend,
    clock::Moment,
    event::Event,
    exit::Exit,
    guard::{Ending, Guard},
    leadership::{LeadershipEnd, LeadershipOutcome},
    lock::{BackendFailure, ExtendOutcome, ReleaseOptions, Released},
    once_per::{FailedEnd, FailedRun, OncePer, PastFailures, rest},
    settings::Settings,
};

/// What follows from the end of a leadership.
#[derive(Debug)]
pub(crate) struct Conclusion {
    /// The command succeeded, but its success could not be recorded.
    pub not_recorded: bool,
    /// How to release the lease.
    pub release: ReleaseOptions,
    /// The command has failed, and may be tried again in this period.
    retriable: Option<Failed>,
}

/// How the command has failed in this period.
#[derive(Debug)]
enum Failed {
    /// Each failure is counted (`--attempts`).
    Counted(PastFailures),
    /// Only this one is known.
    Uncounted(FailedRun),
}

impl Conclusion {
    /// Reports a failure after which nobody is left to try again. Only the release shows who stands by.
    pub(crate) fn report_left_alone(&self, released: Released, settings: &Settings) {
        if let (Some(once), Some(failed), Some(0)) = (&settings.once_per, &self.retriable, released.standbys) {
            let message = format_args!("no success {}: {failed}; nobody stands by", once.in_words());
            settings.report.error(Event::NoSuccess, message);
        }
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failed::Counted(failures) => failures.fmt(f),
            Failed::Uncounted(run) => write!(f, "failed on {run}"),
        }
    }
}

/// Records how the command ended, while the lease still keeps the others out.
pub(crate) async fn conclude(
    ended: &LeadershipEnd,
    backend: &Backend,
    guard: &mut impl Guard,
    settings: &Settings,
) -> Conclusion {
    let mut conclusion = Conclusion { not_recorded: false, release: ReleaseOptions::default(), retriable: None };
    if let Some(once) = &settings.once_per {
        if ended.outcome == LeadershipOutcome::Exited(Ending::Code(0)) {
            record_success(once, ended, backend, guard, settings, &mut conclusion).await;
        } else if let Some(end) = failed_end(ended.outcome)
            && !ended.told_to_end
            && !is_told_to_end(guard).await
        {
            conclusion.retriable = count_failure(once, ended, end, backend, settings).await;
        }
    }
    if let LeadershipOutcome::Exited(_) | LeadershipOutcome::TimedOut = ended.outcome {
        conclusion.release.hold = settings.hold.and_then(|hold| rest(hold, ended.began));
        if let (Some(hold), None) = (settings.hold, conclusion.release.hold)
            && let Err(why) = has_led_alone_for(hold, ended, backend).await
        {
            report_not_held(&why, settings);
        }
    }
    conclusion
}

/// Reports that the lock was not kept, or not for as long as it should be.
pub(crate) fn report_not_held(why: &BackendFailure, settings: &Settings) {
    settings.report.error(Event::NotRecorded, format_args!("the lock could not be kept for --hold: {why}"));
}

/// Checks that nobody else has led since in a period that is over: we may have been stopped for longer than the lease was to last. An
/// extension shows it, since nodes that have granted a larger token refuse that.
///
/// # Errors
/// Why somebody else may have led.
async fn has_led_alone_for(period: Duration, ended: &LeadershipEnd, backend: &Backend) -> Result<(), BackendFailure> {
    if ended.alone_until.is_none_or(|until| ended.began + period <= until) {
        return Ok(());
    }
    match backend.extend(None).await {
        ExtendOutcome::Extended { .. } => Ok(()),
        ExtendOutcome::Lost(why) | ExtendOutcome::Failed(why) => Err(why),
    }
}

/// Returns how the command failed, if that was its own doing.
fn failed_end(outcome: LeadershipOutcome) -> Option<FailedEnd> {
    match outcome {
        LeadershipOutcome::Exited(Ending::Code(code)) => Some(FailedEnd::ExitStatus(code as u8)),
        LeadershipOutcome::Exited(Ending::Signal(signal)) => Some(FailedEnd::Signal(signal)),
        LeadershipOutcome::CannotRun => Some(FailedEnd::ExitStatus(Exit::CannotRun.status())),
        LeadershipOutcome::NotFound => Some(FailedEnd::ExitStatus(Exit::NotFound.status())),
        LeadershipOutcome::TimedOut => Some(FailedEnd::MaxRun),
        LeadershipOutcome::NotForked
        | LeadershipOutcome::NoTimer
        | LeadershipOutcome::GuardDied
        | LeadershipOutcome::LeaseLost
        | LeadershipOutcome::SteppedDown => None,
    }
}

/// Returns whether we have got a signal that ends a process. A shutdown sends it to all processes, and the command may have
/// ended by it before we have seen ours.
async fn is_told_to_end(guard: &mut impl Guard) -> bool {
    yield_now().await;
    tokio::select! {
        biased;
        () = guard.terminated() => true,
        () = yield_now() => false,
    }
}

/// Records a success, which the others then may be told of. Reports why that didn't work.
async fn record_success(
    once: &OncePer,
    ended: &LeadershipEnd,
    backend: &Backend,
    guard: &mut impl Guard,
    settings: &Settings,
    conclusion: &mut Conclusion,
) {
    match note_success(once, ended, backend, guard, settings).await {
        Ok(noted) => conclusion.release.succeeded = noted,
        Err(why) => {
            conclusion.not_recorded = true;
            let command = settings.program.name();
            let message = format_args!(
                "{command} succeeded, but that could not be recorded: {why}; another instance may run it again"
            );
            settings.report.error(Event::NotRecorded, message);
        }
    }
}

/// Leaves the note of a success with the lease. Retries as long as nobody else can lead. Returns whether there is a note:
/// none is left once the period is over.
async fn note_success(
    once: &OncePer,
    ended: &LeadershipEnd,
    backend: &Backend,
    guard: &mut impl Guard,
    settings: &Settings,
) -> Result<bool, BackendFailure> {
    loop {
        let Some(note) = once.success(&settings.holder, ended.token, ended.began) else {
            has_led_alone_for(once.period, ended, backend).await?;
            return Ok(broken!("done_with_note"));
        };
        let why = match backend.extend(Some(&note)).await {
            ExtendOutcome::Extended { .. } => return Ok(true),
            ExtendOutcome::Lost(why) => return Err(why),
            ExtendOutcome::Failed(why) => why,
        };
        if ended.alone_until.is_none_or(|until| Moment::now() >= until) {
            return Err(why);
        }
        tokio::select! {
            biased;
            () = sleep(settings.times.retry_after().mul_f64(0.5 + fastrand::f64())) => {}
            () = guard.terminated() => return Err(why),
        }
    }
}

/// Counts a failure. Reports an error if it was the last one that is allowed: no other instance may be left to do so. Returns
/// it if it wasn't.
async fn count_failure(
    once: &OncePer,
    ended: &LeadershipEnd,
    end: FailedEnd,
    backend: &Backend,
    settings: &Settings,
) -> Option<Failed> {
    let run = FailedRun { holder: settings.holder.clone(), end };
    let Some(note) = once.failure(ended.failures, &run, ended.began) else { return Some(Failed::Uncounted(run)) };
    let failures = PastFailures { count: ended.failures.count.saturating_add(1), last: Some(run) };
    let is_used_up = once.is_used_up(failures.count);
    if is_used_up {
        let message = format_args!("no success {}: {failures}; no attempt is left", once.in_words());
        settings.report.error(Event::NoSuccess, message);
    }
    if let ExtendOutcome::Failed(why) | ExtendOutcome::Lost(why) = backend.extend(Some(&note)).await {
        settings.report.info(Event::NotRecorded, format_args!("the failure could not be counted: {why}"));
    }
    (!is_used_up).then_some(Failed::Counted(failures))
}
