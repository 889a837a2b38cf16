//! The quorum of nodes: a round asks all of them at once and ends as soon as it is decided.

mod address;
pub mod ballot;
mod checkup;
mod claim;
mod defeat;
mod failure;
mod files;
mod keeper;
mod lookout;
mod meter;
mod news;
mod node;
mod rehearsal;
mod resolver;
mod scripts;
mod sentinel;
mod standby;
mod tls;
mod wire;

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

pub use self::{
    address::{Address, split, urls},
    checkup::{Checkup, Finding, Weight, check},
    lookout::Lookout,
    tls::Tls,
};
use self::{
    ballot::{Extent, Heard, answers},
    claim::Claim,
    failure::Failure,
    news::Newswire,
    node::{Node, Vote},
    scripts::{Acquired, Extended, Released, Telling},
    standby::Standby,
};
use crate::{
    clock::{Moment, wall_micros},
    lease::{Tally, Times, Verdict, quorum},
    period::Note,
    report::{Occasion, Report},
    settings::Settings,
    store::{Cause, Change, Defeat, Extension, Lease, Parting},
};

/// How often in a row a token that was too small is followed by a larger one at once: a node that finds each too small is not well.
pub const STALE_AT_ONCE: u32 = 3;

/// How long the first round waits for nodes that it doesn't need, to see that no two of them are one server.
const SERVERS_COMPARED_WITHIN: Duration = Duration::from_millis(250);

/// Where a lease is held: the servers and how to reach them, and the lock's name on them.
#[derive(Clone, Debug)]
pub struct Site {
    pub addresses: Vec<Address>,
    pub lock: String,
    pub tls: Option<Tls>,
}

/// How many news wait to be heard; a standby that can't follow misses some, and looks when the votes could have run out.
const MOST_NEWS: usize = 1024;

/// The lock of one resource on all nodes.
pub struct Redlock {
    nodes: Vec<Arc<Node>>,
    claim: Arc<Claim>,
    times: Times,
    report: Report,
    standby: Standby,
    /// Votes that we may hold.
    votes_out: bool,
    /// Lost rounds in a row, for pauses that grow.
    lost_rounds: u32,
    /// Two nodes are known not to be one server.
    servers_differ: bool,
}

/// The answers that are still out.
type Outstanding<A> = FuturesUnordered<BoxFuture<'static, Heard<A>>>;

impl Redlock {
    /// Begins to connect to all nodes; from within the runtime.
    ///
    /// # Errors
    /// No random numbers to be had.
    pub fn open(site: &Site, settings: &Settings) -> Result<Self> {
        let claim = Claim::new(&site.lock, &settings.holder, settings.once_per)?;
        Ok(Self::with_claim(site, claim, settings.times, &settings.report))
    }

