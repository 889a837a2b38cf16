//! What a command's end means for the other replicas: a success, after which none of them runs it again in this period
//! (`--once-per`), a failure that counts (`--attempts`), and a lock that stays taken for a while (`--hold`).

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use crate::{
    clock::Moment,
    exit::Exit,
    guard::Guard,
    reign::Reigned,
    report::Occasion,
    settings::Settings,
    store::{Extension, Parting, Store},
};

/// At most one success per period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OncePer {
    /// Counted from the start of the command that succeeds.
    pub period: Duration,
    /// How often the command may fail before all give up; `None`: any number of times.
    pub attempts: Option<u16>,
}

/// How often the command has failed in the period that began with its first failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Failures {
    pub count: u32,
    /// The rest of that period.
    pub left: Option<Duration>,
}

/// What is written where the lease is held, so that the others find it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    pub noted: Noted,
    pub text: String,
    /// It is gone after this time.
    pub lasts: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noted {
    Done,
    Failed,
}

/// A success, as it is noted.
#[derive(Serialize, Deserialize)]
struct Success {
    token: u64,
    holder: String,
    ended: String,
}

impl OncePer {
    /// The note of a success now; `None` once the period is over.
    pub fn success(&self, holder: &str, token: u64, began: Moment) -> Option<Note> {
        let lasts = rest(self.period, began)?;
        let ended = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        let text = serde_json::to_string(&Success { token, holder: holder.to_owned(), ended }).ok()?;
        Some(Note { noted: Noted::Done, text, lasts })
    }

    /// The note of one more failure now; `None` where nobody counts them, or once the period is over.
    pub fn failure(&self, failures: Failures, began: Moment) -> Option<Note> {
        self.attempts?;
        let lasts = rest(failures.left.unwrap_or(self.period), began)?;
        Some(Note { noted: Noted::Failed, text: failures.count.saturating_add(1).to_string(), lasts })
    }
}

/// What is left of a time that began then; `None` if it is over.
fn rest(time: Duration, began: Moment) -> Option<Duration> {
    time.checked_sub(Moment::now().since(began)).filter(|rest| rest.as_millis() > 0)
}

/// What a success's note says, for a message.
pub fn told_of_success(note: &str, left: Option<Duration>) -> String {
    let rest = left.map(|left| {
        let left = Duration::from_secs(left.as_secs() + 1);
        format!("; the period lasts for another {}", humantime::format_duration(left))
    });
    let who = serde_json::from_str(note).map(|Success { holder, ended, .. }| format!("{holder} succeeded at {ended}"));
    format!("{}{}", who.unwrap_or_else(|_| "the command has succeeded".into()), rest.unwrap_or_default())
}

/// After a reign: notes how the command ended, while the lease still keeps the others out. Gives our exit status and how
/// the lease is to be given back.
pub async fn conclude(reigned: &Reigned, store: &Store, guard: &mut Guard, settings: &Settings) -> (Exit, Parting) {
    let exit = reigned.exit;
    let ended = matches!(exit, Exit::Command(_) | Exit::Signal(_));
    let mut parting = Parting::default();
    let mut status = exit;
    if let Some(once) = settings.once_per {
        if exit == Exit::Command(0) {
            match note_success(&once, reigned, store, guard, settings).await {
                Ok(()) => parting.done = true,
                Err(story) => {
                    let command = settings.program.name();
                    let told = format_args!(
                        "{command} succeeded, but that could not be recorded: {story}; another replica may run it again"
                    );
                    settings.report.error(Occasion::NotRecorded, told);
                    status = Exit::NotRecorded;
                }
            }
        } else if (ended || exit == Exit::CannotRun || exit == Exit::NotFound)
            && let Some(note) = once.failure(reigned.failures, reigned.began)
            && let Extension::Failed { story } | Extension::Lost { story } = store.extend(Some(&note)).await
        {
            settings.report.info(Occasion::NotRecorded, format_args!("the failure could not be counted: {story}"));
        }
    }
    if ended {
        parting.hold = settings.hold.and_then(|hold| rest(hold, reigned.began));
    }
    (status, parting)
}

/// Records a success on a quorum. It is tried for as long as nobody else can lead.
async fn note_success(
    once: &OncePer,
    reigned: &Reigned,
    store: &Store,
    guard: &mut Guard,
    settings: &Settings,
) -> Result<(), String> {
    loop {
        let Some(note) = once.success(&settings.holder, reigned.token, reigned.began) else { return Ok(()) };
        let story = match store.extend(Some(&note)).await {
            Extension::Extended { .. } => return Ok(()),
            Extension::Lost { story } => return Err(story),
            Extension::Failed { story } => story,
        };
        if reigned.alone_until.is_none_or(|until| Moment::now() >= until) {
            return Err(story);
        }
        tokio::select! {
            () = sleep(settings.times.retry_after().mul_f64(0.5 + fastrand::f64())) => {}
            () = guard.terminated() => return Err(story),
        }
    }
}
