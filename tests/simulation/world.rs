//! One schedule: its machines and its faults.

use std::{cell::Cell, future::Future, rc::Rc, time::Duration};

use tokio::{
    runtime::Builder,
    task::{LocalSet, spawn_local},
    time::{Instant, sleep},
};

use super::{
    instance::{Instance, RESOURCE},
    ledger::Ledger,
    machine::{Machine, Process},
    network::{Afterwards, Jitter, Network, Way},
    node::{Keeps, Node},
    schedule::Schedule,
    server::Client,
};
use crate::{
    lease::{Quorums, quorum},
    observer::Observer,
    redlock::{Address, RedlockConfig},
    settings::BackendConfig,
};

/// How far clocks are set back before anything happens: by more than servers have been up.
const BACK: Duration = Duration::from_secs(2000);

/// How far a fencing token from the future is ahead: farther than clocks differ.
const AHEAD: Duration = Duration::from_secs(2 * 24 * 3600);

/// The state of a schedule.
pub struct World {
    pub schedule: Schedule,
    pub ledger: Rc<Ledger>,
    pub network: Network,
    pub nodes: Vec<Rc<Node>>,
    pub instances: Vec<Rc<Instance>>,
    /// The machine of whoever asks leaders to step down.
    pub operator: Rc<Machine>,
    pub quiet: Cell<bool>,
}

/// What came of a schedule.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub wrong: Option<String>,
    pub commands: u64,
    pub executed: u64,
    pub hash: u64,
    /// The longest times without a leader once all was quiet: at first, after a release, and after a machine's crash.
    pub vacant: [Duration; 3],
}

/// Runs a schedule to its end.
pub fn run(seed: u64, is_shown: bool) -> Outcome {
    let schedule = Schedule::drawn(seed);
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    let local = LocalSet::new();
    local.block_on(&runtime, async {
        let world = World::new(schedule, is_shown);
        let vacant = tokio::select! {
            biased;
            () = world.ledger.failed() => [Duration::ZERO; 3],
            vacant = world.clone().pass() => vacant,
        };
        Outcome {
            wrong: world.ledger.wrong(),
            commands: world.ledger.commands(),
            executed: world.ledger.executed.get(),
            hash: world.ledger.hash(),
            vacant,
        }
    })
}

fn exponential(mean: Duration) -> Duration {
    mean.mul_f64(-(1.0 - fastrand::f64()).ln())
}

impl World {
    fn new(schedule: Schedule, is_shown: bool) -> Rc<Self> {
        let ledger = Rc::new(Ledger::of(&schedule, is_shown));
        ledger.tell(|| format!("{schedule:#?}"));
        let network = Network::new(schedule.instances + 1, schedule.nodes);
        let node = |index| {
            let machine = Machine::new(0, &network, &ledger, schedule.clocks.of_node(), 0);
            Rc::new(Node::new(index, machine, &network, &ledger, fastrand::u8(0..100) >= schedule.old))
        };
        let instance = |index| {
            let ahead = if schedule.lists { 0 } else { fastrand::i64(-50_000..50_000) };
            let machine = Machine::new(index, &network, &ledger, schedule.clocks.of_instance(), ahead);
            Rc::new(Instance::new(index, machine, schedule.clone(), &ledger, is_shown))
        };
        Rc::new(World {
            nodes: (0..schedule.nodes).map(node).collect(),
            instances: (0..schedule.instances).map(instance).collect(),
            operator: Machine::new(schedule.instances, &network, &ledger, 1.0, 0),
            quiet: Cell::new(false),
            schedule,
            ledger,
            network,
        })
    }

    /// Lets all happen. Returns how long nobody led in the end.
    async fn pass(self: Rc<Self>) -> [Duration; 3] {
        self.begin();
        sleep(self.schedule.lasts).await;
        self.settle();
        if self.schedule.fence_ahead {
            // An instance says it once there has been no quorum for a ttl. Signals may have ended each before that.
            sleep(2 * self.schedule.times.ttl()).await;
            if !self.ledger.heard_of_fence.get() {
                self.ledger.fail("nobody says that a fencing token from the future keeps all from leading".into());
            }
            return [Duration::ZERO; 3];
        }
        self.drill().await
    }

    fn begin(self: &Rc<Self>) {
        let Schedule { far, jitter, .. } = self.schedule;
        self.network.set_jitter(jitter.unwrap_or_default());
        for place in 0..=self.schedule.instances {
            for node in 0..self.schedule.nodes {
                let latency = if far && fastrand::bool() { 15 } else { 1 };
                self.network.set_latency(place, node, Duration::from_millis(latency));
            }
        }
        for node in &self.nodes {
            node.start(Default::default(), Duration::from_secs(1000));
        }
        if self.schedule.lasting_cuts {
            self.cut_for_good();
        }
        self.misconfigure();
        for instance in &self.instances {
            spawn_local(instance.clone().live());
        }
        self.disturb();
    }

