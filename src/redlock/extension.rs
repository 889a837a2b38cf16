//! An extension on one node, which may leave a note there.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use super::{
    known_clocks::{KnownClocks, NodeTime},
    known_processes::KnownProcesses,
    known_votes::KnownVotes,
    net::{failure::Failure, node::Node},
    outcome::NodeReply,
    restoring::Restoring,
    scripts::{self, DatedNote, ExtendReply},
    session::LockSession,
};
use crate::{
    clock::{Moment, wall_micros},
    lease::Times,
    once_per::Note,
};

/// The first pause before a node that has not voted for us is asked again. Each pause is twice as long as the one before it.
const FIRST_PAUSE: Duration = Duration::from_millis(1);

/// What it takes to extend on a node.
pub(crate) struct Extension {
    pub node: Arc<Node>,
    pub session: Arc<LockSession>,
    pub clocks: Arc<KnownClocks>,
    pub votes: Arc<KnownVotes>,
    pub times: Times,
    pub processes: Arc<KnownProcesses>,
}

impl Extension {
    /// Extends on a node that did not vote for us. Until it does, asks again up to this moment: it may have the vote of another
    /// candidate, which gives that back, and the next one to get it may have another list and not know that we lead.
    pub(crate) async fn keep_asking(&self, mut until: Moment) {
        let (mut pause, longest) = (FIRST_PAUSE, self.times.retry_after());
        let latest = until + self.times.startup_grace();
        // We may have been stopped meanwhile. Nothing of a lost lease may follow the ends of later leaders.
        while self.votes.is_quorum(Moment::now()) && self.votes.other_list().is_none() {
            match self.extend().await {
                Ok(reply) if reply.is_vote() => return,
                Ok(ExtendReply::StartupGrace { left, .. }) => {
                    // It votes for nobody before that.
                    pause = left.max(longest);
                    until = until.max((Moment::now() + pause + longest).min(latest));
                }
                Ok(_) => {}
                Err(_) => pause = longest,
            }
            if broken!("asked_again") || Moment::now() + pause >= until {
                return;
            }
            sleep(pause).await;
            pause = (2 * pause).min(longest);
        }
    }

    /// Extends. A node that has granted a larger token to another candidate restores the lock only for an even larger one.
    async fn extend(&self) -> Result<ExtendReply, Failure> {
        match self.extend_once().await {
            Ok(ExtendReply::Overtaken { fence }) if self.votes.is_quorum(Moment::now()) => {
                self.session.overtake(fence, wall_micros());
                self.extend_once().await
            }
            answer => answer,
        }
    }

    /// Extends with the present token, and takes in whose vote the node's is.
    async fn extend_once(&self) -> Result<ExtendReply, Failure> {
        let sent = Moment::now();
        let reply = NodeReply { node: self.node.index, answer: self.ask(None).await };
        self.votes.hear_extended(&reply, self.times.lease_end(sent));
        reply.answer
    }

    /// Extends, and leaves a note that ends at this moment. The node gets the moment by its own clock: a node that hasn't told
    /// that yet does so in answer to an extension without the note, whether that counts or not. A note is true either way.
    ///
    /// # Errors
    /// Why there is no answer that counts.
    pub(crate) async fn ask(&self, note: Option<(Note, Moment)>) -> Result<ExtendReply, Failure> {
        let Some((note, ends)) = note else { return self.send(None).await };
        if self.clocks.at(self.node.index, ends).is_none() {
            let reply = self.send(None).await;
            if self.clocks.at(self.node.index, ends).is_none() {
                return reply;
            }
        }
        let ends = match broken!("note_end") {
            // For the script, which then takes it for the time from now on.
            true => Some(NodeTime::from_millis(note.lasts.as_millis() as u64)),
            false => self.clocks.at(self.node.index, ends),
        };
        self.send(ends.map(|ends| DatedNote { note, ends })).await
    }

    async fn send(&self, note: Option<DatedNote>) -> Result<ExtendReply, Failure> {
        let (sent, startup_grace) = (Moment::now(), self.times.startup_grace());
        let process = self.processes.known_for(self.node.index, startup_grace, sent);
        let start = self.session.leads_since().and_then(|since| self.clocks.at_first(self.node.index, since));
        let restoring = Restoring::new(&self.votes, self.node.index, &self.times, process);
        let settled = &restoring.settled;
        let extension = self.session.extension(&self.node.address, &self.times, start, settled, note.as_ref());
        let vote = self.node.ask_for_vote(extension).await?;
        let mut reply = scripts::extended(vote.answer, restoring.lasts()).ok_or(Failure::StrangeAnswer)?;
        self.clocks.hear(self.node.index, reply.time(), sent);
        if let ExtendReply::StartupGrace { left, run_id, .. } = &mut reply {
            let now = Moment::now();
            self.processes.saw(self.node.index, run_id, now);
            // One whose clock was set back may say more.
            *left = (*left).min(self.processes.known_in(self.node.index, startup_grace, now));
        }
        if reply.is_vote() {
            restoring.check(vote.master_for)?;
        }
        Ok(reply)
    }
}
