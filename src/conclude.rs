//! Concludes a leadership: what its end means for the other instances.

use tokio::time::sleep;

use crate::{
    backend::Backend,
    clock::Moment,
    event::Event,
    guard::{Ending, Guard},
    leadership::{LeadershipEnd, LeadershipOutcome},
    lock::{BackendFailure, ExtendOutcome, ReleaseOptions},
    once_per::{OncePer, rest},
    settings::Settings,
};

/// What follows from the end of a leadership.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Conclusion {
    /// The command succeeded, but its success could not be recorded.
    pub not_recorded: bool,
    /// How to release the lease.
    pub release: ReleaseOptions,
}

/// Records how the command ended, while the lease still keeps the others out.
pub(crate) async fn conclude(
    ended: &LeadershipEnd,
    backend: &Backend,
    guard: &mut impl Guard,
    settings: &Settings,
) -> Conclusion {
    let mut conclusion = Conclusion { not_recorded: false, release: ReleaseOptions::default() };
    if let Some(once) = settings.once_per {
        match ended.outcome {
            LeadershipOutcome::Exited(Ending::Code(0)) => {
                record_success(&once, ended, backend, guard, settings, &mut conclusion).await;
            }
            LeadershipOutcome::Exited(_) | LeadershipOutcome::CannotRun | LeadershipOutcome::NotFound => {
                count_failure(&once, ended, backend, settings).await;
            }
            _ => {}
        }
    }
    if let LeadershipOutcome::Exited(_) = ended.outcome {
        conclusion.release.hold = settings.hold.and_then(|hold| rest(hold, ended.began));
    }
    conclusion
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
        let Some(note) = once.success(&settings.holder, ended.token, ended.began) else { return Ok(false) };
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

async fn count_failure(once: &OncePer, ended: &LeadershipEnd, backend: &Backend, settings: &Settings) {
    let Some(note) = once.failure(ended.failures, ended.began) else { return };
    if let ExtendOutcome::Failed(why) | ExtendOutcome::Lost(why) = backend.extend(Some(&note)).await {
        settings.report.info(Event::NotRecorded, format_args!("the failure could not be counted: {why}"));
    }
}
