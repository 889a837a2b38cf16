//! Leading: the timely extension of the lease, the guard's part, and the end.

use std::time::Duration;

use super::{FILL_IN, Guarded, Instance, Kind, Phase, Timer};
use crate::{
    clock::Moment,
    lease::{VoteResult, quorum},
    lock::ReleaseOptions,
    once_per::{Note, Noted},
    redlock::{
        outcome,
        simulated::{AcquireReply, ExtendReply, NodeReply},
    },
    renewal::RenewalSchedule,
    simulation::{
        TTL,
        world::{Ask, MS, World},
    },
};

impl Instance {
    pub(super) fn extend(&mut self, world: &mut World) {
        let key = self.session.key();
        let ask = |_: usize, _: &Self| Some(Ask::Extend { key: key.clone(), note: None });
        self.ask_all(Kind::Extension { replies: Vec::new(), notes: false }, ask, world);
    }

    /// Records a success before the lease is released.
    pub(super) fn note(&mut self, world: &mut World) {
        self.phase = Phase::Noting;
        let key = self.session.key();
        let lasts = self.rest_of(world.schedule.period, world);
        if lasts.is_zero() {
            return self.release(ReleaseOptions::default(), world);
        }
        let note = Note { noted: Noted::Success, text: "done".into(), lasts };
        let ask = |_: usize, _: &Self| Some(Ask::Extend { key: key.clone(), note: Some(note.clone()) });
        self.ask_all(Kind::Extension { replies: Vec::new(), notes: true }, ask, world);
    }

    pub(super) fn rest_of(&self, time: Duration, world: &World) -> Duration {
        time.saturating_sub(Duration::from_nanos(((world.now - self.began(world)) as f64 * self.rate) as u64))
    }

    pub(super) fn began(&self, world: &World) -> u64 {
        self.guarded.map_or(world.now, |guarded| guarded.began)
    }

    pub(super) fn release(&mut self, options: ReleaseOptions, world: &mut World) {
        self.phase = Phase::Releasing;
        let key = self.session.key();
        let teller = world.random.usize(0..self.nodes(world));
        let ask = |node: usize, _: &Self| Some(Ask::Release { key: key.clone(), tell: node == teller, options });
        self.ask_all(Kind::Release { confirmed: 0, options }, ask, world);
    }

    pub(super) fn lead(&mut self, replies: &[NodeReply<AcquireReply>], number: u32, sent: Moment, world: &mut World) {
        self.phase = Phase::Leading;
        self.won = Some(number);
        for NodeReply { node, answer } in replies {
            if answer.as_ref().is_ok_and(|a| !a.is_vote()) {
                self.fill_in(*node, world);
            }
        }
        let now = self.clock(world);
        let renewal = RenewalSchedule::new(world.times, Some(sent), now);
        let deadlines = self.deadlines(world, sent);
        let succeeds = world.random.u8(0..3) > 0;
        self.guarded = Some(Guarded { deadlines, version: 0, runs: false, began: world.now, succeeds });
        world.timer(self.until(renewal.next_extension(), world), Timer::Extend(self.rounds), self.process());
        self.renewal = Some(renewal);
        // The guard may be frozen between the order and the exec.
        let frozen = !world.quiet && world.random.u8(0..20) == 0;
        let after = if frozen { world.random.u64(0..2 * TTL.as_nanos() as u64) } else { MS / 5 };
        world.timer(after, Timer::Exec, self.process());
    }

    pub(super) fn fill_in(&mut self, node: usize, world: &mut World) {
        let key = self.session.key();
        world.send(node, Ask::Extend { key, note: None }, self.process(), FILL_IN);
    }

    /// Runs in the guard, or in the command's process just before its exec.
    pub(super) fn exec(&mut self, world: &mut World) {
        let Some(mut guarded) = self.guarded else { return };
        if self.clock(world) >= guarded.deadlines.stop_at {
            return self.after_command(false, world);
        }
        (guarded.runs, guarded.began) = (true, world.now);
        self.guarded = Some(guarded);
        world.command_starts(self.process(), self.session.key().token);
        let lasts = world.exponential(world.schedule.command_lasts);
        world.timer(lasts, Timer::Exit, self.process());
        self.keep_deadline(world);
    }

