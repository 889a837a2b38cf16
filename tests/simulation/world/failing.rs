//! What fails: nodes crash and start again.

use super::{Data, Event, Instance, MS, Process, World};
use crate::redlock::simulated::Notification;

impl World {
    pub(super) fn crash(&mut self, index: usize) {
        if self.quiet {
            return;
        }
        // If a record must be found again, a server comes back with its data.
        let keeps = self.schedule.keeps_data;
        let old = !keeps && self.random.bool();
        let server = &mut self.servers[index];
        if !keeps {
            server.node.data = if old { server.saved.clone() } else { Data::default() };
        }
        server.up = false;
        self.tell(|| {
            format!(
                "node {index}: crashes, {}",
                if keeps {
                    "keeps its data"
                } else if old {
                    "has old data"
                } else {
                    "loses all"
                }
            )
        });
        let down = self.exponential(60 * MS);
        self.after(down, Event::Start(index));
    }

    pub(super) fn start(&mut self, index: usize) {
        let server = &mut self.servers[index];
        server.up = true;
        server.node.started = server.clock(self.now);
        self.tell(|| format!("node {index}: starts"));
        self.some_time(self.schedule.crashes, Event::Crash(index));
        let listening: Vec<Process> =
            self.instances.iter().flatten().filter(|r| r.listens()).map(Instance::process).collect();
        for to in listening {
            let delay = self.random.u64(0..20 * MS);
            self.after(delay, Event::Notification { news: Notification::Connected, to });
        }
    }
}
