//! Becoming the leader: campaign, stand by, campaign again, until we lead or may not wait any longer.

use std::{
    mem::{Discriminant, discriminant},
    pin::pin,
    time::Duration,
};

use anyhow::Result;
use tokio::time::{Instant, sleep, timeout_at};

use crate::{
    backend::Backend,
    event::{Details, Event},
    lock::{AcquireOutcome, Lease, NotAcquired, Reason},
    report::Report,
    settings::{Settings, WaitPolicy},
};

/// How an election ended.
#[derive(Debug)]
pub(crate) enum ElectionEnd {
    /// We lead.
    Elected(Lease),
    /// We don't lead and don't wait any longer.
    GaveUp(Reason),
}

/// How long a candidate that doesn't wait keeps competing after a tie. Otherwise, of several that start together, none
/// might lead.
const LONGEST_TIE: Duration = Duration::from_secs(5);

/// How long there is no quorum before that is reported: servers may be busy for a moment, or restart.
const QUORUM_RETURNS_WITHIN: Duration = Duration::from_secs(3);

/// When the status line first shows what we wait for, and how often it is updated. A short wait isn't shown.
const FIRST_SHOWN: Duration = Duration::from_millis(300);
const SHOWN_EVERY: Duration = Duration::from_secs(1);

/// What a candidate remembers from round to round.
struct Candidacy<'a> {
    settings: &'a Settings,
    began: Instant,
    /// The reason for standing by that we last reported.
    reported: Option<Reason>,
    /// Since when there has been no quorum.
    no_quorum_since: Option<Instant>,
    /// In which way, when we last reported that.
    no_quorum_reported: Option<Discriminant<Reason>>,
}

/// How a wait ended.
enum Waited {
    /// Another round could end differently from the last one.
    Changed,
    /// We may not wait any longer.
    TimeIsUp,
    /// There has been no quorum for a while.
    NoQuorumLasts,
}

/// Runs until we lead or may not wait any longer.
///
/// # Errors
/// The backend can't be used at all.
pub(crate) async fn run(backend: &mut Backend, settings: &Settings) -> Result<ElectionEnd> {
    let mut candidacy = Candidacy::new(settings);
    loop {
        let not_acquired = match backend.acquire(candidacy.waits_at_most_until()).await? {
            AcquireOutcome::Acquired(lease) => return Ok(candidacy.wins(lease)),
            AcquireOutcome::NotAcquired(not_acquired) => not_acquired,
        };
        if not_acquired.reason.is_final() {
            return Ok(candidacy.gives_up(not_acquired.reason));
        }
        if let Some(reason) = candidacy.within_itself(&not_acquired.reason) {
            return Ok(candidacy.gives_up(reason));
        }
        candidacy.loses(&not_acquired.reason);
        match candidacy.wait(backend, &not_acquired).await? {
            Waited::Changed => {}
            Waited::TimeIsUp => return Ok(candidacy.gives_up(not_acquired.reason)),
            Waited::NoQuorumLasts => candidacy.lacks_quorum(&not_acquired.reason),
        }
    }
}

impl<'a> Candidacy<'a> {
    fn new(settings: &'a Settings) -> Self {
        let began = Instant::now();
        Candidacy { settings, began, reported: None, no_quorum_since: None, no_quorum_reported: None }
    }

    fn wins(&self, lease: Lease) -> ElectionEnd {
        let report = &self.settings.report;
        report.leads_with(lease.slot, lease.token);
        if lease.slot.is_only() {
            report.info(Event::Leads, format_args!("leads with fencing token {}", lease.token));
        } else {
            report.info(Event::Leads, format_args!("leads in {} with fencing token {}", lease.slot, lease.token));
        }
        ElectionEnd::Elected(lease)
    }

    /// Returns the reason for not waiting if the leader is one that we run under: it would wait for us.
    fn within_itself(&self, reason: &Reason) -> Option<Reason> {
        let Reason::Taken(Some(leader)) = reason else { return None };
        let (token, Settings { around, resource, wait_policy, .. }) = (leader.token?, self.settings);
        let is_around = around.iter().any(|around| around.is(resource, &leader.holder, token));
        let waits = *wait_policy != WaitPolicy::None;
        (waits && is_around).then(|| Reason::WithinItself(leader.clone()))
    }

    /// Reports why we don't lead. That another leads is no error: `--try` expects it.
    fn gives_up(&self, reason: Reason) -> ElectionEnd {
        let report = &self.settings.report;
        let follows = "the command was not started";
        // At night nobody looks at the exit status, so that a period without a success is an error.
        let no_success = self.settings.once_per.as_ref().filter(|_| self.is_without_success(&reason));
        let details = details(&reason);
        if let Reason::SameServerTwice { .. } | Reason::WithinItself(_) = reason {
            report.error_with(Event::Failed, &details, &reason);
        } else if reason.is_other_terms() {
            report.error_with(Event::OtherList, &details, format_args!("{reason}; {follows}"));
        } else if reason.lacks_quorum() {
            let message = format_args!("no quorum: {reason}; {follows}; see leaderrun --check");
            report.error_with(Event::NoQuorum, &details, message);
        } else if let Some(once) = no_success {
            let ended = if reason.is_final() { "" } else { ", and the wait is over" };
            let period = once.in_words();
            let message = format_args!("no success {period}: {reason}{ended}; not started");
            report.error_with(Event::NoSuccess, &details, message);
        } else {
            report.answer(Event::NotStarted, &details, format_args!("{reason}; {follows}"));
        }
        ElectionEnd::GaveUp(reason)
    }

