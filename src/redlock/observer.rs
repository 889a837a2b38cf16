//! Observes a lock without competing for it.

use std::{cmp::Reverse, collections::HashMap, sync::Arc, time::Duration};

use futures_util::future::join_all;
use redis::Value;
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};

use super::{
    config::RedlockConfig,
    net::{
        failure::Failure,
        node::Node,
        pubsub::{MOST_NOTIFICATIONS, Notification, NotificationSender, Subscription},
    },
    outcome::{NodeReply, answers, nodes_that},
    round::Round,
    scripts::{Keys, LookReply, SurveyReply},
    shortfall,
};
use crate::{
    clock::{Moment, show_time},
    lease::{FencingToken, LONGEST_TTL, Nodes, Quorums, Times, Turnout, quorum},
    lock::{LeadershipId, LockValue, MOST_SLOTS, NodeFault, OtherServers, Slot},
    once_per::PeriodKey,
    status::{ElectionStatus, LeaderStatus, ListVotes, NodeStatus},
};

/// The minimum time that a look waits for nodes that it doesn't need.
const ALL_ANSWER_WITHIN: Duration = Duration::from_millis(250);

/// The longest wait after a notification for the other nodes to follow.
const OTHERS_FOLLOW_WITHIN: Duration = Duration::from_millis(20);

/// Observes a lock on all of its nodes.
pub(crate) struct RedlockObserver {
    resource: String,
    pub(super) nodes: Vec<Arc<Node>>,
    pub(super) lock: String,
    slot: Slot,
    pub(super) quorums: Quorums,
    pub(super) times: Times,
    /// The period whose success is looked for.
    period: Option<PeriodKey>,
    notifications: mpsc::Receiver<Notification>,
}

impl RedlockObserver {
    /// Begins to connect to all nodes. Must be called within the runtime.
    pub(crate) fn open(config: &RedlockConfig, resource: &str, times: Times, period: Option<PeriodKey>) -> Self {
        let (sender, notifications) = mpsc::channel(MOST_NOTIFICATIONS);
        let lock = config.lock.clone();
        let node = |index: usize| {
            let Keys { channel, watchers, .. } = Keys::new(&lock, config.addresses[index].database());
            let notifications = NotificationSender(sender.clone());
            let subscription = Subscription { channel, second: Some(watchers), notifications };
            Arc::new(Node::at(config, index, subscription, &times))
        };
        let nodes = (0..config.addresses.len()).map(node).collect();
        RedlockObserver {
            resource: resource.to_owned(),
            nodes,
            lock,
            slot: Slot::ONLY,
            quorums: config.quorums.clone(),
            times,
            period,
            notifications,
        }
    }

    /// Observes this slot from now on.
    pub(crate) fn turn_to(&mut self, slot: Slot) {
        self.slot = slot;
    }

    /// Returns an observer of another lock on the same nodes, which only looks.
    pub(super) fn of_other(&self, resource: &str, lock: String) -> Self {
        let (_, notifications) = mpsc::channel(1);
        let (nodes, quorums, times) = (self.nodes.clone(), self.quorums.clone(), self.times);
        let (resource, slot, period) = (resource.to_owned(), Slot::ONLY, None);
        RedlockObserver { resource, nodes, lock, slot, quorums, times, period, notifications }
    }

    /// Looks once at all nodes.
    pub(crate) async fn look(&self) -> ElectionStatus {
        self.status(self.slot, &self.ask(self.slot).await)
    }

    /// Looks once at all slots. How many there are, an instance that leads has said; where none has, there are `slots`.
    pub(crate) async fn look_at_all(&self, slots: u16) -> Vec<ElectionStatus> {
        let replies = self.ask(Slot::ONLY).await;
        let one = self.status(Slot::ONLY, &replies);
        let slots = self.slots_according_to(&replies).unwrap_or(if one.leader.is_some() { 1 } else { slots });
        if slots == Slot::ONLY.of {
            return vec![one];
        }
        let look = async |slot| self.status(slot, &self.ask(slot).await);
        join_all(Slot::all(slots).map(look)).await
    }

    /// Returns how many slots were led since the resource was led without slots, if any: by their fences on a quorum. `seen`:
    /// what a look at the resource without slots has found.
    pub(crate) async fn slots_led_before(&self, seen: &ElectionStatus) -> Option<u16> {
        let without = seen.nodes.iter().filter_map(|node| node.token).max().unwrap_or(FencingToken::ZERO);
        let most = Slot { number: 1, of: MOST_SLOTS };
        let mut round = Round::ask_for_votes(
            &self.nodes,
            |node| self.keys_of(most, node).survey(),
            |vote| SurveyReply::read(vote.answer).ok_or(Failure::StrangeAnswer),
        );
        self.hear_out(&mut round).await;
        let replies = round.end();
        let is_led = |number: &u16| {
            let is_led_on = |survey: &SurveyReply| {
                let slot = survey.slots.get(usize::from(*number) - 1);
                slot.is_some_and(|(_, fence)| *fence > without)
            };
            self.quorums.is_reached_in_one(&nodes_that(&replies, is_led_on))
        };
        (1..=MOST_SLOTS).filter(is_led).max().map(|number| number.max(2))
    }

