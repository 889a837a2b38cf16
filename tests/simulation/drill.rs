//! The end of a schedule: all is quiet and all nodes are up, so somebody must lead, and the next one soon after that.

use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::{
    network::{Afterwards, Way},
    schedule::Schedule,
    world::World,
};
use crate::lease::quorum;

/// The longest pause between two runs of an instance.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// How much beyond the protocol's own times its requests, and races between candidates, may take.
const SLACK: Duration = Duration::from_millis(300);

impl World {
    /// Waits until somebody leads, then lets leaders end in different ways. Returns the longest times without a leader: at
    /// first, after a release, and after a machine's crash.
    pub async fn drill(&self) -> [Duration; 3] {
        let mut vacant = [Duration::ZERO; 3];
        while !self.nodes.iter().all(|node| node.is_up()) {
            sleep(Duration::from_millis(20)).await;
        }
        let Schedule { times, hold, jumps, lists, .. } = self.schedule;
        let once_per = self.schedule.once_per.as_ref();
        if lists || jumps.is_some() && (hold.is_some() || once_per.is_some()) {
            // Instances with other lists keep each other out; where a clock was set back, what is kept there lasts longer.
            return vacant;
        }
        let closed = hold.unwrap_or_default().max(once_per.map_or(Duration::ZERO, |once_per| once_per.period));
        // What a dead candidate has got expires after a ttl, and a node grants after its grace, which counts in seconds.
        let grace = times.startup_grace() + Duration::from_secs(1);
        vacant[0] = self.must_be_led(grace + times.ttl() / 2 + closed, "at first").await;
        // Who has just come does not know for how long nodes with wrong uptimes have been up.
        if !closed.is_zero() || self.schedule.set_back {
            return vacant;
        }
        // Until each node has come to grant.
        sleep(grace + times.ttl()).await;
        for _ in 0..3 {
            self.must_be_led(times.ttl(), "after a leader").await;
            match fastrand::u8(0..4) {
                0 => vacant[2] = vacant[2].max(self.machine_crashes().await),
                1 => {
                    self.elector_dies().await;
                    vacant[1] = vacant[1].max(self.next_leads().await);
                }
                2 => self.must_step_down().await,
                _ => vacant[1] = vacant[1].max(self.next_leads().await),
            }
        }
        vacant
    }

    /// Waits until somebody leads. Returns how long that took.
    async fn must_be_led(&self, within: Duration, when: &str) -> Duration {
        let (began, within) = (Instant::now(), within + self.slack());
        if timeout(within, self.ledger.is_led()).await.is_err() {
            self.ledger.fail(format!("nobody leads within {within:?} {when}, with all nodes up and quiet"));
        }
        began.elapsed()
    }

    /// Waits for the end of the present leadership, by itself or not, and for the next one. Returns how long that took.
    async fn next_leads(&self) -> Duration {
        let Schedule { times, lasting_cuts, .. } = self.schedule;
        self.ledger.is_vacant().await;
        // The message may be lost to all that it is sent to: those then look when the votes could have expired.
        let within = if lasting_cuts { times.ttl() + times.drift() } else { times.ttl() / 3 };
        self.must_be_led(within, "after a release").await
    }

    /// Lets the machine of the leader crash. Returns how long nobody leads then.
    async fn machine_crashes(&self) -> Duration {
        let Some(leader) = self.ledger.leader() else { return Duration::ZERO };
        let Schedule { times, .. } = self.schedule;
        // The others take over: it stays down for longer than that takes.
        let down = 2 * times.ttl();
        let back = Instant::now() + down;
        self.instances[leader].crash(down);
        self.ledger.is_vacant().await;
        let vacant = self.must_be_led(times.ttl() + times.drift(), "after the leader's machine crashed").await;
        // There may be no third one to take over from the second.
        sleep_until(back).await;
        vacant
    }

    /// Kills the elector of the leader, whose guard must kill the command at once.
    async fn elector_dies(&self) {
        let Some(run) = self.ledger.present_run() else { return };
        self.ledger.leader().inspect(|leader| self.instances[*leader].kill(false));
        let margin = self.schedule.times.margin();
        if timeout(margin, self.ledger.is_over(run)).await.is_err() {
            self.ledger.fail(format!("{margin:?} after the death of its elector, a command is not dead"));
        }
    }

    /// Returns how much longer than the protocol's times all may take.
    fn slack(&self) -> Duration {
        let Schedule { impatient, far, nodes, lasting_cuts, times, .. } = self.schedule;
        // Who tries once isn't there all the time.
        let absent = if impatient > 0 { LONGEST_PAUSE } else { Duration::ZERO };
        // Candidates that are near to different halves of the nodes may collide several times in a row.
        let races = if far && nodes % 2 == 0 { 2 * SLACK } else { SLACK };
        // A round that lacks answers takes as long as they may, and the pause after a tie up to four times that.
        let unanswered = if lasting_cuts { 5 * times.answer_timeout() } else { Duration::ZERO };
        races + absent + unanswered
    }

    /// Asks the leader to step down, by way of a quorum. It must do so with its next extension but one.
    async fn must_step_down(&self) {
        let Some(run) = self.ledger.present_run() else { return };
        let times = self.schedule.times;
        // Links that are cut for good can't be healed one by one.
        let cut = if self.schedule.lasting_cuts { 0 } else { self.nodes.len() - quorum(self.nodes.len()) };
        for node in 0..cut {
            for way in [Way::ToNode, Way::FromNode] {
                self.network.cut(self.operator.place, node, way, 10 * times.ttl(), Afterwards::Delivered);
            }
        }
        if self.ask_to_step_down().await {
            let within =
                2 * times.extend_every() + times.answer_timeout() + self.schedule.stop_timeout + times.margin();
            if timeout(within, self.ledger.is_over(run)).await.is_err() {
                self.ledger.fail(format!("a leader does not step down within {within:?}"));
            }
        }
        if cut > 0 {
            self.network.heal();
        }
    }
}
