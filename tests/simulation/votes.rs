//! Votes that a leader loses, or that another candidate has when it is elected.

use std::rc::Rc;

use tokio::time::sleep;

use super::{
    instance::RESOURCE,
    network::{Afterwards, Way},
    world::World,
};
use crate::{
    lease::Quorums,
    lock::{LockValue, ReleaseProof, Terms},
};

impl World {
    /// Lets a node that a lease on a bare quorum stands on give its vote to another, once in each run: its clock jumps, and a new
    /// candidate comes.
    pub async fn take_votes(self: Rc<Self>) {
        let ttl = self.schedule.times.ttl();
        while !self.quiet.get() {
            self.ledger.is_led().await;
            let (Some(leader), Some(run)) = (self.ledger.leader(), self.ledger.present_run()) else { continue };
            for way in [Way::ToNode, Way::FromNode] {
                self.network.cut(leader, 2, way, 4 * ttl, Afterwards::Delivered);
            }
            // Until its lock there has expired.
            sleep(2 * ttl).await;
            if self.ledger.present_run() == Some(run) && !self.quiet.get() {
                self.ledger.tell(|| "node 1: its clock is set".into());
                self.nodes[1].machine.set_clock(ttl.as_micros() as i64);
                self.instances[(leader + 1) % self.instances.len()].kill(false);
            }
            self.ledger.is_over(run).await;
        }
    }

    /// Gives the vote of the node that all lists have to a candidate that uses all nodes and doesn't win, for a while.
    pub async fn vote_between(self: Rc<Self>) {
        let (times, node) = (self.schedule.times, &self.nodes[0]);
        let lock = || Some(node.server()?.borrow().get(RESOURCE.as_bytes())?.value.clone());
        if lock().is_some() || self.ledger.leader().is_some() {
            return;
        }
        let terms = Terms { slots: 1, lists: Quorums::of(self.nodes.len()).sizes(), ttl: times.ttl() };
        let proof = ReleaseProof::new(fastrand::u128(..));
        let value = LockValue::of_candidate(fastrand::u128(..), &proof, "a candidate", Some(terms)).expect("a value");
        self.ledger.tell(|| "node 0: a candidate has its vote".into());
        let ttl = times.ttl().as_millis().to_string();
        self.execute(node, &["SET", RESOURCE, value.as_str(), "PX", &ttl].map(|part| part.as_bytes().to_vec()));
        sleep(times.ttl().mul_f64([0.1, 1.0][fastrand::usize(0..2)] * fastrand::f64())).await;
        if lock().is_some_and(|lock| lock == value.as_str().as_bytes()) {
            self.ledger.tell(|| "node 0: the candidate gives its vote back".into());
            self.execute(node, &["DEL", RESOURCE].map(|part| part.as_bytes().to_vec()));
        }
    }
}