    /// Makes wrong what is wrong from the beginning.
    fn misconfigure(&self) {
        if self.schedule.set_back {
            self.nodes.iter().for_each(|node| node.machine.set_clock(-(BACK.as_micros() as i64)));
        }
        if self.schedule.fence_ahead {
            let fence = (self.nodes[0].machine.wall() + AHEAD).as_micros().to_string();
            let set = ["SET".as_bytes(), format!("{RESOURCE}:fence").as_bytes(), fence.as_bytes()].map(<[u8]>::to_vec);
            self.execute(&self.nodes[0], &set);
            self.nodes[1].crash(false);
        }
    }

    /// Starts what is to happen from time to time.
    fn disturb(self: &Rc<Self>) {
        let Schedule { resets, cuts, crashes, stalls, freezes, kills, forgeries, step_downs, signals, jumps, .. } =
            self.schedule;
        self.often(resets, |world| async move {
            let (place, node) = (world.place(), world.node().index);
            world.ledger.tell(|| format!("the connections of {place} to node {node} are reset"));
            world.network.reset(place, node);
        });
        self.often(cuts, World::cut);
        self.often(crashes, World::crash);
        self.often(stalls, |world| async move {
            let node = world.node();
            let lasts = world.some_time();
            let Some(process) = node.process() else { return };
            world.ledger.tell(|| format!("node {} is stopped for {lasts:?}", node.index));
            process.stop();
            world.unless_quiet(lasts).await;
            process.go_on();
        });
        self.often(freezes, |world| async move {
            let (instance, lasts) = (world.instance(), world.some_time());
            let guard = fastrand::u8(0..4) == 0;
            instance.freeze(guard, lasts).await;
        });
        self.often(kills, |world| async move {
            let instance = world.instance();
            match fastrand::u8(0..4) {
                0 => instance.crash(world.some_time()),
                1 => instance.kill(true),
                _ => instance.kill(false),
            }
        });
        self.often(forgeries, World::forge);
        self.often(step_downs, World::some_step_down);
        self.often(jumps, World::jump);
        self.often(signals, |world| async move { world.instance().terminate() });
        self.often(Some(self.schedule.times.ttl() / 2), |world| async move { world.node().save() });
        self.often(self.schedule.votes_between.then(|| self.schedule.times.ttl() / 20), World::vote_between);
        if self.schedule.empties {
            spawn_local(self.clone().empty());
        }
        if self.schedule.overlap.is_some() {
            spawn_local(self.clone().take_votes());
        }
    }

    /// Lets all nodes lose what they have while a command runs, once in each run.
    async fn empty(self: Rc<Self>) {
        while !self.quiet.get() {
            self.ledger.is_led().await;
            sleep(self.schedule.command_lasts.mul_f64(2.0 * fastrand::f64())).await;
            if self.ledger.present_run().is_some() {
                self.ledger.tell(|| "all nodes start again, empty".into());
                self.nodes.iter().for_each(|node| drop(node.crash(false)));
                sleep(Duration::from_millis(2)).await;
                self.nodes.iter().for_each(|node| node.start_again(Default::default(), Keeps::Nothing));
            }
            self.ledger.is_vacant().await;
        }
    }

