//! The calls of the scripts, with their keys and arguments.

use std::time::Duration;

use redis::Cmd;

use super::{
    arguments::{Acquisition, Audience, DatedNote, PresentRun, RunTimes, Settled, Tell},
    sent::script,
};
use crate::{
    clock::Moment,
    history::{EndedRun, RecordHead, RunResult},
    lease::FencingToken,
    lock::{LockValue, NodesKey, ReleaseOptions, ReleaseProof, Slot},
    once_per::{Noted, PeriodKey},
    redlock::known_clocks::NodeTime,
};

const ACQUIRE: &str = script!("settled.lua", "acquire.lua");
const EXTEND: &str = script!("settled.lua", "restored.lua", "extend.lua");
const RELEASE: &str = script!("settled.lua", "restored.lua", "release.lua");
const TELL: &str = script!("tell.lua");
const LOOK: &str = script!("look.lua");
const SURVEY: &str = script!("survey.lua");
const RUNS: &str = script!("runs.lua");
const LIST: &str = script!("list.lua");

/// The argument of a script for an unlimited number of failures.
const ANY_NUMBER: u16 = 0;

/// What follows the name of a lock in the names of the keys and channels beside it.
pub(crate) const KEY_SUFFIXES: [&str; 10] =
    [FENCE, STEP_DOWN, DONE, FAILURES, KEY_DONE, KEY_FAILURES, RUNS_OF_LOCK, LAST_SUCCESS, WATCHERS, WAKE];

/// What follows the name of a lock's channel in that of its watchers, also in the scripts.
const WATCHERS: &str = ":watchers";

/// What follows the number in the name of a wake-up channel, also in release.lua.
const WAKE: &str = ":wake";

/// How many wake-up channels there are, numbered from 0, also in release.lua: so many that a thousand standbys have them nearly for
/// themselves.
pub(crate) const WAKE_UP_CHANNELS: u16 = 1024;

const FENCE: &str = ":fence";
const STEP_DOWN: &str = ":step-down";
const DONE: &str = ":done";
const FAILURES: &str = ":failures";
const RUNS_OF_LOCK: &str = ":runs";
const LAST_SUCCESS: &str = ":last-success";

/// The same for a period with a name, which comes before them. It has no colon, so that no other lock's keys are like these.
const KEY_DONE: &str = ":once-done";
const KEY_FAILURES: &str = ":once-failures";

/// A lock's keys on a node, and its channel there.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    pub lock: String,
    pub channel: String,
    /// The channel of those who only watch.
    pub watchers: String,
    pub fence: String,
    step_down: String,
    pub runs: String,
    last_success: String,
    /// Of one slot of several.
    shared: Option<Shared>,
}

/// What the slots of a resource have in common on a node.
#[derive(Clone, Debug)]
struct Shared {
    slot: Slot,
    /// The key that keeps those with another number of slots away.
    name: String,
}

impl Shared {
    /// Returns the key of the resource, and the locks of all slots.
    fn all(&self) -> Vec<String> {
        [self.name.clone()].into_iter().chain(Slot::all(self.slot.of).map(|slot| slot.lock(&self.name))).collect()
    }
}

impl Keys {
    /// Creates the keys of the lock with this name in a database of a server, whose channels all of its databases share.
    pub(crate) fn new(lock: &str, database: i64) -> Self {
        Self::of_slot(lock, Slot::ONLY, database)
    }

    /// Creates the keys of a slot of the lock with this name. All slots share its channel.
    pub(crate) fn of_slot(resource: &str, slot: Slot, database: i64) -> Self {
        let lock = slot.lock(resource);
        let [fence, step_down, runs, last_success] =
            [FENCE, STEP_DOWN, RUNS_OF_LOCK, LAST_SUCCESS].map(|suffix| format!("{lock}{suffix}"));
        let channel = if database == 0 { resource.to_owned() } else { format!("{resource}:db{database}") };
        let shared = (!slot.is_only()).then(|| Shared { slot, name: resource.to_owned() });
        let watchers = format!("{channel}{WATCHERS}");
        Keys { lock, channel, watchers, fence, step_down, runs, last_success, shared }
    }