    /// Returns whether this reason to give up leaves the period without a success, as far as we know. A candidate that
    /// doesn't wait leaves it to the leader.
    fn is_without_success(&self, reason: &Reason) -> bool {
        match reason {
            Reason::Succeeded(_) => false,
            Reason::AttemptsUsedUp(_) => true,
            _ => matches!(self.settings.wait_policy, WaitPolicy::For(_)),
        }
    }

    /// Reports a lost round, unless it says nothing new.
    fn loses(&mut self, reason: &Reason) {
        let report = &self.settings.report;
        report.debug(Event::LostRound, format_args!("lost a round: {reason}"));
        let waits = self.settings.wait_policy != WaitPolicy::None
            && self.waits_until(reason).is_none_or(|until| Instant::now() < until);
        if waits && !reason.is_race() && !self.reported.as_ref().is_some_and(|reported| reason.is_old_news(reported)) {
            let message = format_args!("stands by: {reason}");
            match reason.is_other_terms() {
                true => report.error_with(Event::OtherList, &details(reason), message),
                false => report.info_with(Event::StandsBy, &details(reason), message),
            }
            self.reported = Some(reason.clone());
        }
        if matches!(reason, Reason::NoQuorum(_) | Reason::TooLate | Reason::FenceAhead { .. }) {
            self.no_quorum_since.get_or_insert_with(Instant::now);
        } else {
            (self.no_quorum_since, self.no_quorum_reported) = (None, None);
        }
    }

    /// Reports that there is no quorum. That is an error only once it has lasted for a while.
    fn lacks_quorum(&mut self, reason: &Reason) {
        let message = format_args!("no quorum: {reason}; standing by until there is one");
        self.settings.report.error_with(Event::NoQuorum, &details(reason), message);
        self.no_quorum_reported = Some(discriminant(reason));
    }

    /// Returns when a round that hangs must end; `None`: in its own time. A candidate that doesn't wait has one round, and needs
    /// its answers.
    fn waits_at_most_until(&self) -> Option<Instant> {
        match self.settings.wait_policy {
            WaitPolicy::For(wait) => Some(self.began + wait),
            WaitPolicy::None | WaitPolicy::Forever => None,
        }
    }

    /// Returns until when we may wait after a round that was lost for this reason; `None`: forever.
    fn waits_until(&self, reason: &Reason) -> Option<Instant> {
        match self.settings.wait_policy {
            WaitPolicy::None if reason.is_race() => Some(self.began + LONGEST_TIE.min(self.settings.times.ttl())),
            WaitPolicy::None => Some(self.began),
            WaitPolicy::For(wait) => Some(self.began + wait),
            WaitPolicy::Forever => None,
        }
    }

    async fn wait(&self, backend: &mut Backend, not_acquired: &NotAcquired) -> Result<Waited> {
        let until = self.waits_until(&not_acquired.reason);
        let is_reported = self.no_quorum_reported == Some(discriminant(&not_acquired.reason));
        let no_quorum = self.no_quorum_since.filter(|_| !is_reported);
        let no_quorum_lasts = no_quorum.map(|since| since + self.settings.times.ttl().min(QUORUM_RETURNS_WITHIN));
        let change = wait_and_show(backend, not_acquired, &self.settings.report);
        let changed = match until.into_iter().chain(no_quorum_lasts).min() {
            Some(until) => timeout_at(until, change).await.ok(),
            None => Some(change.await),
        };
        self.settings.report.stop_waiting();
        Ok(match changed.transpose()? {
            Some(()) => Waited::Changed,
            None if until.is_some_and(|until| Instant::now() >= until) => Waited::TimeIsUp,
            None => Waited::NoQuorumLasts,
        })
    }
}

/// Waits until another round could end differently. Shows on a terminal what we wait for.
async fn wait_and_show(backend: &mut Backend, not_acquired: &NotAcquired, report: &Report) -> Result<()> {
    let mut change = pin!(backend.wait_for_change(not_acquired));
    let mut shown_again = FIRST_SHOWN;
    loop {
        tokio::select! {
            biased;
            change = &mut change => return change,
            () = sleep(shown_again), if report.is_watched() => {
                report.show_waiting(&waits_for(&not_acquired.reason));
                shown_again = SHOWN_EVERY;
            }
        }
    }
}

fn details(reason: &Reason) -> Details {
    Details { leader: reason.leader().map(ToOwned::to_owned), reason: Some(reason.word()), ..Details::default() }
}

fn waits_for(reason: &Reason) -> String {
    let Reason::Taken(Some(leader)) = reason else { return format!("waiting: {reason}") };
    match leader.leads_for() {
        Some(led) => {
            let led = led.as_secs();
            let led = Duration::from_secs(if led < 60 { led } else { led / 60 * 60 });
            format!("waiting for {}, leader for {}", leader.holder, humantime::format_duration(led))
        }
        None => format!("waiting for {}", leader.holder),
    }
}
