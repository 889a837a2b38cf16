//! The campaign's faults, drawn at random, and their ends. They stay within what leaderrun promises: only one process
//! of an instance fails at a time, and data is deleted from one node only until its locks are restored.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write,
    os::fd::OwnedFd,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::{
    BETWEEN_FAULTS, TTL,
    instances::Resource,
    meddling,
    nodes::{Link, Node, Nodes, PLACES, YOUNG},
};
use crate::support::{Mode, eventually, monotonic};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    KillElector,
    KillGuard,
    KillCommand,
    StopElector,
    StopGuard,
    StopCommand,
    StepDown,
    KillNodeEmpty,
    KillNodeWithData,
    StopNode,
    ResetConnections,
    BlackHole,
    Delay,
    FlushAll,
    DeleteKeys,
    Garbage,
    HalfReplies,
    NoReplies,
    OneByteASecond,
    CutLink,
    LateLink,
    SetClock,
    FullDisk,
    OutOfMemory,
    ForgedMessage,
    ChangeList,
    StarvedCpu,
}

use Kind::*;

/// The faults of processes.
const PROCESSES: [Kind; 6] = [KillElector, KillGuard, KillCommand, StopElector, StopGuard, StopCommand];

/// The faults of nodes, with those of their connections at the end.
const NODES: [Kind; 16] = [
    KillNodeEmpty,
    KillNodeWithData,
    StopNode,
    FlushAll,
    DeleteKeys,
    FullDisk,
    OutOfMemory,
    ResetConnections,
    BlackHole,
    Delay,
    Garbage,
    HalfReplies,
    NoReplies,
    OneByteASecond,
    CutLink,
    LateLink,
];

/// How a fault ends.
enum End {
    Continue {
        process: OwnedFd,
        resource: usize,
        instance: usize,
        stopped: Option<u64>,
    },
    Instance {
        resource: usize,
        instance: usize,
    },
    Pass(usize),
    Start(usize),
    Thaw(usize),
    Memory(usize),
    Disk(usize),
    Settled(usize),
    /// Nothing is left to be mended.
    Over {
        resource: usize,
    },
    Ask(Child),
    Cpu(Vec<Child>),
}

pub(crate) struct Faults {
    pub by_kind: BTreeMap<Kind, usize>,
    random: fastrand::Rng,
    next: Instant,
    log: File,
    under_way: Vec<(Instant, End)>,
}

impl Faults {
    /// Creates the faults of a seed, which are logged in this folder.
    pub(crate) fn new(seed: u64, folder: &Path) -> Self {
        Faults {
            log: File::create(folder.join("faults.log")).expect("a log"),
            by_kind: BTreeMap::new(),
            random: fastrand::Rng::with_seed(seed),
            next: Instant::now() + YOUNG,
            under_way: Vec::new(),
        }
    }

    /// Ends the faults that are due, and begins the next one when it is due.
    pub(crate) fn go_on(&mut self, nodes: &mut Nodes, resources: &mut [Resource]) {
        let now = Instant::now();
        while let Some(due) = self.under_way.iter().position(|(until, _)| *until <= now) {
            let (_, end) = self.under_way.swap_remove(due);
            end.come(nodes, resources);
        }
        if now < self.next {
            return;
        }
        self.next = now + BETWEEN_FAULTS.mul_f64(-(1.0 - self.random.f64()).ln());
        let kind = match self.random.u8(0..100) {
            0..46 => PROCESSES[self.random.usize(0..PROCESSES.len())],
            46..50 => StepDown,
            50..86 => NODES[self.random.usize(0..NODES.len())],
            86..89 => SetClock,
            89..93 => ForgedMessage,
            93..97 => ChangeList,
            _ => StarvedCpu,
        };
        let begun = match kind {
            StarvedCpu => Some((StarvedCpu, End::Cpu(meddling::starve()))),
            StepDown => self.ask_to_step_down(resources),
            ForgedMessage => self.forge(nodes, resources),
            ChangeList => self.change_list(resources),
            kind if PROCESSES.contains(&kind) => self.disturb(kind, resources),
            kind => self.harm(kind, nodes, resources),
        };
        if let Some((kind, end)) = begun {
            *self.by_kind.entry(kind).or_default() += 1;
            let lasts = match end {
                End::Cpu(_) => self.between(300, 1500),
                End::Settled(_) => TTL * 2,
                // Shorter than a lease, or much longer.
                _ if self.random.bool() => self.between(20, 400),
                _ => self.between(20, 3500),
            };
            writeln!(self.log, "{} {kind:?} {} ms: {}", monotonic(), lasts.as_millis(), end.of()).expect("a log");
            self.under_way.push((now + lasts, end));
        }
    }

