//! What the nodes tell without being asked: messages on the lock's channel, and that a connection is there again.

use redis::{Msg, PushInfo, PushKind};
use tokio::sync::mpsc;

/// Something that may change who can lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// A leader has released; so many standbys listen on that node.
    Released { node: usize, listeners: u32 },
    /// A candidate has got that node's vote.
    Acquired,
    /// A connection is there, and listens: what was told before is lost.
    Connected,
}

/// Where a node's news go.
#[derive(Clone)]
pub struct Newswire {
    pub node: usize,
    pub sender: mpsc::UnboundedSender<News>,
}

impl Newswire {
    pub fn tell(&self, news: News) {
        let _ = self.sender.send(news);
    }

    /// A message on the lock's channel: `released N` or `acquired`.
    pub fn message(&self, message: &Msg) {
        let Ok(text) = message.get_payload::<String>() else { return };
        match text.split_once(' ') {
            Some(("released", listeners)) => {
                if let Ok(listeners) = listeners.parse() {
                    self.tell(News::Released { node: self.node, listeners });
                }
            }
            None if text == "acquired" => self.tell(News::Acquired),
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
