//! What the nodes report without being asked: messages on the lock's channel, and that a connection is up again.

use std::time::Duration;

use redis::{Msg, PushInfo, PushKind};
use tokio::sync::mpsc;

use crate::lock::ReleaseProof;

/// How many notifications wait to be read. A standby that can't keep up misses some, and looks when the votes could
/// have run out.
pub(crate) const MOST_NOTIFICATIONS: usize = 1024;

/// An event that may change who can lead. Whoever may publish can send any of them: each makes a standby look sooner or
/// a little later, and no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Notification {
    /// A leader has released its lock, with `listeners` standbys subscribed; `proof` shows it to nodes that don't know of it
    /// yet.
    Released { proof: Option<ReleaseProof>, listeners: u32 },
    /// The same, and its command has succeeded for this period.
    Done { proof: Option<ReleaseProof>, listeners: u32 },
    /// A leader has ended, and keeps the lock for `left`.
    Held { left: Duration, listeners: u32 },
    /// A candidate has got a vote; `freed` proves the release of the lock that it replaces, if it knows of one.
    Acquired { freed: Option<ReleaseProof> },
    /// A connection is up and subscribed. Messages sent before that are lost.
    Connected,
}

/// Where notifications go. Drops them while the receiver is full.
#[derive(Clone)]
pub(crate) struct NotificationSender(pub mpsc::Sender<Notification>);

/// A channel, and where its messages go.
#[derive(Clone)]
pub(crate) struct Subscription {
    pub channel: String,
    pub notifications: NotificationSender,
}

impl NotificationSender {
    pub(crate) fn send(&self, notification: Notification) {
        let _ = self.0.try_send(notification);
    }

    /// Passes on a message, if it is one of ours.
    pub(crate) fn message(&self, message: &Msg) {
        if let Some(notification) = message.get_payload::<String>().ok().and_then(|text| parse(&text)) {
            self.send(notification);
        }
    }

    /// Passes on a push of RESP3. Returns whether it reports the loss of the connection.
    pub(crate) fn push(&self, push: PushInfo) -> bool {
        if push.kind == PushKind::Disconnection {
            return true;
        }
        if let Some(message) = Msg::from_push_info(push) {
            self.message(&message);
        }
        false
    }
}

/// Reads `acquired PROOF`, `released LISTENERS PROOF`, `done LISTENERS PROOF` or `held LISTENERS MILLISECONDS`. Returns
/// `None` for any other message.
pub(crate) fn parse(text: &str) -> Option<Notification> {
    let (word, rest) = text.split_once(' ')?;
    if word == "acquired" {
        return Some(Notification::Acquired { freed: ReleaseProof::from_message(rest) });
    }
    let (listeners, subject) = rest.split_once(' ')?;
    let listeners = listeners.parse().ok()?;
    match word {
        "released" => Some(Notification::Released { proof: ReleaseProof::from_message(subject), listeners }),
        "done" => Some(Notification::Done { proof: ReleaseProof::from_message(subject), listeners }),
        "held" => Some(Notification::Held { left: Duration::from_millis(subject.parse().ok()?), listeners }),
        _ => None,
    }
}
