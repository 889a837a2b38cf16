//! The contents of a lock's file: the last leader, and what outlives it.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{Seek, SeekFrom, Write},
    time::Duration,
};

use serde::{Deserialize, Serialize, de::IgnoredAny};

use crate::{
    clock::Moment,
    lease::FencingToken,
    lock::{Leader, LeadershipId},
    once_per::{Failures, Note, Noted, PastFailures, PastSuccess, PeriodKey},
    regular_file,
};

/// How many periods with a name are remembered: the file is read and written as a whole.
const MOST_PERIODS: usize = 1000;

/// The file's contents.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Record {
    /// The last leader's.
    pub token: Option<FencingToken>,
    pub holder: String,
    /// How many slots the resource has, if it has several: then the locks of these are those that count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slots: Option<u16>,
    /// The boot that the times below count from. They mean nothing after another boot.
    #[serde(default)]
    boot: String,
    #[serde(default)]
    kept: Option<Timed>,
    /// About the period without a name.
    #[serde(flatten)]
    notes: Notes,
    /// About periods with names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    periods: BTreeMap<PeriodKey, Notes>,
}

/// What is noted about a period.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Notes {
    #[serde(default)]
    done: Option<Timed>,
    #[serde(default)]
    failed: Option<Timed>,
}

/// Something that expires at a given time.
#[derive(Debug, Serialize, Deserialize)]
struct Timed {
    text: String,
    until: Moment,
}

impl Timed {
    fn new(text: &str, lasts: Duration) -> Self {
        Timed { text: text.to_owned(), until: Moment::now() + lasts }
    }

    /// Returns the time left; `None` once it has expired.
    fn left(&self) -> Option<Duration> {
        Some(self.until.remaining()).filter(|left| !left.is_zero())
    }
}

impl Notes {
    /// Returns when the last of them ends.
    fn until(&self) -> Option<Moment> {
        [&self.done, &self.failed].into_iter().flatten().map(|note| note.until).max()
    }

    fn is_over(&self) -> bool {
        self.until().is_none_or(|until| until.remaining().is_zero())
    }
}

impl Record {
    /// Reads the record in this file; returns an empty one if there is none.
    pub(super) fn read(mut file: &File) -> Self {
        let text = file.seek(SeekFrom::Start(0)).and_then(|_| regular_file::contents(file));
        let mut record: Record = text.ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        let boot = boot();
        if record.boot != boot {
            record =
                Record { token: record.token, holder: record.holder, slots: record.slots, boot, ..Record::default() };
        }
        record
    }

    /// Returns whether a file holds a record or nothing, so that a record can replace it. Other versions may write other fields
    /// besides.
    pub(super) fn fits(mut file: &File) -> bool {
        let text = file.seek(SeekFrom::Start(0)).and_then(|_| regular_file::contents(file));
        text.is_ok_and(|text| text.trim_ascii().is_empty() || (has_all_fields(&text) && is_record(&text)))
    }

    /// Replaces the file's contents in one call, so that a reader without the lock never sees half a record, and a kill
    /// never leaves one. Blanks cover the rest of a longer record. What is too long for a record is cut off first: nobody
    /// reads one there.
    ///
    /// # Errors
    /// Those of writing the file.
    pub(super) fn write(&self, mut file: &File) -> std::io::Result<()> {
        let mut text = serde_json::to_vec(self)?;
        if file.metadata()?.len() > regular_file::LARGEST {
            file.set_len(0)?;
        }
        let old = usize::try_from(file.metadata()?.len().min(regular_file::LARGEST)).unwrap_or_default();
        text.resize(old.saturating_sub(1).max(text.len()), b' ');
        text.push(b'\n');
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&text)
    }

    /// Returns who leads if the lock is taken; `None` if the file doesn't say.
    pub(super) fn leader(&self) -> Option<Leader> {
        let token = self.token.filter(|_| !self.holder.is_empty())?;
        Some(Leader { id: LeadershipId::Token(token), holder: self.holder.clone(), token: Some(token) })
    }

    /// Stores a note in place of an older one of its kind.
    pub(super) fn take(&mut self, note: &Note) {
        self.periods.retain(|_, notes| !notes.is_over());
        let notes = match &note.key {
            Some(key) => self.periods.entry(key.clone()).or_default(),
            None => &mut self.notes,
        };
        let place = match note.noted {
            Noted::Success => &mut notes.done,
            Noted::Failure => &mut notes.failed,
        };
        *place = Some(Timed::new(&note.text, note.lasts));
        while self.periods.len() > MOST_PERIODS
            && let Some(first) = self.periods.iter().min_by_key(|(_, notes)| notes.until()).map(|(key, _)| key.clone())
        {
            self.periods.remove(&first);
        }
    }

    /// Deletes the notes about a period. Returns whether there were any that had not ended.
    pub(super) fn forget(&mut self, period: Option<&PeriodKey>) -> bool {
        let notes = match period {
            Some(key) => self.periods.remove(key),
            None => Some(std::mem::take(&mut self.notes)),
        };
        notes.is_some_and(|notes| !notes.is_over())
    }

    fn notes(&self, period: Option<&PeriodKey>) -> Option<&Notes> {
        period.map_or(Some(&self.notes), |key| self.periods.get(key))
    }

    /// Keeps the lock taken for this long.
    pub(super) fn keep(&mut self, hold: Duration) {
        self.kept = Some(Timed::new("", hold));
    }

    /// Returns how long the lock stays taken.
    pub(super) fn kept(&self) -> Option<Duration> {
        self.kept.as_ref()?.left()
    }

    /// Returns the success recorded for this period.
    pub(super) fn success(&self, period: Option<&PeriodKey>) -> Option<PastSuccess> {
        let done = self.notes(period)?.done.as_ref()?;
        Some(PastSuccess { note: done.text.clone(), left: Some(done.left()?) })
    }

    /// Returns how often the command has failed in this period.
    pub(super) fn failures(&self, period: Option<&PeriodKey>) -> Failures {
        let count = self.past_failures(period).map_or(0, |failures| failures.count);
        Failures { count, left: self.notes(period).and_then(|notes| notes.failed.as_ref()?.left()) }
    }

    /// Returns the failures recorded for this period.
    pub(super) fn past_failures(&self, period: Option<&PeriodKey>) -> Option<PastFailures> {
        let failed = self.notes(period)?.failed.as_ref().filter(|failed| failed.left().is_some())?;
        PastFailures::read(&failed.text)
    }
}