    /// Returns the name of the wake-up channel with this number.
    pub(crate) fn wake_up(&self, number: u16) -> String {
        format!("{}:{number}{WAKE}", self.channel)
    }

    /// Returns what a message about the slot ends with.
    fn in_messages(&self) -> String {
        self.shared.as_ref().map(|shared| format!(" {}", shared.slot.number)).unwrap_or_default()
    }

    /// Returns the keys of the notes about a period: of a success, and of failures.
    fn notes(&self, period: Option<&PeriodKey>) -> [String; 2] {
        let lock = &self.lock;
        match period.map(PeriodKey::escaped) {
            None => [DONE, FAILURES].map(|suffix| format!("{lock}{suffix}")),
            Some(name) => [KEY_DONE, KEY_FAILURES].map(|suffix| format!("{lock}:{name}{suffix}")),
        }
    }

    fn eval(&self, script: &str, more: &[&String]) -> Cmd {
        let mut cmd = redis::cmd("EVAL");
        cmd.arg(script).arg(2 + more.len()).arg(&self.lock).arg(&self.fence).arg(more);
        cmd
    }

    /// Returns the request for a vote.
    pub(crate) fn acquire(&self, ask: &Acquisition) -> Cmd {
        let Acquisition { key: NodesKey { value, token, .. }, ttl, settle, tell, freed, once_per, settled } = ask;
        let attempts = once_per.as_ref().map(|once| once.attempts.unwrap_or(ANY_NUMBER));
        let most_failures = attempts.map_or(String::new(), |attempts| attempts.to_string());
        let [done, failures] = self.notes(once_per.as_ref().and_then(|once| once.key.as_ref()));
        let name = self.shared.as_ref().map(|shared| &shared.name);
        let keys: Vec<&String> = [&done, &failures, &self.runs].into_iter().chain(name).collect();
        let mut cmd = self.eval(ACQUIRE, &keys);
        cmd.arg(value.as_str()).arg(millis(*ttl)).arg(token.to_string()).arg(millis(*settle));
        let told = match tell {
            Tell::Nobody => String::new(),
            Tell::All => self.channel.clone(),
            Tell::WokenWithUs { number } => self.wake_up(*number),
        };
        cmd.arg(told).arg(or_empty(freed.as_ref())).arg(most_failures);
        cmd.arg(settled.as_deref().unwrap_or_default()).arg(&self.channel);
        cmd.arg(present(value, *token));
        if self.shared.is_some() {
            cmd.arg(self.in_messages());
        }
        cmd
    }

    /// Returns an extension, which puts our run on record and leaves a note if there is one.
    pub(crate) fn extend(
        &self,
        key: &NodesKey,
        ttl: Duration,
        run: Option<&PresentRun>,
        settled: &Settled,
        note: Option<&DatedNote>,
    ) -> Cmd {
        let note_key = note.map(|DatedNote { note, .. }| {
            let [done, failures] = self.notes(note.key.as_ref());
            match note.noted {
                Noted::Success => done,
                Noted::Failure => failures,
            }
        });
        // A resource with several slots has no notes.
        let shared = self.shared.as_ref().filter(|_| note.is_none());
        let name = shared.map(|shared| &shared.name);
        let keys: Vec<&String> = [&self.step_down, &self.runs].into_iter().chain(&note_key).chain(name).collect();
        let mut cmd = self.eval(EXTEND, &keys);
        cmd.arg(key.value.as_str()).arg(millis(ttl)).arg(key.token.to_string());
        match run {
            Some(run) => cmd.arg(run.token.to_string()).arg(present(&key.value, run.token)).arg(or_unknown(run.start)),
            None => cmd.arg("").arg("").arg(""),
        };
        cmd.arg(&restored_by(settled));
        if let Some(DatedNote { note, ends }) = note {
            cmd.arg(&note.text).arg(ends.as_millis());
        }
        cmd
    }

