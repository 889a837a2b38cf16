//! What the nodes tell without being asked: messages on the lock's channel, and that a connection is there again.

use std::time::Duration;

use redis::{Msg, PushInfo, PushKind};
use tokio::sync::mpsc;

use crate::lock::LockValue;

/// How many news wait to be heard; a standby that can't follow misses some, and looks when the votes could have run out.
pub const MOST_NOTIFICATIONS: usize = 1024;

/// Something that may change who can lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notification {
    /// A leader has released the lock that has this value; so many standbys listen.
    Released { value: LockValue, listeners: u32 },
    /// The same, and its command has succeeded for this period.
    Done { value: LockValue, listeners: u32 },
    /// A leader has ended, and keeps the lock for so long.
    Held { left: Duration, listeners: u32 },
    /// A candidate has got a vote, for the lock that had this value before, if it knows of one that was released.
    Acquired { freed: Option<LockValue> },
    /// A connection is there, and listens: what was told before is lost.
    Connected,
}

/// Where the news go.
#[derive(Clone)]
pub struct NotificationSender(pub mpsc::Sender<Notification>);

impl NotificationSender {
    pub fn tell(&self, news: Notification) {
        let _ = self.0.try_send(news);
    }

    /// A message on the lock's channel.
    pub fn message(&self, message: &Msg) {
        if let Some(news) = message.get_payload::<String>().ok().and_then(|text| parse(&text)) {
            self.tell(news);
        }
    }

    /// A push of RESP3. True where it says that the connection is gone.
    pub fn push(&self, push: PushInfo) -> bool {
        if push.kind == PushKind::Disconnection {
            return true;
        }
        if let Some(message) = Msg::from_push_info(push) {
            self.message(&message);
        }
        false
    }
}

/// `acquired VALUE`, `released LISTENERS VALUE`, `done LISTENERS VALUE` or `held LISTENERS MILLISECONDS`; `None` for a message
/// that isn't ours.
pub fn parse(text: &str) -> Option<Notification> {
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
