//! After a leadership: what its end means for the others.

use tokio::time::sleep;

use crate::{
    backend::Backend,
    clock::Moment,
    event::Event,
    exit::Exit,
    guard::GuardHandle,
    leadership::LeadershipEnd,
    lock::{Extension, ReleaseOptions},
    once_per::{OncePer, rest},
    settings::Settings,
};

/// After a leadership: notes how the command ended, while the lease still keeps the others out. Gives our exit status and how
/// the lease is to be given back.
pub async fn conclude(
    ended: &LeadershipEnd,
    backend: &Backend,
    guard: &mut GuardHandle,
    settings: &Settings,
) -> (Exit, ReleaseOptions) {
    let exit = ended.exit;
    let by_itself = matches!(exit, Exit::Command(_) | Exit::Signal(_));
    let mut options = ReleaseOptions::default();
    let mut status = exit;
    if let Some(once) = settings.once_per {
        if exit == Exit::Command(0) {
            match note_success(&once, ended, backend, guard, settings).await {
                Ok(()) => options.done = true,
                Err(story) => {
                    let command = settings.program.name();
                    let told = format_args!(
                        "{command} succeeded, but that could not be recorded: {story}; another replica may run it again"
                    );
                    settings.report.error(Event::NotRecorded, told);
                    status = Exit::NotRecorded;
                }
            }
        } else if (by_itself || exit == Exit::CannotRun || exit == Exit::NotFound)
            && let Some(note) = once.failure(ended.failures, ended.began)
            && let Extension::Failed { story } | Extension::Lost { story } = backend.extend(Some(&note)).await
        {
            settings.report.info(Event::NotRecorded, format_args!("the failure could not be counted: {story}"));
        }
    }
    if by_itself {
        options.hold = settings.hold.and_then(|hold| rest(hold, ended.began));
    }
    (status, options)
}

/// Records a success on a quorum. It is tried for as long as nobody else can lead.
async fn note_success(
    once: &OncePer,
    ended: &LeadershipEnd,
    backend: &Backend,
    guard: &mut GuardHandle,
    settings: &Settings,
) -> Result<(), String> {
    loop {
        let Some(note) = once.success(&settings.holder, ended.token, ended.began) else { return Ok(()) };
        let story = match backend.extend(Some(&note)).await {
            Extension::Extended { .. } => return Ok(()),
            Extension::Lost { story } => return Err(story),
            Extension::Failed { story } => story,
        };
        if ended.alone_until.is_none_or(|until| Moment::now() >= until) {
            return Err(story);
        }
        tokio::select! {
            () = sleep(settings.times.retry_after().mul_f64(0.5 + fastrand::f64())) => {}
            () = guard.terminated() => return Err(story),
        }
    }
}
