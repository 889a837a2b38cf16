//! One node as the rounds see it: a server, or a master that Sentinels name.

use std::{future::Future, sync::Arc, time::Duration};

use redis::{Cmd, Value};

use super::{
    address::Address,
    client::{Client, ServerAnswer},
    connection::{Endpoint, Locate},
    failure::Failure,
    pubsub::Subscription,
    sentinel::Sentinels,
};
use crate::{host::spawn, lease::Times, redlock::config::RedlockConfig};

/// A node that can be asked.
pub(crate) struct Node {
    /// Its index among the nodes.
    pub index: usize,
    pub address: Address,
    client: Client,
    sentinels: Option<Arc<Sentinels>>,
}

/// An answer that may count.
#[derive(Debug)]
pub(crate) struct Vote {
    pub answer: Value,
    /// How long its server has been the node's master: [`Duration::MAX`] if no Sentinels can replace it.
    pub master_for: Duration,
}

impl Node {
    /// Starts to connect to one of a config's nodes. Requires a runtime.
    pub(crate) fn at(config: &RedlockConfig, index: usize, subscription: Subscription, times: &Times) -> Self {
        let (address, tls) = (config.addresses[index].clone(), config.tls.clone());
        let sentinels = address.group().map(|group| Arc::new(Sentinels::new(group, tls.as_ref(), times)));
        let endpoint = Endpoint {
            address: address.clone(),
            locate: sentinels.as_ref().map(located_by),
            tls,
            subscription: Some(subscription),
        };
        Node { index, address, client: Client::new(endpoint, times), sentinels }
    }

    /// Returns whether its server can be expected to answer.
    pub(crate) fn is_heard(&self) -> bool {
        self.client.is_heard()
    }

    /// Returns whether Sentinels name its server.
    pub(crate) fn has_sentinels(&self) -> bool {
        self.sentinels.is_some()
    }

    /// Returns how many Sentinels are configured, and how many there are, if that is known.
    pub(crate) async fn sentinels(&self) -> Option<(usize, u64)> {
        let sentinels = self.sentinels.as_ref()?;
        Some((sentinels.configured(), sentinels.all().await?))
    }

    /// Subscribes to the lock's channel, from now on.
    pub(crate) fn listen(&self) {
        self.client.listen();
    }

    /// Ends the subscription.
    pub(crate) fn listen_no_more(&self) {
        self.client.listen_no_more();
    }

    /// Sends a command and waits for the answer, as [`Client::ask`] does.
    ///
    /// # Errors
    /// Why there is no answer.
    pub(crate) fn ask(&self, cmd: Cmd) -> impl Future<Output = Result<Value, Failure>> + Send + use<> {
        let asked = self.client.ask(cmd);
        async move { asked.await.map(|answer| answer.value) }
    }

    /// Asks for an answer that counts only if it comes from the master. A server that was replaced doesn't know that,
    /// so the Sentinels, if there are any, must still name it after it has answered.
    ///
    /// # Errors
    /// Why there is no answer, or why it doesn't count.
    pub(crate) fn ask_for_vote(&self, cmd: Cmd) -> impl Future<Output = Result<Vote, Failure>> + Send + use<> {
        self.ask_for_vote_by_age(cmd, None)
    }

    /// Does the same, but asks something else of a server that has not been the master for this long.
    ///
    /// # Errors
    /// As for [`Node::ask_for_vote`].
    pub(crate) fn ask_for_vote_by_age(
        &self,
        cmd: Cmd,
        of_new_master: Option<(Duration, Cmd)>,
    ) -> impl Future<Output = Result<Vote, Failure>> + Send + use<> {
        let asked = self.client.ask_by_age(cmd, of_new_master);
        let (client, sentinels) = (self.client.clone(), self.sentinels.clone());
        async move {
            let answered = asked.await;
            match sentinels {
                None => answered.map(|answer| Vote { answer: answer.value, master_for: Duration::MAX }),
                Some(sentinels) => confirmed(answered, client, sentinels).await,
            }
        }
    }
}

fn located_by(sentinels: &Arc<Sentinels>) -> Locate {
    let sentinels = sentinels.clone();
    Box::new(move || {
        let sentinels = sentinels.clone();
        Box::pin(async move { sentinels.master().await })
    })
}

/// Returns an answer as a vote if the Sentinels name the server that gave it.
async fn confirmed(
    answered: Result<ServerAnswer, Failure>,
    client: Client,
    sentinels: Arc<Sentinels>,
) -> Result<Vote, Failure> {
    let ServerAnswer { value, server } = match answered {
        Ok(answer) => answer,
        Err(failure) => {
            spawn(leave_replaced(client, sentinels));
            return Err(failure);
        }
    };
    let master = sentinels.master().await?;
    if master.server != server {
        client.reconnect();
        return Err(Failure::Replaced);
    }
    Ok(Vote { answer: value, master_for: master.known_for })
}

/// Reconnects if the server was replaced. A server that has stopped answering may keep its connection open.
async fn leave_replaced(client: Client, sentinels: Arc<Sentinels>) {
    let Some(server) = client.server() else { return };
    if sentinels.master().await.is_ok_and(|master| master.server != server) {
        client.reconnect();
    }
}
