//! A round asks all nodes at once and ends as soon as it is decided.

use std::{future::Future, sync::Arc, time::Duration};

use anyhow::Result;
use futures_util::{
    FutureExt, Stream, StreamExt,
    future::{BoxFuture, join_all},
    stream::FuturesUnordered,
};
use redis::{Cmd, Value};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};

use super::{
    config::RedlockConfig,
    net::{
        failure::Failure,
        node::{Node, Vote},
        pubsub::{MOST_NOTIFICATIONS, NotificationSender},
    },
    outcome::{self, NodeReply, answers},
    scripts::{self, AcquireReply, Audience, ExtendReply, ReleaseReply},
    session::LockSession,
    standby::StandbyWaiter,
};
use crate::{
    clock::{Moment, wall_micros},
    event::Event,
    lease::{Tally, Times, VoteResult, quorum},
    lock::{Cause, Extension, Lease, NotAcquired, ReleaseOptions, WaitOutcome},
    once_per::{Note, OncePer},
    report::Report,
};

/// How often in a row a token that was too small is followed by a larger one at once: a node that finds each too small is not well.
pub const STALE_AT_ONCE: u32 = 3;

/// How long the first round waits for nodes that it doesn't need, to see that no two of them are one server.
pub const SERVERS_COMPARED_WITHIN: Duration = Duration::from_millis(250);

/// The lock of one resource on all nodes.
pub struct Redlock {
    pub(super) nodes: Vec<Arc<Node>>,
    session: Arc<LockSession>,
    pub(super) times: Times,
    report: Report,
    standby: StandbyWaiter,
    /// Votes that we may hold.
    votes_out: bool,
    /// Lost rounds in a row, for pauses that grow.
    lost_rounds: u32,
    /// Two nodes are known not to be one server.
    servers_differ: bool,
}

/// The answers that are still out.
type Outstanding<A> = FuturesUnordered<BoxFuture<'static, NodeReply<A>>>;

impl Redlock {
    /// Begins to connect to all nodes; from within the runtime.
    ///
    /// # Errors
    /// No random numbers to be had.
    pub fn open(
        config: &RedlockConfig,
        holder: &str,
        once_per: Option<OncePer>,
        times: Times,
        report: &Report,
    ) -> Result<Self> {
        let session = LockSession::new(&config.lock, holder, once_per)?;
        Ok(Self::with_session(config, session, times, report))
    }

    fn with_session(config: &RedlockConfig, session: LockSession, times: Times, report: &Report) -> Self {
        let (sender, news) = mpsc::channel(MOST_NOTIFICATIONS);
        let node = |index: usize| {
            let notifications = NotificationSender(sender.clone());
            Arc::new(Node::at(config, index, session.channel(), notifications, &times))
        };
        Redlock {
            nodes: (0..config.addresses.len()).map(node).collect(),
            times,
            report: report.clone(),
            standby: StandbyWaiter::new(news, session.is_once()),
            session: Arc::new(session),
            votes_out: false,
            lost_rounds: 0,
            servers_differ: false,
        }
    }

