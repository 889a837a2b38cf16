//! What a lock's file holds: the last leader, and what is to outlive it.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom, Write},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{
    clock::{Moment, told_time},
    once_per::{Failures, Note, Noted},
};

/// The file's contents.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Record {
    pub token: u64,
    pub holder: String,
    /// The boot that the times below count from: they mean nothing after another one.
    #[serde(default)]
    boot: String,
    #[serde(default)]
    kept: Option<Timed>,
    #[serde(default)]
    done: Option<Timed>,
    #[serde(default)]
    failed: Option<Timed>,
}

/// Something that is over at a given time.
#[derive(Debug, Serialize, Deserialize)]
struct Timed {
    text: String,
    until: Moment,
}

impl Timed {
    fn new(text: &str, lasts: Duration) -> Self {
        Timed { text: text.to_owned(), until: Moment::now() + lasts }
    }

    /// What is left; `None` when it is over.
    fn left(&self) -> Option<Duration> {
        Some(self.until.remaining()).filter(|left| !left.is_zero())
    }
}

impl Record {
    /// The record in this file; an empty one where there is none.
    pub fn read(mut file: &File) -> Self {
        let mut text = String::new();
        let read = file.seek(SeekFrom::Start(0)).and_then(|_| file.read_to_string(&mut text));
        let mut record: Record = read.ok().and_then(|_| serde_json::from_str(&text).ok()).unwrap_or_default();
        let boot = boot();
        if record.boot != boot {
            record = Record { token: record.token, holder: record.holder, boot, ..Record::default() };
        }
        record
    }

    /// Replaces the file's contents in one call, so that neither a reader without the lock nor a kill finds half of it: what
    /// is left of a longer one is blanks.
    pub fn write(&self, mut file: &File) -> std::io::Result<()> {
        let mut text = serde_json::to_vec(self)?;
        let old = usize::try_from(file.metadata()?.len()).unwrap_or_default();
        text.resize(old.saturating_sub(1).max(text.len()), b' ');
        text.push(b'\n');
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&text)
    }

    /// Who leads, if the lock is taken.
    pub fn leader(&self) -> Option<String> {
        let since = told_time(self.token);
        (!self.holder.is_empty()).then(|| format!("{} leads since {since}", self.holder))
    }

    pub fn take(&mut self, note: &Note) {
        let place = match note.noted {
            Noted::Done => &mut self.done,
            Noted::Failed => &mut self.failed,
        };
        *place = Some(Timed::new(&note.text, note.lasts));
    }

    /// The lock stays taken for so long.
    pub fn keep(&mut self, hold: Duration) {
        self.kept = Some(Timed::new("", hold));
    }

    /// For how long the lock stays taken.
    pub fn kept(&self) -> Option<Duration> {
        self.kept.as_ref()?.left()
    }

    /// The note of a success in this period, and what is left of the period.
    pub fn done(&self) -> Option<(&str, Duration)> {
        let done = self.done.as_ref()?;
        Some((&done.text, done.left()?))
    }

    pub fn failures(&self) -> Failures {
        let failed = self.failed.as_ref().and_then(|failed| Some((failed.text.parse().ok()?, failed.left()?)));
        failed.map_or_else(Failures::default, |(count, left)| Failures { count, left: Some(left) })
    }
}

/// The id of this boot (random(4)); empty where it can't be read.
fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_back_as_it_was_written_also_over_a_longer_one() {
        let file = tempfile::tempfile().expect("a file");
        let mut record = Record::read(&file);
        (record.token, record.holder) = (7, "a rather long name".into());
        record.keep(Duration::from_secs(60));
        record.write(&file).expect("a written record");
        assert!(Record::read(&file).kept().is_some_and(|left| left > Duration::from_secs(50)));
        record.holder = "b".into();
        record.write(&file).expect("a written record");
        assert_eq!(Record::read(&file).leader().as_deref(), Some("b leads since 1970-01-01T00:00:00Z"));
    }

    #[test]
    fn what_was_kept_before_a_boot_is_forgotten_and_the_token_is_not() {
        let file = tempfile::tempfile().expect("a file");
        let mut record = Record { token: 7, boot: "another".into(), ..Record::default() };
        record.keep(Duration::from_secs(60));
        record.write(&file).expect("a written record");
        assert_eq!((Record::read(&file).token, Record::read(&file).kept()), (7, None));
    }
}