    /// Does something from time to time, until all is quiet.
    fn often<F: Future<Output = ()> + 'static>(self: &Rc<Self>, mean: Option<Duration>, what: fn(Rc<World>) -> F) {
        let Some(mean) = mean else { return };
        let world = self.clone();
        spawn_local(async move {
            loop {
                sleep(exponential(mean)).await;
                if world.quiet.get() {
                    return;
                }
                spawn_local(what(world.clone()));
            }
        });
    }

    fn place(&self) -> usize {
        fastrand::usize(0..self.schedule.instances)
    }

    fn node(&self) -> Rc<Node> {
        self.nodes[fastrand::usize(0..self.nodes.len())].clone()
    }

    fn instance(&self) -> Rc<Instance> {
        self.instances[self.place()].clone()
    }

    fn some_time(&self) -> Duration {
        self.schedule.times.ttl().mul_f64([0.1, 1.0, 3.0][fastrand::usize(0..3)] * fastrand::f64())
    }

    /// Sleeps, but not beyond the time of faults.
    async fn unless_quiet(&self, lasts: Duration) {
        let until = Instant::now() + lasts;
        while !self.quiet.get() && Instant::now() < until {
            sleep(lasts.min(Duration::from_millis(20))).await;
        }
    }

    async fn cut(self: Rc<Self>) {
        let (place, node, lasts) = (self.place(), self.node().index, self.some_time());
        let then = if fastrand::bool() { Afterwards::Delivered } else { Afterwards::Reset };
        let ways = Way::some();
        self.ledger.tell(|| format!("instance {place} and node {node} are cut off for {lasts:?}: {ways:?}, {then:?}"));
        for way in ways {
            self.network.cut(place, node, *way, lasts, then);
        }
    }

    /// Lets a node crash, or a quorum of them at once.
    async fn crash(self: Rc<Self>) {
        let together = if fastrand::u8(0..3) == 0 { quorum(self.nodes.len()) } else { 1 };
        let first = self.node().index;
        for index in 0..together {
            let node = self.nodes[(first + index) % self.nodes.len()].clone();
            if node.is_up() {
                spawn_local(self.clone().crash_node(node));
            }
        }
    }

    async fn crash_node(self: Rc<Self>, node: Rc<Node>) {
        let with_machine = fastrand::u8(0..3) == 0;
        let had = node.crash(with_machine);
        let keeps = match fastrand::u8(0..4) {
            _ if self.schedule.keeps_data => Keeps::All,
            0 => Keeps::All,
            1 => Keeps::Old,
            _ => Keeps::Nothing,
        };
        self.ledger.tell(|| format!("node {} crashes; machine: {with_machine}, keeps {keeps:?}", node.index));
        sleep(exponential(self.schedule.restart_after)).await;
        self.ledger.tell(|| format!("node {} is up again", node.index));
        node.start_again(had, keeps);
    }

    /// Sets the clock of the last node, or deletes its lock, while the lease stands on all nodes: then that is harmless.
    async fn jump(self: Rc<Self>) {
        // With the token: the vote of a round that was lost may still be there, and is about to be given back.
        let lock = |node: &Rc<Node>| {
            let server = node.server()?;
            let get = |key: &str| Some(server.borrow().get(key.as_bytes())?.value.clone());
            Some((get(RESOURCE)?, get(&format!("{RESOURCE}:fence"))?))
        };
        let locks: Vec<_> = self.nodes.iter().map(lock).collect();
        let Some(node) = self.nodes.last().filter(|_| locks[0].is_some() && locks.iter().all(|lock| *lock == locks[0]))
        else {
            return;
        };
        if fastrand::u8(0..3) == 0 {
            self.ledger.tell(|| format!("node {}: its lock is deleted", node.index));
            node.server().into_iter().for_each(|server| drop(server.borrow_mut().data.remove(RESOURCE.as_bytes())));
        } else {
            let by = self.some_time().as_micros() as i64 * if fastrand::bool() { 1 } else { -1 };
            self.ledger.tell(|| format!("node {}: its clock is set by {} ms", node.index, by / 1000));
            node.machine.set_clock(by);
        }
    }

    /// Publishes something that anybody may publish who can read the lock.
    async fn forge(self: Rc<Self>) {
        let node = self.node();
        let Some(server) = node.server() else { return };
        let value = server.borrow().get(RESOURCE.as_bytes()).map(|entry| entry.value.clone()).unwrap_or_default();
        let hash = serde_json::from_slice::<serde_json::Value>(&value).unwrap_or_default();
        let hash = hash["release"].as_str().unwrap_or("x").to_owned();
        let repeated = {
            let server = server.borrow();
            let before = server.published.get(fastrand::usize(0..16)).map(|message| String::from_utf8_lossy(message));
            before.map(|message| message.into_owned()).unwrap_or_default()
        };
        let message = match fastrand::u8(0..9) {
            7 => repeated,
            8 => format!("wake 1 {hash}"),
            0 => "acquired x".to_owned(),
            1 => format!("released 1 {hash}"),
            2 => format!("released {} x", fastrand::u32(..)),
            3 => format!("held {} {}", fastrand::u8(..), fastrand::u64(..)),
            4 => format!("done 1 {hash}"),
            5 => format!("acquired {hash}"),
            _ => "released".to_owned(),
        };
        self.ledger.tell(|| format!("node {}: somebody publishes {message}", node.index));
        self.execute(&node, &["PUBLISH", RESOURCE, &message].map(|part| part.as_bytes().to_vec()));
    }

    /// Executes a command on a node, from nowhere.
    pub fn execute(&self, node: &Node, command: &[Vec<u8>]) {
        let mut client = Client { number: 0, sender: None, resp3: false };
        node.server().into_iter().for_each(|server| drop(server.borrow_mut().execute(&mut client, command)));
    }

    async fn some_step_down(self: Rc<Self>) {
        self.ask_to_step_down().await;
    }

    /// Asks who leads to step down. Returns whether a quorum of nodes will pass that on.
    pub async fn ask_to_step_down(&self) -> bool {
        let (times, nodes) = (self.schedule.times, self.schedule.nodes);
        let process = Process::new(&self.operator, "operator".into());
        let asked = process.run(async move {
            let address = |node| Address::parse(&format!("unix:///simulated/{node}")).expect("an address");
            let (addresses, lock) = ((0..nodes).map(address).collect(), RESOURCE.to_owned());
            let backend =
                BackendConfig::Redlock(RedlockConfig { quorums: Quorums::of(nodes), addresses, lock, tls: None });
            let Ok(observer) = Observer::open(&backend, RESOURCE, times, None) else { return false };
            match observer.look().await.leader {
                Some(leader) => observer.ask_to_step_down(&leader).await.unwrap_or(false),
                None => false,
            }
        });
        asked.await.unwrap_or(false)
    }

    /// Ends all faults.
    pub fn settle(&self) {
        self.quiet.set(true);
        self.ledger.tell(|| "all is quiet from now on".into());
        self.network.set_jitter(Jitter::default());
        if !self.schedule.lasting_cuts {
            self.network.heal();
        }
        self.instances.iter().for_each(|instance| instance.go_on());
    }
}