    /// Asks every node for its vote.
    fn ask_all<A: Send + 'static>(
        &self,
        cmd: impl Fn(&Node) -> Cmd,
        read: impl Fn(Vote) -> Result<A, Failure> + Copy + Send + 'static,
    ) -> Outstanding<A> {
        let ask = |node: &Arc<Node>| {
            let (index, asked) = (node.index, node.ask_for_vote(cmd(node)));
            async move { (index, asked.await.and_then(read)) }.boxed()
        };
        self.nodes.iter().map(ask).collect()
    }

    /// The node that tells those who listen of a vote or a release: one, so that they are woken once.
    fn teller(&self) -> Option<usize> {
        let connected: Vec<_> = self.nodes.iter().filter(|node| node.is_connected()).collect();
        fastrand::choice(connected).map(|node| node.index)
    }

    /// Takes answers until the round is decided.
    async fn decide<A>(&self, asked: &mut Outstanding<A>, is_vote: fn(&A) -> bool) -> Vec<NodeReply<A>> {
        let mut tally = Tally::new(self.nodes.len());
        let mut replies = Vec::with_capacity(self.nodes.len());
        while tally.verdict() == VoteResult::Pending
            && let Some((index, answer)) = asked.next().await
        {
            tally.count(answer.as_ref().is_ok_and(is_vote));
            replies.push((index, answer));
        }
        replies
    }

    /// One campaign round.
    pub async fn acquire(&mut self) -> Result<Lease, NotAcquired> {
        self.votes_out = true;
        self.standby.forget();
        let sent = Moment::now();
        let (token, teller) = (self.session.next_token(wall_micros()), self.teller());
        let cmd =
            |node: &Node| self.session.acquisition(&self.times, Some(node.index) == teller, self.standby.watch.freed());
        let startup_grace = self.times.startup_grace();
        let mut asked = self.ask_all(cmd, move |vote| outcome::granted(vote, startup_grace));
        let mut replies = self.decide(&mut asked, AcquireReply::is_vote).await;
        if self.session.is_once() {
            // A success may be known to one node only: it is worth a wait for those who are slow.
            let wait_policy = self.times.answer_timeout().max(SERVERS_COMPARED_WITHIN);
            replies.extend(answers_within(&mut asked, wait_policy).await);
        }
        if !self.servers_differ {
            // The one round that waits for those who are slow: a server that stands twice among the nodes is found here.
            let wait_policy = self.times.answer_timeout().min(SERVERS_COMPARED_WITHIN);
            replies.extend(answers_within(&mut asked, wait_policy).await);
            if let Some(not_acquired) = self.same_server_twice(&replies) {
                self.withdraw(&replies);
                return Err(not_acquired);
            }
            self.servers_differ = replies.iter().all(|(_, answer)| answer.is_ok());
        }
        let fence = outcome::fence_to_pass(self.nodes.len(), &replies, wall_micros());
        fence.into_iter().for_each(|fence| self.session.see(fence));
        let listeners = answers(&replies).filter_map(AcquireReply::listeners).max();
        self.standby.watch.learn(Moment::now().since(sent), listeners);
        let cause = match outcome::campaign(self.nodes.len(), &replies, &self.times, sent, Moment::now()) {
            Ok(failures) => {
                self.standby.close();
                self.fill_in(&replies, asked, teller);
                return Ok(Lease {
                    token,
                    sent: Some(sent),
                    release_key: self.session.release_key(),
                    descriptor: None,
                    failures,
                });
            }
            Err(cause) => cause,
        };
        self.lost_rounds = if cause == Cause::Taken { 0 } else { self.lost_rounds.saturating_add(1) };
        if matches!(cause, Cause::NoQuorum | Cause::StartupGrace) {
            // Nothing is urgent now, and the operator should hear of each node what can be said of it.
            replies.extend(late_answers(&mut asked, sent).await);
        }
        drop(asked);
        self.withdraw(&replies);
        Err(self.not_acquired(&replies, cause))
    }

    /// Gives the votes of a lost round back, on every node that may have given one. The connections keep the order, so that
    /// the next round comes after it.
    fn withdraw(&mut self, replies: &[NodeReply<AcquireReply>]) {
        let refused = outcome::refused(replies);
        // Silently: nobody but candidates could go for these votes, and those look by themselves.
        let cmd = self.session.release(Audience::Nobody, ReleaseOptions::default());
        for node in self.nodes.iter().filter(|node| !refused.contains(&node.index)) {
            tokio::spawn(ask_one(node, cmd.clone(), scripts::released));
        }
        self.votes_out = refused.len() < self.nodes.len();
    }

    /// A won round is extended at once on the nodes that did not vote, so that the lease stands on all of them: otherwise
    /// one more failure could end a lease that looked healthy. Where the teller did not vote, another node tells those who
    /// listen. Goes on beside the leadership.
    fn fill_in(&self, replies: &[NodeReply<AcquireReply>], late: Outstanding<AcquireReply>, teller: Option<usize>) {
        let voted = |answer: &Result<AcquireReply, Failure>| answer.as_ref().is_ok_and(AcquireReply::is_vote);
        let (with, without): (Vec<_>, Vec<_>) = replies.iter().partition(|(_, answer)| voted(answer));
        if !with.iter().any(|(index, _)| Some(*index) == teller)
            && let Some((index, _)) = with.first()
        {
            tokio::spawn(self.nodes[*index].ask(self.session.tell_acquisition(self.standby.watch.freed())));
        }
        if without.is_empty() && late.is_empty() {
            return;
        }
        let without: Vec<usize> = without.iter().map(|(index, _)| *index).collect();
        let (nodes, session, times) = (self.nodes.clone(), self.session.clone(), self.times);
        tokio::spawn(async move {
            let fill = |index: usize| {
                let (node, session) = (nodes[index].clone(), session.clone());
                async move {
                    // A node that another candidate passed with a larger token heals only for a larger one still.
                    let extend = || ask_one(&node, session.extension(&times, None), scripts::extended);
                    if let (_, Ok(ExtendReply::Overtaken { fence })) = extend().await {
                        session.overtake(fence, wall_micros());
                        let _ = extend().await;
                    }
                }
            };
            let early = join_all(without.into_iter().map(fill));
            let late = late.for_each_concurrent(None, |(index, answer)| {
                let fill = (!voted(&answer)).then(|| fill(index));
                async move {
                    if let Some(fill) = fill {
                        fill.await;
                    }
                }
            });
            tokio::join!(early, late);
        });
    }

    /// Waits until another round could go otherwise. Rounds that only lost a race come again soon, after random delays that
    /// double, so that candidates who started together come apart; one whose token was too small at once.
    pub async fn wait_for_change(&mut self, not_acquired: &NotAcquired) -> WaitOutcome {
        match not_acquired.cause {
            Cause::Stale if self.lost_rounds <= STALE_AT_ONCE => {}
            Cause::Stale | Cause::Split => {
                let race = Duration::from_millis(1) * (1 << self.lost_rounds.min(10));
                sleep(race.min(self.times.retry_after()).mul_f64(fastrand::f64())).await;
            }
            _ => {
                if !self.standby.listen(&self.nodes, &self.times).await {
                    return self.standby.wait(not_acquired.free_in, &self.times).await;
                }
            }
        }
        WaitOutcome::LookAgain
    }

    /// One extension, which may leave a note on the nodes.
    pub async fn extend(&self, note: Option<&Note>) -> Extension {
        let sent = Moment::now();
        let mut asked = self.ask_all(
            |_| self.session.extension(&self.times, note),
            |vote| scripts::extended(vote.answer).ok_or(Failure::StrangeAnswer),
        );
        let mut replies = self.decide(&mut asked, ExtendReply::is_vote).await;
        match outcome::extension(self.nodes.len(), &replies) {
            // What has come in already costs no waiting.
            VoteResult::Won => {
                while let Some(Some(more)) = asked.next().now_or_never() {
                    replies.push(more);
                }
            }
            // The operator should hear of each node what can be said of it; the guard keeps the time.
            _ => replies.extend(late_answers(&mut asked, sent).await),
        }
        for (index, answer) in &replies {
            match answer {
                Ok(ExtendReply::Overtaken { fence }) => self.session.overtake(*fence, wall_micros()),
                Ok(ExtendReply::Restored) => {
                    let node = &self.nodes[*index].address;
                    self.report.info(Event::Restored, format_args!("{node} had lost the lock and has it again"));
                }
                _ => {}
            }
        }
        let result = outcome::extension(self.nodes.len(), &replies);
        if result == VoteResult::Won {
            let step_down = outcome::is_asked_to_step_down(self.nodes.len(), &replies);
            return Extension::Extended {
                deadlines: Some(self.times.deadlines(sent)),
                release_key: self.session.release_key(),
                step_down,
            };
        }
        let story = self.story("extended it", &replies, |answer| match answer {
            ExtendReply::Taken | ExtendReply::Overtaken { .. } => Some("gave it to another".into()),
            ExtendReply::Renewed { .. } | ExtendReply::Restored => None,
        });
        if result == VoteResult::Lost { Extension::Lost { story } } else { Extension::Failed { story } }
    }

    /// Gives back what we hold, or keeps it for a while. Ends when a quorum has confirmed it, or when that can't be had in the time a node may take.
    ///
    /// # Errors
    /// Which nodes have not confirmed, for a message; what they hold runs out by itself.
    pub async fn release(&mut self, options: ReleaseOptions) -> Result<(), String> {
        if !self.votes_out {
            return Ok(());
        }
        let sent = Moment::now();
        let teller = self.teller();
        let heard_by = if self.standby.is_listening() { Audience::AllButUs } else { Audience::All };
        let tells = |node: &Node| teller.is_none_or(|teller| teller == node.index);
        let cmd = |node: &Node| self.session.release(if tells(node) { heard_by } else { Audience::Nobody }, options);
        let mut asked: Outstanding<_> =
            self.nodes.iter().map(|node| ask_one(node, cmd(node), scripts::released).boxed()).collect();
        let mut replies = self.decide(&mut asked, |_| true).await;
        let confirmed = answers(&replies).count() >= quorum(self.nodes.len());
        // The requests to the others are on their way; a close now could cut them off.
        replies.extend(late_answers(&mut asked, sent).await);
        let freed = |index: usize| replies.iter().any(|(i, a)| *i == index && matches!(a, Ok(ReleaseReply::Freed)));
        if teller.is_some_and(|teller| !freed(teller))
            && let Some(other) = self.nodes.iter().find(|node| freed(node.index))
        {
            let _ = other.ask(self.session.tell_release(heard_by, options)).await;
        }
        self.votes_out = false;
        if confirmed { Ok(()) } else { Err(self.story("confirmed the release", &replies, |_| None)) }
    }
}