    /// Ends all faults in progress.
    pub(crate) fn end_all(&mut self, nodes: &mut Nodes, resources: &mut [Resource]) {
        for (_, end) in self.under_way.drain(..) {
            end.come(nodes, resources);
        }
    }

    fn between(&mut self, shortest: u64, longest: u64) -> Duration {
        Duration::from_millis(self.random.u64(shortest..longest))
    }

    /// Disturbs a process of an instance, more often the leader's.
    fn disturb(&mut self, kind: Kind, resources: &mut [Resource]) -> Option<(Kind, End)> {
        let number = self.random.usize(0..resources.len());
        let resource = &mut resources[number];
        let leader = resource.instances.iter().position(|instance| instance.command().is_some());
        let any = self.random.usize(0..resource.instances.len());
        let index = leader.filter(|_| self.random.u8(0..4) > 0).unwrap_or(any);
        let instance = &mut resource.instances[index];
        if instance.failing {
            return None;
        }
        let pid = match kind {
            KillElector | StopElector => Some(instance.pid()),
            KillGuard | StopGuard => instance.guard(),
            _ => instance.command(),
        };
        // A child of ours or of a live instance. Its pidfd is opened before its parent is checked again.
        let process = pidfd_open(Pid::from_raw(pid?)?, PidfdFlags::empty()).ok()?;
        if ![Some(instance.pid()), instance.guard(), instance.command()].contains(&pid) {
            return None;
        }
        let stops = matches!(kind, StopElector | StopGuard | StopCommand);
        pidfd_send_signal(&process, if stops { Signal::STOP } else { Signal::KILL }).ok()?;
        instance.failing = true;
        resource.disturb();
        let (resource, instance) = (number, index);
        let stopped = (kind == StopCommand).then(monotonic);
        let end = if stops {
            End::Continue { process, resource, instance, stopped }
        } else {
            End::Instance { resource, instance }
        };
        Some((kind, end))
    }

    fn harm(&mut self, kind: Kind, nodes: &mut Nodes, resources: &[Resource]) -> Option<(Kind, End)> {
        let cluster = &nodes.clusters[self.random.usize(0..nodes.clusters.len())];
        let index = self.random.usize(cluster.members.clone());
        let index = if kind == SetClock { nodes.with_clock()? } else { index };
        // A clock that is set may let a lock expire.
        let deletes = matches!(kind, FlushAll | DeleteKeys | SetClock);
        let cluster = nodes.around(index);
        if nodes.all[index].failing || cluster.iter().any(|node| Instant::now() < node.alone_until) {
            return None;
        }
        // A quorum is unreachable now and then, not most of the time. Data is deleted from a minority, with all locks
        // present on all other nodes: nobody could detect a deletion from a second one.
        let failing = cluster.iter().any(|node| node.failing);
        let others_healed = cluster.len() > 2 && cluster.iter().all(Node::is_healed);
        if (deletes && !others_healed) || (failing && self.random.u8(0..6) > 0) {
            return None;
        }
        let what = match kind {
            FlushAll => "all",
            DeleteKeys => "locks",
            _ => "nothing",
        };
        if deletes && !meddling::delete(index, what, nodes, resources) {
            return None;
        }
        let late = Duration::from_millis(self.random.u64(5..300));
        let place = self.random.usize(0..PLACES);
        // What is left of the node's uptime is still more than its startup grace: it is set back once in three seconds at most.
        let ahead = self.random.i64(-1000..3000);
        let node = &mut nodes.all[index];
        let end = match kind {
            KillNodeEmpty => {
                node.server.kill();
                let _ = fs::remove_file(node.server.folder().join("dump.rdb"));
                End::Start(index)
            }
            KillNodeWithData => {
                node.server.query::<()>(&["SAVE"]);
                node.server.kill();
                End::Start(index)
            }
            StopNode => {
                node.server.freeze();
                End::Thaw(index)
            }
            FlushAll | DeleteKeys => End::Settled(index),
            SetClock => {
                node.ahead += ahead;
                node.server.set_clock(node.ahead);
                End::Settled(index)
            }
            FullDisk => {
                // A save that can't put its file in place fails as on a full disk, and so do all later writes.
                let _ = fs::remove_file(node.server.folder().join("dump.rdb"));
                fs::create_dir_all(node.server.folder().join("dump.rdb/full")).expect("a folder in the way");
                node.server.query::<()>(&["CONFIG", "SET", "save", "3600 1"]);
                node.server.query::<()>(&["BGSAVE"]);
                eventually("a failed save", || {
                    let info: String = node.server.query(&["INFO", "persistence"]);
                    info.contains("rdb_last_bgsave_status:err").then_some(())
                });
                End::Disk(index)
            }
            OutOfMemory => {
                node.server.query::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
                End::Memory(index)
            }
            CutLink => {
                node.links[place].proxy.set(Mode::Hold);
                End::Pass(index)
            }
            LateLink => {
                node.links[place].proxy.set(Mode::Late(late));
                End::Pass(index)
            }
            kind => {
                node.set_links(match kind {
                    ResetConnections => Mode::Refuse,
                    BlackHole => Mode::Hold,
                    Delay => Mode::Late(late),
                    Garbage => Mode::Garbage,
                    HalfReplies => Mode::Half,
                    NoReplies => Mode::Silent,
                    _ => Mode::Dribble,
                });
                End::Pass(index)
            }
        };
        node.failing = true;
        if deletes {
            node.alone_until = Instant::now() + TTL * if kind == SetClock { 3 } else { 2 };
        }
        Some((kind, end))
    }