    /// Returns how many slots there are, if a quorum of nodes knows of more than one.
    fn slots_according_to(&self, replies: &[NodeReply<LookReply>]) -> Option<u16> {
        let on = |looked: &LookReply| looked.value.as_ref().map(LockValue::slots).filter(|slots| *slots <= MOST_SLOTS);
        let mut several = answers(replies).filter_map(on).filter(|&slots| slots > Slot::ONLY.of);
        several.find(|&slots| self.quorums.is_reached_in_one(&nodes_that(replies, |looked| on(looked) == Some(slots))))
    }

    /// Asks all nodes for what they have of a slot.
    async fn ask(&self, slot: Slot) -> Vec<NodeReply<LookReply>> {
        let mut round = Round::ask_for_votes(
            &self.nodes,
            |node| self.keys_of(slot, node).look(self.period.as_ref()),
            |vote| LookReply::read(vote.answer).ok_or(Failure::StrangeAnswer),
        );
        self.hear_out(&mut round).await;
        round.end()
    }

    /// Takes the answers to a look. After a quorum has answered, slow nodes get as long again, or a short minimum.
    pub(super) async fn hear_out<A: Send + 'static>(&self, round: &mut Round<A>) {
        round.take_while(|replies| !self.is_known(replies)).await;
        round.wait(Moment::now().since(round.sent()).max(ALL_ANSWER_WITHIN)).await;
    }

    /// Starts to listen for changes on the nodes.
    pub(crate) fn listen(&self) {
        self.nodes.iter().for_each(|node| node.listen());
    }

    /// Waits until a node reports a change, or what was seen could have expired.
    pub(crate) async fn change(&mut self, seen: &[ElectionStatus]) {
        let within = |seen: &ElectionStatus| {
            let runs_out = seen.leader.as_ref().and_then(|leader| leader.safe_for);
            let unsettled = seen.leader.is_none().then_some(self.times.ttl());
            runs_out.map(|left| left + self.times.drift()).or(unsettled)
        };
        match seen.iter().filter_map(within).min() {
            Some(within) => drop(timeout(within, self.notifications.recv()).await),
            None => drop(self.notifications.recv().await),
        }
        // A reported vote is one of several; the others follow in a moment.
        sleep(self.times.retry_after().min(OTHERS_FOLLOW_WITHIN)).await;
        while self.notifications.try_recv().is_ok() {}
    }

    /// Returns how many instances stand by: as many as a quorum of nodes counts at least. `None` if no quorum can say. Those
    /// who only watch don't count.
    pub(crate) async fn standbys(&self) -> Option<u32> {
        let mut round = Round::ask(&self.nodes, |node| {
            let asked = node.ask(self.keys(node).count_listeners());
            async move { asked.await.and_then(standbys) }
        });
        self.hear_out(&mut round).await;
        let counted = |node| {
            let reply = round.replies().iter().find(|reply| reply.node == node)?;
            reply.answer.as_ref().ok().map(|&standbys| Reverse(standbys))
        };
        self.quorums.reached_at(counted).map(|Reverse(standbys)| standbys)
    }

    /// Asks the leader with this lock to step down. Returns whether a quorum of nodes will pass that on.
    pub(crate) async fn ask_to_step_down(&self, leader: &LockValue) -> bool {
        // The leader hears of it with its next extension.
        let theirs = leader.ttl().filter(|&ttl| ttl <= LONGEST_TTL).unwrap_or_default();
        let lasts = 2 * theirs.max(self.times.ttl());
        let ask = |node: &Arc<Node>| node.ask(self.keys(node).ask_to_step_down(leader, lasts));
        let asked = futures_util::future::join_all(self.nodes.iter().map(ask)).await;
        let asked =
            self.nodes.iter().zip(asked).filter(|(_, answer)| answer.is_ok()).map(|(node, _)| node.index).collect();
        self.quorums.is_reached(&asked)
    }

    /// Deletes what is noted about the period. Returns whether there was anything, and the nodes on which it may still be.
    pub(crate) async fn forget(&self) -> (bool, Vec<NodeFault>) {
        let ask = |node: &Arc<Node>| node.ask(self.keys(node).forget(self.period.as_ref()));
        let answers = futures_util::future::join_all(self.nodes.iter().map(ask)).await;
        let (mut noted, mut faults) = (false, Vec::new());
        for (node, answer) in self.nodes.iter().zip(answers) {
            match answer {
                Ok(deleted) => noted |= deleted != Value::Int(0),
                Err(failure) => faults.push(shortfall::unanswered(node, failure)),
            }
        }
        (noted, faults)
    }

    pub(super) fn keys(&self, node: &Node) -> Keys {
        self.keys_of(self.slot, node)
    }

    fn keys_of(&self, slot: Slot, node: &Node) -> Keys {
        Keys::of_slot(&self.lock, slot, node.address.database())
    }

    /// Returns whether a quorum has answered.
    pub(super) fn is_known<A>(&self, replies: &[NodeReply<A>]) -> bool {
        self.quorums.is_reached(&nodes_that(replies, |_| true))
    }

    /// Returns how many have answered.
    pub(super) fn turnout<A>(&self, replies: &[NodeReply<A>]) -> Turnout {
        let failure = |reply: &NodeReply<A>| {
            let failure = reply.answer.as_ref().err()?;
            Some((reply.node, format!("{} {failure}", self.nodes[reply.node].address)))
        };
        self.quorums.turnout(&nodes_that(replies, |_| true), replies.iter().filter_map(failure).collect())
    }

    /// Returns an instance with another number of nodes that has one of these locks.
    fn other_servers(&self, locks: &HashMap<&LockValue, HashMap<usize, &LookReply>>) -> Option<OtherServers> {
        let ours = self.quorums.sizes();
        locks.iter().find_map(|(value, votes)| {
            let theirs = value.lists().filter(|&theirs| theirs != ours)?;
            let node = self.nodes.get(*votes.keys().min()?)?.address.to_string();
            Some(OtherServers { node, holder: value.holder(), theirs, ours })
        })
    }

    fn status(&self, slot: Slot, replies: &[NodeReply<LookReply>]) -> ElectionStatus {
        let mut locks: HashMap<&LockValue, HashMap<usize, &LookReply>> = HashMap::new();
        for NodeReply { node, answer } in replies {
            if let Ok(looked) = answer
                && let Some(value) = &looked.value
            {
                locks.entry(value).or_default().insert(*node, looked);
            }
        }
        let leads = |value: &LockValue, votes: &HashMap<usize, &LookReply>| {
            self.quorums.is_reached_by(value.lists(), &votes.keys().copied().collect())
        };
        let elected = locks.iter().find(|(value, votes)| leads(value, votes)).map(|(value, _)| *value);
        let other_servers = if elected.is_none() { self.other_servers(&locks) } else { None };
        let elected = elected.and_then(|value| locks.remove_entry(value));
        let on: Nodes = elected.iter().flat_map(|(_, votes)| votes.keys().copied()).collect();
        let turnout = self.turnout(replies);
        let mut lists = self.quorums.lists().map(|list| ListVotes {
            nodes: list.len(),
            votes: list.intersection(&on).count(),
            quorum: quorum(list.len()),
        });
        // Another's lists may be one of ours.
        let reached = self.quorums.reached(&on);
        ElectionStatus {
            resource: self.resource.clone(),
            slot: (!slot.is_only()).then_some(slot.number),
            now: lists.next().unwrap_or_default(),
            before: lists.next(),
            bare_quorum: reached.as_ref().is_some_and(|reached| reached.is_bare(&on)),
            leader: elected.zip(reached).map(|((value, votes), reached)| leader(value, &votes, &reached)),
            known: turnout.known && other_servers.is_none(),
            turnout,
            other_servers,
            done: answers(replies).find_map(|looked| looked.success.clone()),
            failures: answers(replies)
                .filter_map(|looked| looked.failures.clone())
                .max_by_key(|failures| failures.count),
            nodes: self.nodes.iter().map(|node| node_status(node, replies)).collect(),
        }
    }
}