/// The answers that come as soon as the deciding ones did: as long again, at most 50 ms.
async fn late_answers<A>(asked: &mut Outstanding<A>, sent: Moment) -> Vec<NodeReply<A>> {
    let as_long_again = Moment::now().since(sent).clamp(Duration::from_millis(5), Duration::from_millis(50));
    answers_within(asked, as_long_again).await
}

pub async fn answers_within<A>(
    asked: &mut (impl Stream<Item = NodeReply<A>> + Unpin),
    wait_policy: Duration,
) -> Vec<NodeReply<A>> {
    let mut late = Vec::new();
    let _ = timeout(wait_policy, async {
        while let Some(replies) = asked.next().await {
            late.push(replies);
        }
    })
    .await;
    late
}

/// Leaves a note and releases, without having campaigned, as a guard does for its dead elector. True if a quorum confirmed.
pub fn release_alone(config: &RedlockConfig, times: Times, (value, token): (String, u64), note: Option<&Note>) -> bool {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return false };
    let released = runtime.block_on(async {
        let session = LockSession::proven(&config.lock, value, token);
        let mut redlock = Redlock::with_session(config, session, times, &Report::silent());
        redlock.votes_out = true;
        let done = match note {
            Some(note) => matches!(redlock.extend(Some(note)).await, Extension::Extended { .. }),
            None => false,
        };
        redlock.release(ReleaseOptions { done, hold: None }).await.ok()
    });
    runtime.shutdown_background();
    released.is_some()
}

fn ask_one<A: Send + 'static>(
    node: &Node,
    cmd: Cmd,
    read: fn(Value) -> Option<A>,
) -> impl Future<Output = NodeReply<A>> + Send + use<A> {
    let (index, asked) = (node.index, node.ask(cmd));
    async move { (index, asked.await.and_then(|value| read(value).ok_or(Failure::StrangeAnswer))) }
}