    /// Returns a request that only reads the locks of all slots.
    pub(crate) fn survey(&self) -> Cmd {
        let Shared { slot, name } = self.shared.clone().unwrap_or(Shared { slot: Slot::ONLY, name: self.lock.clone() });
        let slots = Slot::all(slot.of).map(|slot| Keys::of_slot(&name, slot, 0));
        let mut cmd = redis::cmd("EVAL");
        cmd.arg(SURVEY).arg(1 + 2 * slot.of).arg(&name);
        for keys in slots {
            cmd.arg(keys.lock).arg(keys.fence);
        }
        cmd.arg(&self.channel);
        cmd
    }

    /// Returns a request that only reads the lock, and whether the command has succeeded in this period; in one with a name
    /// also how often it has failed.
    pub(crate) fn look(&self, period: Option<&PeriodKey>) -> Cmd {
        let notes = self.notes(period);
        let notes = if period.is_some() { &notes[..] } else { &notes[..1] };
        let mut cmd = redis::cmd("EVAL");
        cmd.arg(LOOK).arg(2 + notes.len()).arg(&self.lock).arg(&self.fence).arg(notes);
        cmd
    }

    /// Returns a request to delete the notes about a period.
    pub(crate) fn forget(&self, period: Option<&PeriodKey>) -> Cmd {
        let mut cmd = redis::cmd("DEL");
        cmd.arg(&self.notes(period));
        cmd
    }

    /// Returns a request for the runs from the rank `first` to `last`, counted from the newest, which is 0. It only reads.
    pub(crate) fn runs(&self, first: usize, last: usize) -> Cmd {
        let mut cmd = redis::cmd("EVAL");
        cmd.arg(RUNS).arg(2).arg(&self.runs).arg(&self.last_success).arg(first).arg(last);
        cmd
    }

    /// Returns a request for how many listen on the channel, and how many of them only watch.
    pub(crate) fn count_listeners(&self) -> Cmd {
        let mut cmd = redis::cmd("PUBSUB");
        cmd.arg("NUMSUB").arg(&self.channel).arg(&self.watchers);
        cmd
    }

    /// Returns a request to step down, for the leader whose lock has this value. `lasts`: how long it is valid.
    pub(crate) fn ask_to_step_down(&self, value: &LockValue, lasts: Duration) -> Cmd {
        let mut cmd = redis::cmd("SET");
        cmd.arg(&self.step_down).arg(value.as_str()).arg("PX").arg(millis(lasts));
        cmd
    }

    /// Returns a request to notify listeners of a vote, in place of another node.
    pub(crate) fn tell_acquisition(&self, freed: Option<&ReleaseProof>) -> Cmd {
        let mut cmd = redis::cmd("PUBLISH");
        cmd.arg(&self.channel).arg(format!("acquired {}{}", or_empty(freed), self.in_messages()));
        cmd
    }

    /// Returns a request to notify listeners of a release, in place of another node.
    pub(crate) fn tell_release(&self, proof: &ReleaseProof, audience: Audience, options: ReleaseOptions) -> Cmd {
        self.tell(&[], audience, self.message(proof, options))
    }

    /// Returns a request to notify all listeners of a release, unless the lock is taken again.
    pub(crate) fn tell_if_free(&self, proof: &ReleaseProof, options: ReleaseOptions) -> Cmd {
        self.tell(&[&self.lock], Audience::All, self.message(proof, options))
    }

    /// Returns a request to notify all listeners but us that a vote of ours is gone again, unless the lock is taken. It proves
    /// nothing, since we may still lead.
    pub(crate) fn tell_return(&self) -> Cmd {
        self.tell(&[&self.lock], Audience::AllButUs, ("released", self.in_messages()))
    }

    fn tell(&self, locks: &[&String], audience: Audience, (word, subject): (&str, String)) -> Cmd {
        let mut cmd = redis::cmd("EVAL");
        cmd.arg(TELL).arg(locks.len()).arg(locks).arg(&self.channel).arg(audience.not_counted()).arg(word).arg(subject);
        cmd
    }