    fn with_claim(site: &Site, claim: Claim, times: Times, report: &Report) -> Self {
        let (sender, news) = mpsc::channel(MOST_NEWS);
        let node = |index: usize| {
            let newswire = Newswire(sender.clone());
            Arc::new(Node::at(site, index, claim.channel(), newswire, &times))
        };
        Redlock {
            nodes: (0..site.addresses.len()).map(node).collect(),
            times,
            report: report.clone(),
            standby: Standby::new(news, claim.is_once()),
            claim: Arc::new(claim),
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
    async fn decide<A>(&self, asked: &mut Outstanding<A>, is_vote: fn(&A) -> bool) -> Vec<Heard<A>> {
        let mut tally = Tally::new(self.nodes.len());
        let mut heard = Vec::with_capacity(self.nodes.len());
        while tally.verdict() == Verdict::Open
            && let Some((index, answer)) = asked.next().await
        {
            tally.count(answer.as_ref().is_ok_and(is_vote));
            heard.push((index, answer));
        }
        heard
    }

    /// One campaign round.
    pub async fn acquire(&mut self) -> Result<Lease, Defeat> {
        self.votes_out = true;
        self.standby.forget();
        let sent = Moment::now();
        let (token, teller) = (self.claim.next_token(wall_micros()), self.teller());
        let cmd =
            |node: &Node| self.claim.acquisition(&self.times, Some(node.index) == teller, self.standby.watch.freed());
        let young = self.times.young();
        let mut asked = self.ask_all(cmd, move |vote| ballot::granted(vote, young));
        let mut heard = self.decide(&mut asked, Acquired::is_vote).await;
        if self.claim.is_once() {
            // A success may be known to one node only: it is worth a wait for those who are slow.
            let patience = self.times.answer_timeout().max(SERVERS_COMPARED_WITHIN);
            heard.extend(answers_within(&mut asked, patience).await);
        }
        if !self.servers_differ {
            // The one round that waits for those who are slow: a server that stands twice among the nodes is found here.
            let patience = self.times.answer_timeout().min(SERVERS_COMPARED_WITHIN);
            heard.extend(answers_within(&mut asked, patience).await);
            if let Some(defeat) = self.same_server_twice(&heard) {
                self.withdraw(&heard);
                return Err(defeat);
            }
            self.servers_differ = heard.iter().all(|(_, answer)| answer.is_ok());
        }
        let fence = ballot::fence_to_pass(self.nodes.len(), &heard, wall_micros());
        fence.into_iter().for_each(|fence| self.claim.see(fence));
        let listeners = answers(&heard).filter_map(Acquired::listeners).max();
        self.standby.watch.learn(Moment::now().since(sent), listeners);
        let cause = match ballot::campaign(self.nodes.len(), &heard, &self.times, sent, Moment::now()) {
            Ok(failures) => {
                self.standby.close();
                self.fill_in(&heard, asked, teller);
                return Ok(Lease { token, sent: Some(sent), proof: self.claim.proof(), descriptor: None, failures });
            }
            Err(cause) => cause,
        };
        self.lost_rounds = if cause == Cause::Taken { 0 } else { self.lost_rounds.saturating_add(1) };
        if matches!(cause, Cause::NoQuorum | Cause::Young) {
            // Nothing is urgent now, and the operator should hear of each node what can be said of it.
            heard.extend(late_answers(&mut asked, sent).await);
        }
        drop(asked);
        self.withdraw(&heard);
        Err(self.defeat(&heard, cause))
    }

    /// Gives the votes of a lost round back, on every node that may have given one. The connections keep the order, so that
    /// the next round comes after it.
    fn withdraw(&mut self, heard: &[Heard<Acquired>]) {
        let refused = ballot::refused(heard);
        // Silently: nobody but candidates could go for these votes, and those look by themselves.
        let cmd = self.claim.release(Telling::Nobody, Parting::default());
        for node in self.nodes.iter().filter(|node| !refused.contains(&node.index)) {
            tokio::spawn(ask_one(node, cmd.clone(), scripts::released));
        }
        self.votes_out = refused.len() < self.nodes.len();
    }

    /// A won round is extended at once on the nodes that did not vote, so that the lease stands on all of them: otherwise
    /// one more failure could end a lease that looked healthy. Where the teller did not vote, another node tells those who
    /// listen. Goes on beside the reign.
    fn fill_in(&self, heard: &[Heard<Acquired>], late: Outstanding<Acquired>, teller: Option<usize>) {
        let voted = |answer: &Result<Acquired, Failure>| answer.as_ref().is_ok_and(Acquired::is_vote);
        let (with, without): (Vec<_>, Vec<_>) = heard.iter().partition(|(_, answer)| voted(answer));
        if !with.iter().any(|(index, _)| Some(*index) == teller)
            && let Some((index, _)) = with.first()
        {
            tokio::spawn(self.nodes[*index].ask(self.claim.tell_acquisition(self.standby.watch.freed())));
        }
        if without.is_empty() && late.is_empty() {
            return;
        }
        let without: Vec<usize> = without.iter().map(|(index, _)| *index).collect();
        let (nodes, claim, times) = (self.nodes.clone(), self.claim.clone(), self.times);
        tokio::spawn(async move {
            let fill = |index: usize| {
                let (node, claim) = (nodes[index].clone(), claim.clone());
                async move {
                    // A node that another candidate passed with a larger token heals only for a larger one still.
                    let extend = || ask_one(&node, claim.extension(&times, None), scripts::extended);
                    if let (_, Ok(Extended::Overtaken { fence })) = extend().await {
                        claim.overtake(fence, wall_micros());
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
    pub async fn wait_for_change(&mut self, defeat: &Defeat) -> Change {
        match defeat.cause {
            Cause::Stale if self.lost_rounds <= STALE_AT_ONCE => {}
            Cause::Stale | Cause::Split => {
                let race = Duration::from_millis(1) * (1 << self.lost_rounds.min(10));
                sleep(race.min(self.times.retry_after()).mul_f64(fastrand::f64())).await;
            }
            _ => {
                if !self.standby.listen(&self.nodes, &self.times).await {
                    return self.standby.wait(defeat.free_in, &self.times).await;
                }
            }
        }
        Change::LookAgain
    }

    /// One extension, which may leave a note on the nodes.
    pub async fn extend(&self, note: Option<&Note>) -> Extension {
        let sent = Moment::now();
        let mut asked = self.ask_all(
            |_| self.claim.extension(&self.times, note),
            |vote| scripts::extended(vote.answer).ok_or_else(Failure::strange),
        );
        let mut heard = self.decide(&mut asked, Extended::is_vote).await;
        match ballot::extension(self.nodes.len(), &heard) {
            // What has come in already costs no waiting.
            Extent::Extended => {
                while let Some(Some(more)) = asked.next().now_or_never() {
                    heard.push(more);
                }
            }
            // The operator should hear of each node what can be said of it; the guard keeps the time.
            _ => heard.extend(late_answers(&mut asked, sent).await),
        }
        for (index, answer) in &heard {
            match answer {
                Ok(Extended::Overtaken { fence }) => self.claim.overtake(*fence, wall_micros()),
                Ok(Extended::Healed) => {
                    let node = &self.nodes[*index].address;
                    self.report.info(Occasion::Healed, format_args!("{node} had lost the lock and has it again"));
                }
                _ => {}
            }
        }
        let extent = ballot::extension(self.nodes.len(), &heard);
        if extent == Extent::Extended {
            let step_down = ballot::is_asked_to_step_down(self.nodes.len(), &heard);
            return Extension::Extended { leash: Some(self.times.leash(sent)), proof: self.claim.proof(), step_down };
        }
        let story = self.story("extended it", &heard, |answer| match answer {
            Extended::Taken | Extended::Overtaken { .. } => Some("gave it to another".into()),
            Extended::Kept { .. } | Extended::Healed => None,
        });
        if extent == Extent::Lost { Extension::Lost { story } } else { Extension::Failed { story } }
    }

    /// Gives back what we hold, or keeps it for a while. Ends when a quorum has confirmed it, or when that can't be had in the time a node may take.
    ///
    /// # Errors
    /// Which nodes have not confirmed, for a message; what they hold runs out by itself.
    pub async fn release(&mut self, parting: Parting) -> Result<(), String> {
        if !self.votes_out {
            return Ok(());
        }
        let sent = Moment::now();
        let teller = self.teller();
        let heard_by = if self.standby.is_listening() { Telling::AllButUs } else { Telling::All };
        let tells = |node: &Node| teller.is_none_or(|teller| teller == node.index);
        let cmd = |node: &Node| self.claim.release(if tells(node) { heard_by } else { Telling::Nobody }, parting);
        let mut asked: Outstanding<_> =
            self.nodes.iter().map(|node| ask_one(node, cmd(node), scripts::released).boxed()).collect();
        let mut heard = self.decide(&mut asked, |_| true).await;
        let confirmed = answers(&heard).count() >= quorum(self.nodes.len());
        // The requests to the others are on their way; a close now could cut them off.
        heard.extend(late_answers(&mut asked, sent).await);
        let freed = |index: usize| heard.iter().any(|(i, a)| *i == index && matches!(a, Ok(Released::Freed)));
        if teller.is_some_and(|teller| !freed(teller))
            && let Some(other) = self.nodes.iter().find(|node| freed(node.index))
        {
            let _ = other.ask(self.claim.tell_release(heard_by, parting)).await;
        }
        self.votes_out = false;
        if confirmed { Ok(()) } else { Err(self.story("confirmed the release", &heard, |_| None)) }
    }
}

/// The answers that come as soon as the deciding ones did: as long again, at most 50 ms.
async fn late_answers<A>(asked: &mut Outstanding<A>, sent: Moment) -> Vec<Heard<A>> {
    let as_long_again = Moment::now().since(sent).clamp(Duration::from_millis(5), Duration::from_millis(50));
    answers_within(asked, as_long_again).await
}

async fn answers_within<A>(asked: &mut (impl Stream<Item = Heard<A>> + Unpin), patience: Duration) -> Vec<Heard<A>> {
    let mut late = Vec::new();
    let _ = timeout(patience, async {
        while let Some(heard) = asked.next().await {
            late.push(heard);
        }
    })
    .await;
    late
}

/// Leaves a note and releases, without having campaigned, as a guard does for its dead elector. True if a quorum confirmed.
pub fn release_alone(site: &Site, times: Times, (value, token): (String, u64), note: Option<&Note>) -> bool {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return false };
    let released = runtime.block_on(async {
        let claim = Claim::proven(&site.lock, value, token);
        let mut redlock = Redlock::with_claim(site, claim, times, &Report::silent());
        redlock.votes_out = true;
        let done = match note {
            Some(note) => matches!(redlock.extend(Some(note)).await, Extension::Extended { .. }),
            None => false,
        };
        redlock.release(Parting { done, hold: None }).await.ok()
    });
    runtime.shutdown_background();
    released.is_some()
}

fn ask_one<A: Send + 'static>(
    node: &Node,
    cmd: Cmd,
    read: fn(Value) -> Option<A>,
) -> impl Future<Output = Heard<A>> + Send + use<A> {
    let (index, asked) = (node.index, node.ask(cmd));
    async move { (index, asked.await.and_then(|value| read(value).ok_or_else(Failure::strange))) }
}

#[cfg(test)]
pub mod simulated;
#[cfg(test)]
mod tests;