    pub(super) fn keep_deadline(&mut self, world: &mut World) {
        if let Some(guarded) = self.guarded {
            let deadline = self.until(guarded.deadlines.kill_at, world);
            world.timer(deadline, Timer::Deadline(guarded.version), self.process());
        }
    }

    pub(super) fn extended(
        &mut self,
        replies: &[NodeReply<ExtendReply>],
        notes: bool,
        sent: Moment,
        world: &mut World,
    ) {
        let now = self.clock(world);
        let extent = outcome::extension(&self.counted(world, replies), replies);
        if notes {
            return self.noted(extent, now, world);
        }
        let deadlines = self.deadlines(world, sent);
        let Some(renewal) = &mut self.renewal else { return };
        match extent {
            VoteResult::Won => {
                if renewal.extended(Some(deadlines), now).is_some()
                    && let Some(guarded) = &mut self.guarded
                {
                    (guarded.deadlines, guarded.version) = (deadlines, guarded.version + 1);
                    self.keep_deadline(world);
                }
            }
            VoteResult::Pending => renewal.failed(now, world.random.f64()),
            VoteResult::Lost => {
                self.lost = true;
                if self.guarded.is_some_and(|guarded| guarded.runs) {
                    let takes = world.random.u64(0..world.times.kill_after().as_nanos() as u64);
                    world.timer(takes, Timer::Dead, self.process());
                }
                return;
            }
        }
        if let Some(next) = self.renewal.map(|renewal| renewal.next_extension()) {
            world.timer(self.until(next, world), Timer::Extend(self.rounds), self.process());
        }
    }

    pub(super) fn noted(&mut self, extent: VoteResult, now: Moment, world: &mut World) {
        let over = self.renewal.is_none_or(|renewal| renewal.is_over(now));
        match extent {
            VoteResult::Won => {
                world.closes(self.began(world), world.schedule.period);
                self.release(ReleaseOptions { succeeded: true, hold: None }, world);
            }
            VoteResult::Pending if !over => {
                let again = world.times.retry_after().as_nanos() as u64;
                world.timer(again, Timer::NoteAgain, self.process());
            }
            VoteResult::Pending | VoteResult::Lost => self.release(ReleaseOptions::default(), world),
        }
    }

    pub(super) fn command_ends(&mut self, by_itself: bool, world: &mut World) {
        if let Some(guarded) = self.guarded.as_mut().filter(|guarded| guarded.runs) {
            guarded.runs = false;
            let succeeded = by_itself && guarded.succeeds && !self.lost;
            self.lost |= !by_itself;
            world.command_is_dead(self.process());
            self.after_command(succeeded, world);
        }
    }

    /// Acts on an empty tree: the elector records and releases once it runs again; for a dead elector the guard does.
    pub(super) fn after_command(&mut self, succeeded: bool, world: &mut World) {
        self.round = None;
        let hold = self.rest_of(world.schedule.hold, world);
        let options = ReleaseOptions { succeeded: false, hold: (!self.lost && !hold.is_zero()).then_some(hold) };
        match (succeeded && self.once_per.is_some(), self.elector_dead) {
            (true, false) => {
                self.phase = Phase::Noting;
                world.timer(0, Timer::NoteAgain, self.process());
            }
            (_, false) => self.release(options, world),
            (_, true) => self.release(ReleaseOptions::default(), world),
        }
    }

    pub(super) fn released(&mut self, confirmed: usize, options: ReleaseOptions, world: &mut World) {
        if options.hold.is_some() && confirmed >= quorum(self.nodes(world)) {
            world.closes(self.began(world), world.schedule.hold);
        }
        self.end(world);
    }

    pub(super) fn end(&mut self, world: &mut World) {
        self.phase = Phase::Releasing;
        self.round = None;
        world.timer(0, Timer::End, self.process());
    }

    /// Kills the elector, or the whole host.
    pub fn killed(&mut self, host: bool, world: &mut World) {
        world.tell(|| format!("instance {}: {} killed", self.index, if host { "host" } else { "elector" }));
        if host {
            world.command_is_dead(self.process());
            return self.begin_anew(world);
        }
        match self.guarded {
            Some(guarded) if guarded.runs && self.phase == Phase::Leading => {
                self.elector_dead = true;
                self.frozen_until = 0;
                let takes = world.random.u64(0..5 * MS);
                world.timer(takes, Timer::Dead, self.process());
            }
            _ => self.begin_anew(world),
        }
    }
}