fn is_record(text: &[u8]) -> bool {
    serde_json::from_slice::<Record>(text).is_ok()
}

/// Returns whether a text is JSON with the fields that every version writes, with or without a value.
fn has_all_fields(text: &[u8]) -> bool {
    const WRITTEN: [&str; 6] = ["token", "holder", "boot", "kept", "done", "failed"];
    let fields: Result<BTreeMap<String, IgnoredAny>, _> = serde_json::from_slice(text);
    fields.is_ok_and(|fields| WRITTEN.iter().all(|&field| fields.contains_key(field)))
}

/// Returns the id of this boot (random(4)); empty if it can't be read.
pub(super) fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_written_even_over_a_longer_one() {
        let file = tempfile::tempfile().expect("a file");
        Record::default().write(&file).expect("a written record");
        assert!(Record::fits(&file), "all of its fields are written, whatever they are");
        let mut record = Record::read(&file);
        (record.token, record.holder) = (Some(FencingToken::new(7)), "a rather long name".into());
        record.keep(Duration::from_secs(60));
        record.write(&file).expect("a written record");
        assert!(Record::read(&file).kept().is_some_and(|left| left > Duration::from_secs(50)));
        record.holder = "b".into();
        record.write(&file).expect("a written record");
        let leader = Record::read(&file).leader().map(|leader| leader.to_string());
        assert_eq!(leader.as_deref(), Some("b leads since 1970-01-01T00:00:00Z"));
    }

    #[test]
    fn notes_about_one_period_are_not_those_of_another_and_the_oldest_names_are_dropped() {
        let mut record = Record::default();
        let note = |noted, key: Option<&str>, text: &str, secs| Note {
            noted,
            key: key.map(|key| PeriodKey::new(key.into())),
            text: text.into(),
            lasts: Duration::from_secs(secs),
        };
        let key = |name: &str| PeriodKey::new(name.into());
        record.take(&note(Noted::Failure, None, "1", 60));
        record.take(&note(Noted::Failure, Some("a"), "2 {}", 60));
        record.take(&note(Noted::Success, Some("b"), "well", 70));
        let failures = |period: Option<&PeriodKey>, record: &Record| record.failures(period).count;
        assert_eq!([None, Some(&key("a")), Some(&key("b"))].map(|p| failures(p, &record)), [1, 2, 0]);
        assert!(record.success(Some(&key("b"))).is_some() && record.success(None).is_none());
        assert!(record.forget(Some(&key("a"))) && !record.forget(Some(&key("a"))));
        assert!(record.forget(None) && !record.forget(None));
        for number in 0..MOST_PERIODS {
            record.take(&note(Noted::Success, Some(&number.to_string()), "well", 80 + number as u64));
        }
        assert_eq!((record.periods.len(), record.success(Some(&key("b")))), (MOST_PERIODS, None));
        assert!(record.success(Some(&key("0"))).is_some());
    }

    #[test]
    fn a_reboot_frees_a_kept_lock_but_keeps_the_token() {
        let file = tempfile::tempfile().expect("a file");
        let mut record = Record { token: Some(FencingToken::new(7)), boot: "another".into(), ..Record::default() };
        record.keep(Duration::from_secs(60));
        record.write(&file).expect("a written record");
        assert_eq!((Record::read(&file).token, Record::read(&file).kept()), (Some(FencingToken::new(7)), None));
    }
}
