//! An extension on one node, which may leave a note there.

use std::sync::Arc;

use super::{
    known_clocks::{KnownClocks, NodeTime},
    net::{failure::Failure, node::Node},
    scripts::{self, DatedNote, ExtendReply},
    session::LockSession,
};
use crate::{clock::Moment, lease::Times, once_per::Note};

/// What it takes to extend on a node.
pub(crate) struct Extension {
    pub node: Arc<Node>,
    pub session: Arc<LockSession>,
    pub clocks: Arc<KnownClocks>,
    pub times: Times,
}

impl Extension {
    /// Extends, and leaves a note that ends at this moment. The node gets the moment by its own clock: a node that hasn't told
    /// that yet does so in answer to an extension without the note.
    ///
    /// # Errors
    /// Why there is no answer that counts.
    pub(crate) async fn ask(self, note: Option<(Note, Moment)>) -> Result<ExtendReply, Failure> {
        let Some((note, ends)) = note else { return self.send(None).await };
        if self.clocks.at(self.node.index, ends).is_none() {
            let reply = self.send(None).await?;
            if !reply.is_vote() {
                return Ok(reply);
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
        let sent = Moment::now();
        let start = self.session.leads_since().and_then(|since| self.clocks.at_first(self.node.index, since));
        let extension = self.session.extension(&self.node.address, &self.times, start, note.as_ref());
        let vote = self.node.ask_for_vote(extension).await?;
        let reply = scripts::extended(vote.answer).ok_or(Failure::StrangeAnswer)?;
        self.clocks.hear(self.node.index, reply.time(), sent);
        Ok(reply)
    }
}
