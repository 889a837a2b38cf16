//! What the nodes report without being asked: messages on the lock's channels, and that a connection is up again.

use std::time::Duration;

use redis::{Msg, PushInfo, PushKind};
use tokio::sync::mpsc;

use crate::lock::{ReleaseProof, Slot};

/// How many notifications wait to be read. A standby that can't keep up misses some, and looks when the votes could
/// have run out.
pub(crate) const MOST_NOTIFICATIONS: usize = 1024;

/// An event that may change who can lead. Whoever may publish can send any of them: each makes a standby look sooner or
/// a little later, and no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Notification {
    /// A message about the slot with this number, from 1.
    Message { slot: u16, change: Change },
    /// A connection is up and subscribed. Messages sent before that are lost.
    Connected,
}

/// What a message says about a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// A leader has released its lock, with `listeners` standbys subscribed; `proof` shows it to nodes that don't know of it
    /// yet.
    Released { proof: Option<ReleaseProof>, listeners: u32 },
    /// The same, but nobody else is told: only those `listeners` on our wake-up channel.
    Woken { proof: Option<ReleaseProof>, listeners: u32 },
    /// The same, and its command has succeeded for this period.
    Done { proof: Option<ReleaseProof>, listeners: u32 },
    /// A leader has ended, and keeps the lock for `left`.
    Held { left: Duration, listeners: u32 },
    /// A candidate has got a vote; `freed` proves the release of the lock that it replaces, if it knows of one.
    Acquired { freed: Option<ReleaseProof> },
}

/// Where notifications go. Drops them while the receiver is full.
#[derive(Clone)]
pub(crate) struct NotificationSender(pub mpsc::Sender<Notification>);

/// Channels, and where their messages go.
#[derive(Clone)]
pub(crate) struct Subscription {
    pub channel: String,
    /// A second channel: for those who stand by one on which they are woken, for those who only watch that of watchers.
    pub second: Option<String>,
    pub notifications: NotificationSender,
}

impl Subscription {
    /// Returns all channels, in the order in which to subscribe to them.
    pub(crate) fn channels(&self) -> Vec<String> {
        self.second.iter().chain([&self.channel]).cloned().collect()
    }
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

/// Reads `acquired PROOF`, `held LISTENERS MILLISECONDS`, or `released`, `wake` or `done` with `LISTENERS PROOF`, each with the
/// number of the slot after it where there are several. Returns `None` for any other message.
pub(crate) fn parse(text: &str) -> Option<Notification> {
    let (word, rest) = text.split_once(' ')?;
    let (listeners, rest) = if word == "acquired" { ("0", rest) } else { rest.split_once(' ')? };
    let with_slot = rest.rsplit_once(' ').and_then(|(subject, slot)| Some((subject, slot.parse().ok()?)));
    let (subject, slot) = with_slot.unwrap_or((rest, Slot::ONLY.number));
    let (proof, listeners) = (ReleaseProof::from_message(subject), listeners.parse().ok()?);
    let change = match word {
        "acquired" => Change::Acquired { freed: proof },
        "released" => Change::Released { proof, listeners },
        "wake" => Change::Woken { proof, listeners },
        "done" => Change::Done { proof, listeners },
        "held" => Change::Held { left: Duration::from_millis(subject.parse().ok()?), listeners },
        _ => return None,
    };
    Some(Notification::Message { slot, change })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_its_slot_where_there_are_several() {
        let proof = || ReleaseProof::from_message("x");
        let message = |slot, change| Some(Notification::Message { slot, change });
        assert_eq!(parse("released 2 x"), message(1, Change::Released { proof: proof(), listeners: 2 }));
        assert_eq!(parse("released 2 x 3"), message(3, Change::Released { proof: proof(), listeners: 2 }));
        assert_eq!(parse("wake 2 x 3"), message(3, Change::Woken { proof: proof(), listeners: 2 }));
        assert_eq!(parse("acquired "), message(1, Change::Acquired { freed: None }));
        assert_eq!(parse("acquired  3"), message(3, Change::Acquired { freed: None }));
        assert_eq!(parse("done 2  3"), message(3, Change::Done { proof: None, listeners: 2 }));
        assert_eq!(parse("released 2 x y"), message(1, Change::Released { proof: None, listeners: 2 }));
    }
}