/// Reads how many listen on a lock's channel, and takes off those who only watch.
fn standbys(count: Value) -> Result<u32, Failure> {
    let counted = redis::from_redis_value::<(String, u32, String, u32)>(count);
    counted.map(|(_, all, _, watch)| all.saturating_sub(watch)).map_err(|_| Failure::StrangeAnswer)
}

/// Returns the status of the leader that has a quorum of these lists. It is safe until only one node less than a quorum has
/// its lock.
fn leader(value: &LockValue, votes: &HashMap<usize, &LookReply>, reached: &Quorums) -> LeaderStatus {
    // A node that has lost its fence may have got the lock back.
    let token = votes.values().map(|looked| looked.fence.unwrap_or(FencingToken::ZERO)).min();
    let token = token.unwrap_or(FencingToken::ZERO);
    let lasts = |node: usize| Some(Reverse(votes.get(&node)?.left.unwrap_or(Duration::MAX)));
    LeaderStatus {
        holder: value.holder(),
        since: show_time(token.elected_at()),
        token,
        kept: value.is_kept(),
        safe_for: reached.reached_at(lasts).map(|Reverse(left)| left).filter(|&left| left < Duration::MAX),
        id: LeadershipId::Lock(value.clone()),
    }
}

fn node_status(node: &Node, replies: &[NodeReply<LookReply>]) -> NodeStatus {
    let silent = NodeStatus { node: node.address.to_string(), holder: None, left: None, token: None, failure: None };
    match replies.iter().find(|reply| reply.node == node.index).map(|reply| &reply.answer) {
        None => NodeStatus { failure: Some(Failure::NotHeard.to_string()), ..silent },
        Some(Err(failure)) => NodeStatus { failure: Some(failure.to_string()), ..silent },
        Some(Ok(looked)) => {
            let holder = looked.value.as_ref().map(LockValue::holder);
            NodeStatus { holder, left: looked.left, token: looked.fence, ..silent }
        }
    }
}
