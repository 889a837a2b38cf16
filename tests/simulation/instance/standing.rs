//! What follows a campaign: leading, campaigning again, or standing by for notifications.

use std::time::Duration;

use super::{FILL_IN, Instance, Phase, Timer};
use crate::{
    clock::Moment,
    lease::Quorums,
    lock::{Reason, ReleaseOptions},
    once_per::Failures,
    redlock::{
        outcome,
        simulated::{AcquireReply, LostRound, NodeReply, Notification, STALE_AT_ONCE},
    },
    simulation::world::{Ask, World},
};

impl Instance {
    pub(super) fn campaigned(
        &mut self,
        replies: &[NodeReply<AcquireReply>],
        number: u32,
        sent: Moment,
        world: &mut World,
    ) {
        let now = self.clock(world);
        let quorums = Quorums::of(self.nodes(world));
        self.watch.learn(now.since(sent), outcome::listeners(&quorums, replies));
        let fence = outcome::fence_to_pass(&quorums, replies, self.wall(world));
        fence.into_iter().for_each(|fence| self.session.see(fence));
        let lost = match outcome::campaign(&self.counted(world, replies), replies, &world.times, sent, now) {
            Ok(Failures { .. }) => return self.lead(replies, number, sent, world),
            Err(lost) => lost,
        };
        let is_led = matches!(lost, LostRound::Decided(Reason::Taken(_) | Reason::Kept { .. }));
        self.lost_rounds = if is_led { 0 } else { self.lost_rounds + 1 };
        let refused = outcome::refused(replies);
        let key = self.session.key();
        for node in (0..self.nodes(world)).filter(|node| !refused.contains(node)) {
            let ask = Ask::Release { key: key.clone(), tell: false, options: ReleaseOptions::default() };
            world.send(node, ask, self.process(), FILL_IN);
        }
        world.tell(|| format!("instance {}: lost a round: {lost:?}", self.index));
        let reason = match lost {
            LostRound::Decided(reason) => Some(reason),
            LostRound::OtherList(_) | LostRound::NoQuorum | LostRound::StartupGrace => None,
        };
        match reason {
            Some(Reason::Stale) if self.lost_rounds <= STALE_AT_ONCE => self.campaign(world),
            Some(reason) if reason.is_final() => self.end(world),
            _ if world.random.u8(0..100) < world.schedule.impatient => self.end(world),
            Some(reason) if reason.is_race() => {
                let race = Duration::from_millis(1) * (1 << self.lost_rounds.min(10));
                let most = race.min(world.times.retry_after());
                let pause = most.mul_f64(world.random.f64()).as_nanos() as u64;
                self.stand_by(Some(pause), world);
            }
            _ => {
                let free_in = outcome::free_in(self.nodes(world), replies, &world.times, world.random.f64());
                let free_in = quorums.reached_at(|node| free_in[node]);
                self.watch.begin(free_in, &world.times, now, world.random.f64());
                self.stand_by(None, world);
            }
        }
    }

    /// Stands by. After `pause`, campaigns again whatever it hears.
    fn stand_by(&mut self, pause: Option<u64>, world: &mut World) {
        self.phase = Phase::StandingBy;
        self.go += 1;
        match pause {
            Some(pause) => world.timer(pause, Timer::Go(self.go), self.process()),
            None => {
                self.wait_to_go(world);
                for news in std::mem::take(&mut self.news) {
                    self.news(news, world);
                }
            }
        }
    }

    fn wait_to_go(&mut self, world: &mut World) {
        self.go += 1;
        if let Some(go) = self.watch.goes_at() {
            world.timer(self.until(go, world), Timer::Go(self.go), self.process());
        }
    }

    pub fn news(&mut self, news: Notification, world: &mut World) {
        match self.phase {
            Phase::Campaigning => self.news.push(news),
            Phase::StandingBy => {
                let now = self.clock(world);
                if self.watch.hear(news, &world.times, now, world.random.f64()) {
                    self.campaign(world);
                } else {
                    self.wait_to_go(world);
                }
            }
            _ => {}
        }
    }
}
