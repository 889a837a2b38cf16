//! Looking at a lock without competing for it.

use std::{collections::HashMap, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};

use super::{
    config::RedlockConfig,
    net::{
        failure::Failure,
        node::Node,
        pubsub::{MOST_NOTIFICATIONS, Notification, NotificationSender},
    },
    outcome::{NodeReply, answers},
    round::{SERVERS_COMPARED_WITHIN, answers_within},
    scripts::{Keys, LookReply},
    session::{LockValue, lock_value},
};
use crate::{
    clock::{Moment, told_time},
    lease::{Times, quorum},
    once_per::told_of_success,
    status::{ElectionStatus, LeaderStatus, NodeStatus},
};

/// All nodes of a lock, to be looked at.
pub struct RedlockObserver {
    resource: String,
    nodes: Vec<Node>,
    keys: Keys,
    times: Times,
    news: mpsc::Receiver<Notification>,
}

impl RedlockObserver {
    /// Begins to connect to all nodes; from within the runtime.
    pub fn open(config: &RedlockConfig, resource: &str, times: Times) -> Self {
        let (sender, news) = mpsc::channel(MOST_NOTIFICATIONS);
        let node = |index| Node::at(config, index, &config.lock, NotificationSender(sender.clone()), &times);
        let nodes = (0..config.addresses.len()).map(node).collect();
        RedlockObserver { resource: resource.to_owned(), nodes, keys: Keys::new(&config.lock), times, news }
    }

    /// One look at all nodes. A node that is slow is not waited for longer than it takes the others, but for a moment.
    pub async fn look(&self) -> ElectionStatus {
        let ask = |node: &Node| {
            let (index, asked) = (node.index, node.ask_for_vote(self.keys.look()));
            async move {
                let looked = asked.await.and_then(|vote| LookReply::read(vote.answer).ok_or(Failure::StrangeAnswer));
                (index, looked)
            }
        };
        let began = Moment::now();
        let mut asked: FuturesUnordered<_> = self.nodes.iter().map(ask).collect();
        let mut replies: Vec<NodeReply<LookReply>> = Vec::new();
        while answers(&replies).count() < quorum(self.nodes.len())
            && let Some(answer) = asked.next().await
        {
            replies.push(answer);
        }
        let wait_policy = Moment::now().since(began).max(SERVERS_COMPARED_WITHIN);
        replies.extend(answers_within(&mut asked, wait_policy).await);
        self.status(&replies)
    }

    /// Makes the nodes tell of changes.
    pub fn listen(&self) {
        self.nodes.iter().for_each(Node::listen);
    }

    /// Waits until the nodes tell of a change, or what was seen could have run out.
    pub async fn change(&mut self, seen: &ElectionStatus) {
        let runs_out = seen.leader.as_ref().and_then(|leader| leader.safe_for);
        let unsettled = seen.leader.is_none().then_some(self.times.ttl());
        match runs_out.map(|left| left + self.times.drift()).or(unsettled) {
            Some(within) => drop(timeout(within, self.news.recv()).await),
            None => drop(self.news.recv().await),
        }
        // A vote that is told is one of several: they are there a moment later.
        sleep(self.times.retry_after().min(Duration::from_millis(20))).await;
        while self.news.try_recv().is_ok() {}
    }

    /// Asks the leader to step down. True if a quorum of nodes will tell it.
    pub async fn ask_to_step_down(&self, leader: &LeaderStatus) -> bool {
        let cmd = self.keys.ask_to_step_down(&leader.value, 2 * self.times.ttl());
        let asked = futures_util::future::join_all(self.nodes.iter().map(|node| node.ask(cmd.clone()))).await;
        asked.iter().filter(|answer| answer.is_ok()).count() >= quorum(self.nodes.len())
    }

    fn status(&self, replies: &[NodeReply<LookReply>]) -> ElectionStatus {
        let needed = quorum(self.nodes.len());
        let mut votes: HashMap<&str, Vec<&LookReply>> = HashMap::new();
        for looked in answers(replies).filter(|looked| !looked.value.is_empty()) {
            votes.entry(&looked.value).or_default().push(looked);
        }
        let elected = votes.into_iter().find(|(_, votes)| votes.len() >= needed);
        let done = answers(replies).find(|looked| !looked.done.is_empty());
        ElectionStatus {
            resource: self.resource.clone(),
            votes: elected.as_ref().map_or(0, |(_, votes)| votes.len()),
            leader: elected.map(|(value, votes)| leader(value, votes, needed)),
            quorum: needed,
            known: answers(replies).count() >= needed,
            done: done.map(|looked| told_of_success(&looked.done, looked.done_left)),
            nodes: self.nodes.iter().map(|node| view(node, replies)).collect(),
        }
    }
}

/// Whom a quorum has elected. It is safe until one node less than a quorum is left.
fn leader(value: &str, mut votes: Vec<&LookReply>, needed: usize) -> LeaderStatus {
    votes.sort_by_key(|looked| std::cmp::Reverse(looked.left.unwrap_or(Duration::MAX)));
    let LockValue { holder, kept, .. } = lock_value(value);
    let token = votes.iter().map(|looked| looked.fence).min().unwrap_or_default();
    let safe_for = votes.get(needed - 1).and_then(|looked| looked.left);
    LeaderStatus { holder, since: told_time(token), token, kept, safe_for, value: value.to_owned() }
}

fn view(node: &Node, replies: &[NodeReply<LookReply>]) -> NodeStatus {
    let (label, answer) = (node.address.to_string(), replies.iter().find(|(index, _)| *index == node.index));
    let none = NodeStatus { node: label, holder: None, left: None, token: None, failure: None };
    match answer {
        None => NodeStatus { failure: Some(Failure::NotHeard.to_string()), ..none },
        Some((_, Err(failure))) => NodeStatus { failure: Some(failure.to_string()), ..none },
        Some((_, Ok(looked))) => {
            let holder = (!looked.value.is_empty()).then(|| lock_value(&looked.value).holder);
            NodeStatus { holder, left: looked.left, token: Some(looked.fence).filter(|&fence| fence > 0), ..none }
        }
    }
}
