//! Observes a lock of this machine. Never locks it, not even for a moment: a candidate would find it taken.

use std::{
    collections::BTreeMap,
    fs::Permissions,
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::sync::Notify;

use super::{
    flocks,
    path::{LockFile, is_of_us_or_root, open_existing, open_private, queue_path},
    record::Record,
    runs,
};
use crate::{
    clock::show_time,
    history::{self, History},
    lease::{FencingToken, Turnout},
    lock::{LeadershipId, Slot},
    once_per::PeriodKey,
    status::{ElectionStatus, LeaderStatus, ListVotes, NodeStatus},
};

/// The stack size of the thread that watches the folder.
const WATCHING_STACK: usize = 64 * 1024;

/// Observes the lock of a resource on this machine.
pub(crate) struct LocalObserver {
    resource: String,
    /// The lock of the resource; those of slots are beside it.
    place: LockFile,
    slot: Slot,
    /// The period whose notes are meant, if it has a name.
    period: Option<PeriodKey>,
    changed: Arc<Notify>,
}

impl LocalObserver {
    /// Finds the lock's file, which the user may have `named`. Opens nothing yet.
    ///
    /// # Errors
    /// There is no folder for the lock.
    pub(crate) fn open(resource: &str, named: Option<&Path>, period: Option<PeriodKey>) -> Result<Self> {
        Ok(LocalObserver {
            resource: resource.to_owned(),
            place: LockFile::find(resource, named)?,
            slot: Slot::ONLY,
            period,
            changed: Arc::default(),
        })
    }

    /// Observes this slot from now on.
    pub(crate) fn turn_to(&mut self, slot: Slot) {
        self.slot = slot;
    }

    /// Looks once.
    pub(crate) fn look(&self) -> ElectionStatus {
        self.look_at(self.slot)
    }

    /// Looks once at all slots. The last one who led has said how many there are; where none has, there are `slots`.
    pub(crate) fn look_at_all(&self, slots: u16) -> Vec<ElectionStatus> {
        let said = self.place.open_to_read().ok().and_then(|file| Record::read(&file).slots);
        let one = self.look_at(Slot::ONLY);
        let slots = said.unwrap_or(if one.leader.is_some() { 1 } else { slots });
        if slots == Slot::ONLY.of { vec![one] } else { Slot::all(slots).map(|slot| self.look_at(slot)).collect() }
    }

    fn look_at(&self, slot: Slot) -> ElectionStatus {
        let place = self.place.slot(slot);
        let file = place.open_to_read().ok();
        let record = file.as_ref().map(Record::read).unwrap_or_default();
        let taken = file.as_ref().is_some_and(flocks::is_held);
        let kept = record.kept().filter(|_| !taken);
        let leader = (taken || kept.is_some()).then(|| leader(&record, kept));
        let node = NodeStatus {
            node: place.path().display().to_string(),
            holder: leader.as_ref().map(|leader| leader.holder.clone()),
            left: kept,
            token: record.token,
            failure: None,
        };
        ElectionStatus {
            resource: self.resource.clone(),
            slot: (!slot.is_only()).then_some(slot.number),
            now: ListVotes { nodes: 1, votes: usize::from(leader.is_some()), quorum: 1 },
            before: None,
            bare_quorum: false,
            leader,
            known: true,
            turnout: Turnout::of_this_machine(),
            other_servers: None,
            done: record.success(self.period.as_ref()),
            failures: self.period.as_ref().map(|period| record.past_failures(Some(period)).unwrap_or_default()),
            nodes: vec![node],
        }
    }

    /// Returns the last runs. `leads`: whether an instance leads now.
    pub(crate) fn history(&self, count: usize, leads: bool) -> History {
        let nodes = self.place.slot(self.slot).runs().map(|runs| runs::read(&runs)).unwrap_or_default();
        let (mut runs, last_success) = history::merge(&nodes, leads.then_some(""), |_| true);
        let mut counts = BTreeMap::new();
        for run in runs.iter().take(history::MOST_RUNS) {
            *counts.entry(run.word().to_owned()).or_default() += 1;
        }
        runs.truncate(count);
        History { runs, last_success, counts, turnout: Turnout::of_this_machine(), nodes: 1 }
    }

    /// Starts to listen for changes to the file: a new leader writes to it, one that has ended closes it.
    ///
    /// # Errors
    /// The system refuses an inotify(7) instance or a thread.
    pub(crate) fn listen(&self) -> Result<()> {
        let flags = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CLOSE_WRITE | AddWatchFlags::IN_CREATE;
        let changes = Inotify::init(InitFlags::IN_CLOEXEC).context("no inotify")?;
        let folder = self.place.path().parent().unwrap_or(Path::new("/"));
        changes.add_watch(folder, flags).with_context(|| format!("can't watch {}", folder.display()))?;
        let changed = self.changed.clone();
        let watch = move || {
            while changes.read_events().is_ok() {
                changed.notify_one();
            }
        };
        std::thread::Builder::new().stack_size(WATCHING_STACK).spawn(watch).context("can't start a thread to watch")?;
        Ok(())
    }

    /// Waits until something in the lock's folder has changed.
    pub(crate) async fn change(&self) {
        self.changed.notified().await;
    }

    /// Returns how many instances wait for the lock, or for that of any slot; `None` if that can't be seen.
    pub(crate) fn standbys(&self) -> Option<u32> {
        if self.slot.is_only() {
            return flocks::waiting(&self.place.open_to_read().ok()?);
        }
        match open_existing(&queue_path(self.place.path())) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Some(0),
            // The first one who waits for a slot has the queue locked.
            queue => flocks::held_or_waiting(&queue.ok()?),
        }
    }

    /// Asks the leader with this token to step down.
    ///
    /// # Errors
    /// The request can't be written.
    pub(crate) fn ask_to_step_down(&self, leader: FencingToken) -> Result<()> {
        let path = self.place.slot(self.slot).request();
        let mut request = open_private(&path)?;
        if !is_of_us_or_root(&request)? {
            bail!("{} belongs to another user, whom no leader of ours hears; remove it", path.display());
        }
        // A leader of another user hears root, if it can read this.
        let written = request
            .set_permissions(Permissions::from_mode(0o644))
            .and_then(|()| request.set_len(0))
            .and_then(|()| request.write_all(leader.to_string().as_bytes()));
        written.with_context(|| format!("can't write {}", path.display()))
    }

    /// Deletes what is noted about the period. Returns whether there was anything; `None` while somebody leads, who writes
    /// to the file. Alone of all that observes, this takes the lock for a moment: nobody may lead meanwhile.
    ///
    /// # Errors
    /// The file can't be written.
    pub(crate) fn forget(&self) -> Result<Option<bool>> {
        if self.place.open_to_read().is_err() {
            return Ok(Some(false));
        }
        let file = self.place.open()?;
        if file.try_lock().is_err() {
            return Ok(None);
        }
        let mut record = Record::read(&file);
        let noted = record.forget(self.period.as_ref());
        record.write(&file).with_context(|| format!("can't write {}", self.place.path().display()))?;
        Ok(Some(noted))
    }
}

/// Returns the status of the leader in the record. `kept`: how long the lock stays taken after its leader's end.
fn leader(record: &Record, kept: Option<Duration>) -> LeaderStatus {
    let token = record.token.unwrap_or(FencingToken::ZERO);
    // flock(1) leaves no name.
    let (holder, since) = match record.holder.as_str() {
        "" => ("another program".to_owned(), "an unknown time".to_owned()),
        holder => (holder.to_owned(), show_time(token.elected_at()).to_string()),
    };
    LeaderStatus { holder, since, token, kept: kept.is_some(), safe_for: kept, id: LeadershipId::Token(token) }
}