    /// Asks a leader to let another lead, from any place.
    fn ask_to_step_down(&mut self, resources: &mut [Resource]) -> Option<(Kind, End)> {
        let resource = &mut resources[self.random.usize(0..resources.len())];
        let urls = resource.urls_of(self.random.usize(0..PLACES));
        let mut command = Command::new(env!("CARGO_BIN_EXE_leaderrun"));
        command.args(["--step-down", "-t", "1s", "-R", urls, "-r", &resource.name]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        resource.disturb();
        Some((StepDown, End::Ask(command.spawn().expect("leaderrun"))))
    }

    fn forge(&mut self, nodes: &Nodes, resources: &[Resource]) -> Option<(Kind, End)> {
        let resource = self.random.usize(0..resources.len());
        let is_sent = meddling::forge(&resources[resource], nodes, &mut self.random);
        is_sent.then_some((ForgedMessage, End::Over { resource }))
    }

    fn change_list(&mut self, resources: &mut [Resource]) -> Option<(Kind, End)> {
        let resource = resources.iter_mut().position(Resource::change_list)?;
        Some((ChangeList, End::Over { resource }))
    }
}

impl End {
    fn come(self, nodes: &mut Nodes, resources: &mut [Resource]) {
        let (End::Pass(index)
        | End::Start(index)
        | End::Thaw(index)
        | End::Memory(index)
        | End::Disk(index)
        | End::Settled(index)) = self
        else {
            return self.come_to_process(resources);
        };
        let node = &mut nodes.all[index];
        match self {
            End::Start(_) => {
                node.server.start_again();
                node.young_until = Instant::now() + YOUNG;
            }
            End::Thaw(_) => node.server.thaw(),
            End::Memory(_) => node.server.query::<()>(&["CONFIG", "SET", "maxmemory", "0"]),
            End::Disk(_) => {
                node.server.query::<()>(&["CONFIG", "SET", "save", ""]);
                fs::remove_dir_all(node.server.folder().join("dump.rdb")).expect("the folder in the way");
            }
            _ => node.links.iter().for_each(Link::mend),
        }
        node.failing = false;
        node.mended = Instant::now();
    }

    /// Names what fails.
    fn of(&self) -> String {
        match self {
            End::Continue { resource, instance, .. } | End::Instance { resource, instance } => {
                format!("instance {resource}-{instance}")
            }
            End::Cpu(_) => "the host".into(),
            End::Over { resource } => format!("resource {resource}"),
            End::Ask(_) => "a leader".into(),
            End::Pass(node) | End::Start(node) | End::Thaw(node) | End::Memory(node) => format!("node {node}"),
            End::Disk(node) | End::Settled(node) => format!("node {node}"),
        }
    }

    fn come_to_process(self, resources: &mut [Resource]) {
        match self {
            End::Continue { process, resource, instance, stopped } => {
                let _ = pidfd_send_signal(&process, Signal::CONT);
                resources[resource].stopped.extend(stopped.map(|from| (from, monotonic())));
                resources[resource].instances[instance].failing = false;
                resources[resource].disturb();
            }
            End::Instance { resource, instance } => resources[resource].instances[instance].failing = false,
            End::Ask(mut asking) => {
                let _ = asking.kill();
                let _ = asking.wait();
            }
            End::Cpu(busy) => {
                for mut child in busy {
                    let _ = child.kill();
                    let _ = child.wait();
                }
            }
            _ => {}
        }
    }
}
