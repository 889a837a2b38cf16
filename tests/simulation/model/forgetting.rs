//! What can make no difference any more in the model.

use super::{
    decisions::LOCK,
    state::{Body, Message, Node, Phase, Purpose, State},
    steps::Model,
};

impl Model {
    /// Forgets what can make no difference any more, so that fewer states differ.
    pub fn forget(&self, state: &mut State) {
        if state.left.reverts == 0 {
            state.nodes.iter_mut().for_each(|node| node.saved = None);
        }
        for candidate in 0..2 {
            let may_show = state.candidates[1 - candidate].campaigns > 0;
            let ours = &mut state.candidates[candidate];
            ours.shown &= may_show;
            match ours.phase {
                Phase::Idle => ours.token = 0,
                Phase::Leads { .. } => ours.largest_seen = 0,
                Phase::Campaigns { .. } => {}
            }
            let has_ended = ours.phase == Phase::Idle && ours.campaigns == 0;
            let may_extend = matches!(ours.phase, Phase::Leads { .. }) && ours.extensions > 0;
            let messages = || state.nodes.iter().flat_map(|node| &node.messages);
            let extends =
                may_extend || messages().any(|message| message.is_of(candidate) && message.purpose == Purpose::FillsIn);
            for node in &mut state.nodes {
                let lasts = |sent: &u8| extends && self.decisions.is_vote_known(*sent, state.now);
                node.voted[candidate] = node.voted[candidate].filter(lasts);
                node.messages.retain(|message| match message.body {
                    Body::Answer(answer) => self.follows(answer).is_some(),
                    Body::Request(_) => true,
                });
                if has_ended && !self.may_lock(node, candidate) {
                    // Its releases release nothing.
                    node.messages.retain(|message| !message.is_of(candidate));
                }
            }
        }
    }

    /// Returns whether a node has a lock of a candidate, or a request of it that may set one.
    fn may_lock(&self, node: &Node, candidate: usize) -> bool {
        let is_release =
            |message: &Message| matches!(message.body, Body::Request(request) if self.decisions.is_release(request));
        let value = self.decisions.value(candidate).as_str();
        [Some(node.server), node.saved]
            .into_iter()
            .flatten()
            .any(|had| self.nodes.has_lock(had, LOCK.as_bytes(), value))
            || node.messages.iter().any(|message| message.is_of(candidate) && !is_release(message))
    }
}
