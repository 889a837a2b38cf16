//! A round: one request to all nodes, and the answers as they come.

use std::{future::Future, sync::Arc, time::Duration};

use futures_util::{
    FutureExt, StreamExt,
    future::BoxFuture,
    stream::{self, FuturesUnordered},
};
use redis::{Cmd, Value};
use tokio::time::timeout;

use super::{
    net::{
        failure::Failure,
        node::{Node, Vote},
    },
    outcome::NodeReply,
};
use crate::{
    clock::Moment,
    lease::{Quorums, Tally, VoteResult},
};

/// How long to wait for late answers, at least and at most, once a round is decided.
const LATE_ANSWERS: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(50)];

/// A request that is under way.
pub(crate) struct Round<A> {
    sent: Moment,
    outstanding: FuturesUnordered<BoxFuture<'static, NodeReply<A>>>,
    replies: Vec<NodeReply<A>>,
}

impl<A: Send + 'static> Round<A> {
    /// Asks all nodes for answers that count only from a node's present master.
    pub(crate) fn ask_for_votes(
        nodes: &[Arc<Node>],
        cmd: impl Fn(&Node) -> Cmd,
        read: impl Fn(Vote) -> Result<A, Failure> + Copy + Send + 'static,
    ) -> Self {
        Self::ask(nodes, |node| {
            let asked = node.ask_for_vote(cmd(node));
            async move { asked.await.and_then(read) }
        })
    }

    /// Asks each node in this way.
    pub(crate) fn ask<F>(nodes: &[Arc<Node>], ask: impl Fn(&Arc<Node>) -> F) -> Self
    where
        F: Future<Output = Result<A, Failure>> + Send + 'static,
    {
        // Before the first request leaves, since a lease counts from it.
        let sent = Moment::now();
        let ask = |node: &Arc<Node>| {
            let (index, asked) = (node.index, ask(node));
            async move { NodeReply { node: index, answer: asked.await } }.boxed()
        };
        let outstanding: FuturesUnordered<_> = nodes.iter().map(ask).collect();
        Round { sent, outstanding, replies: Vec::with_capacity(nodes.len()) }
    }

    /// Returns when it was sent.
    pub(crate) fn sent(&self) -> Moment {
        self.sent
    }

    /// Returns whether all nodes have answered.
    pub(crate) fn is_complete(&self) -> bool {
        self.outstanding.is_empty()
    }

    /// Returns the answers that have come.
    pub(crate) fn replies(&self) -> &[NodeReply<A>] {
        &self.replies
    }

    /// Takes answers until there is a quorum of votes, or can't be one any more.
    pub(crate) async fn decide(&mut self, quorums: &Quorums, is_vote: fn(&A) -> bool) {
        let mut tally = Tally::new(quorums.clone());
        while tally.result() == VoteResult::Pending
            && let Some(reply) = self.outstanding.next().await
        {
            tally.count(reply.node, reply.answer.as_ref().is_ok_and(is_vote));
            self.replies.push(reply);
        }
    }

    /// Takes answers as long as more are wanted and outstanding.
    pub(crate) async fn take_while(&mut self, wanted: impl Fn(&[NodeReply<A>]) -> bool) {
        while wanted(&self.replies)
            && let Some(reply) = self.outstanding.next().await
        {
            self.replies.push(reply);
        }
    }

    /// Takes the answers that come within this time.
    pub(crate) async fn wait(&mut self, most: Duration) {
        let _ = timeout(most, self.take_while(|_| true)).await;
    }

    /// Takes the answers that come as soon as the deciding ones did: as long again, 50 ms at most.
    pub(crate) async fn wait_for_late(&mut self) {
        let [least, most] = LATE_ANSWERS;
        self.wait(Moment::now().since(self.sent).clamp(least, most)).await;
    }

    /// Takes the answers that are there.
    pub(crate) fn take_ready(&mut self) {
        while let Some(Some(reply)) = self.outstanding.next().now_or_never() {
            self.replies.push(reply);
        }
    }

    /// Ends the round. Waits for no more answers.
    pub(crate) fn end(self) -> Vec<NodeReply<A>> {
        self.replies
    }

    /// Ends the round. The stream gives all answers, first those that have come.
    pub(crate) fn into_stream(self) -> impl futures_util::Stream<Item = NodeReply<A>> + Send {
        stream::iter(self.replies).chain(self.outstanding)
    }

    /// Ends the round. The stream gives the answers that have not come yet.
    pub(crate) fn into_late(self) -> impl futures_util::Stream<Item = NodeReply<A>> + Send {
        self.outstanding
    }
}

/// Asks one node.
pub(crate) fn ask_one<A: Send + 'static>(
    node: &Node,
    cmd: Cmd,
    read: fn(Value) -> Option<A>,
) -> impl Future<Output = NodeReply<A>> + Send + use<A> {
    let (index, asked) = (node.index, node.ask(cmd));
    async move {
        let answer = asked.await.and_then(|value| read(value).ok_or(Failure::StrangeAnswer));
        NodeReply { node: index, answer }
    }
}
