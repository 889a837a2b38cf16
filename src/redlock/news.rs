//! What the nodes tell without being asked: messages on the lock's channel, and that a connection is there again.

use redis::{Msg, PushInfo, PushKind};
use tokio::sync::mpsc;

/// Something that may change who can lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// A leader has released the lock that has this value; so many standbys listen.
    Released { value: String, listeners: u32 },
    /// A candidate has got a vote, for the lock that had this value before, if it knows of one that was released.
    Acquired { freed: String },
    /// A connection is there, and listens: what was told before is lost.
    Connected,
}

/// Where the news go.
#[derive(Clone)]
pub struct Newswire(pub mpsc::UnboundedSender<News>);

impl Newswire {
    pub fn tell(&self, news: News) {
        let _ = self.0.send(news);
    }

    /// A message on the lock's channel: `released LISTENERS VALUE` or `acquired VALUE`.
    pub fn message(&self, message: &Msg) {
        let Ok(text) = message.get_payload::<String>() else { return };
        match text.split_once(' ') {
            Some(("acquired", freed)) => self.tell(News::Acquired { freed: freed.to_owned() }),
            Some(("released", rest)) => {
                if let Some((listeners, value)) = rest.split_once(' ')
                    && let Ok(listeners) = listeners.parse()
                {
                    self.tell(News::Released { value: value.to_owned(), listeners });
                }
            }
            _ => {}
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
