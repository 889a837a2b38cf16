//! What the nodes report without being asked: messages on the lock's channel, and that a connection is up again.

use std::time::Duration;

use redis::{Msg, PushInfo, PushKind};
use tokio::sync::mpsc;

use crate::lock::LockValue;

/// How many notifications wait to be read. A standby that can't keep up misses some, and looks when the votes could
/// have run out.
pub(crate) const MOST_NOTIFICATIONS: usize = 1024;

/// An event that may change who can lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Notification {
    /// A leader has released the lock that has this value, with `listeners` standbys subscribed.
    Released { value: LockValue, listeners: u32 },
    /// The same, and its command has succeeded for this period.
    Done { value: LockValue, listeners: u32 },
    /// A leader has ended, and keeps the lock for `left`.
    Held { left: Duration, listeners: u32 },
    /// A candidate has got a vote; `freed` is the value of the released lock that it replaces, if it knows of one.
    Acquired { freed: Option<LockValue> },
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

/// Reads `acquired VALUE`, `released LISTENERS VALUE`, `done LISTENERS VALUE` or `held LISTENERS MILLISECONDS`. Returns
/// `None` for any other message.
pub(crate) fn parse(text: &str) -> Option<Notification> {
    let (word, rest) = text.split_once(' ')?;
    if word == "acquired" {
        let freed = Some(rest).filter(|freed| !freed.is_empty()).map(LockValue::from_node);
        return Some(Notification::Acquired { freed });
    }
    let (listeners, subject) = rest.split_once(' ')?;
    let listeners = listeners.parse().ok()?;
    match word {
        "released" => Some(Notification::Released { value: LockValue::from_node(subject), listeners }),
        "done" => Some(Notification::Done { value: LockValue::from_node(subject), listeners }),
        "held" => Some(Notification::Held { left: Duration::from_millis(subject.parse().ok()?), listeners }),
        _ => None,
    }
}
