//! What systemd is told where it has started us with a notify socket (sd_notify(3)): ready, what we do, stopping, and that the
//! elector still runs.

use std::{
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use sd_notify::NotifyState;

use crate::{cli::ReadyWhen, event::Event};

/// How long what was told last gets to reach a manager that is busy.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The variables that speak of the socket; the command isn't to use it as well.
pub const VARIABLES: [&str; 3] = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"];

#[derive(Debug)]
enum Word {
    Ready,
    Stopping,
    Status(String),
    Alive,
}

/// The service that we are to systemd.
#[derive(Debug)]
pub struct Service {
    ready_when: ReadyWhen,
    words: Sender<Word>,
}

/// That all has been said.
pub struct AllSaid(Receiver<()>);

impl Service {
    /// From within the runtime, which shows by that that it runs on. A thread does the telling: the manager may not read for long.
    ///
    /// # Errors
    /// No thread to be had.
    pub fn start(ready_when: ReadyWhen) -> Result<(Self, AllSaid)> {
        let (words, told) = channel();
        let (said, all_said) = channel();
        let tell = move || {
            for word in told {
                // Whoever has no socket, or one that nobody listens to any more, is told nothing.
                let _ = sd_notify::notify(&[match &word {
                    Word::Ready => NotifyState::Ready,
                    Word::Stopping => NotifyState::Stopping,
                    Word::Status(status) => NotifyState::Status(status),
                    Word::Alive => NotifyState::Watchdog,
                }]);
                if matches!(word, Word::Stopping) {
                    let _ = said.send(());
                }
            }
        };
        thread::Builder::new().stack_size(64 * 1024).spawn(tell).context("can't start a thread to notify")?;
        if let Some(within) = sd_notify::watchdog_enabled() {
            let words = words.clone();
            tokio::spawn(async move {
                while words.send(Word::Alive).is_ok() {
                    // As sd_watchdog_enabled(3) recommends.
                    tokio::time::sleep(within / 2).await;
                }
            });
        }
        Ok((Service { ready_when, words }, AllSaid(all_said)))
    }

    /// Passes on what follows from a message.
    pub fn hear(&self, event: Event, message: &str) {
        let ready = match event {
            Event::StandsBy => self.ready_when == ReadyWhen::Standby,
            Event::Started => true,
            Event::Leads | Event::Lost | Event::StepsDown | Event::Ended | Event::NoQuorum => false,
            _ => return,
        };
        if ready {
            self.say(Word::Ready);
        }
        self.say(Word::Status(message.to_owned()));
    }

    pub fn stop(&self) {
        self.say(Word::Stopping);
    }

    fn say(&self, word: Word) {
        let _ = self.words.send(word);
    }
}

impl AllSaid {
    /// Waits until the manager knows that we stop, but not for ever.
    pub fn wait(self) {
        let _ = self.0.recv_timeout(LAST_WORDS);
    }
}