    /// Returns a release, which records the run that is over if there was one.
    pub(crate) fn release(
        &self,
        key: &NodesKey,
        audience: Audience,
        options: ReleaseOptions,
        times: RunTimes,
        settled: &Settled,
    ) -> Cmd {
        let NodesKey { value, proof, token, .. } = key;
        let channel = if audience == Audience::Nobody { "" } else { &self.channel };
        // The proof is shown only with a message: a candidate that gives votes back may lead later.
        let (word, subject) = match audience {
            Audience::Nobody | Audience::Counted => Default::default(),
            Audience::All | Audience::AllButUs => self.message(proof, options),
        };
        let shared = self.shared.as_ref().map(Shared::all).unwrap_or_default();
        let keys: Vec<&String> = [&self.runs, &self.last_success].into_iter().chain(&shared).collect();
        let mut cmd = self.eval(RELEASE, &keys);
        cmd.arg(value.as_str()).arg(token.to_string()).arg(token.following().to_string());
        cmd.arg(channel).arg(audience.not_counted()).arg(word).arg(subject);
        match options.run {
            Some(run) => cmd
                .arg(run.token.to_string())
                .arg(ended(value, &run, times.until))
                .arg(or_unknown(times.start))
                .arg(millis(Moment::now().since(run.began)))
                .arg(u8::from(run.result == RunResult::Success)),
            None => cmd.arg(token.to_string()).arg("").arg("").arg(0).arg(0),
        };
        if let Some(hold) = options.hold {
            cmd.arg(value.kept().as_str()).arg(millis(hold));
            cmd.arg(&restored_by(settled));
        }
        cmd
    }

    /// Returns the message about a release: its first word, and what follows the number of listeners.
    fn message(&self, proof: &ReleaseProof, options: ReleaseOptions) -> (&'static str, String) {
        let (word, subject) = match options {
            // A lock that is kept isn't released.
            ReleaseOptions { succeeded: true, hold: Some(_), .. } => ("done", String::new()),
            ReleaseOptions { succeeded: true, hold: None, .. } => ("done", proof.to_string()),
            ReleaseOptions { hold: Some(hold), .. } => ("held", millis(hold).to_string()),
            ReleaseOptions { hold: None, .. } => ("released", proof.to_string()),
        };
        (word, subject + &self.in_messages())
    }
}

/// Returns a request for the next names of locks with this prefix: those that have a fence. It only reads.
pub(crate) fn list(cursor: &str, prefix: &str) -> Cmd {
    let mut pattern = String::with_capacity(prefix.len());
    for c in prefix.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '^' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    let mut cmd = redis::cmd("EVAL");
    cmd.arg(LIST).arg(0).arg(cursor).arg(format!("{pattern}*{FENCE}"));
    cmd
}

/// Returns the name that follows the prefix in the key of a lock's fence.
pub(crate) fn name_in_fence<'a>(key: &'a str, prefix: &str) -> Option<&'a str> {
    key.strip_prefix(prefix)?.strip_suffix(FENCE).filter(|name| !name.is_empty())
}

/// Returns the open record of a run that is under way.
fn present(value: &LockValue, token: FencingToken) -> String {
    RecordHead::of_present(token, &value.id().unwrap_or_default(), &value.holder()).open_text()
}

/// Returns the open record of a run that is over.
fn ended(value: &LockValue, run: &EndedRun, until: Option<NodeTime>) -> String {
    let until = until.map(NodeTime::as_millis);
    RecordHead::of_ended(run, &value.id().unwrap_or_default(), &value.holder(), until).open_text()
}

/// Returns which servers set a lock again as arguments of the scripts.
fn restored_by(settled: &Settled) -> [String; 3] {
    let Settled { up_for, or_process, or_until } = settled;
    [millis(*up_for).to_string(), or_process.clone().unwrap_or_default(), or_unknown(*or_until)]
}

/// Returns an optional proof as an argument of the scripts.
fn or_empty(proof: Option<&ReleaseProof>) -> &str {
    proof.map_or("", ReleaseProof::as_str)
}

/// Returns a time as an argument of the scripts.
fn or_unknown(time: Option<NodeTime>) -> String {
    time.map_or(String::new(), |time| time.as_millis().to_string())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
