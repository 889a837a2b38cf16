//! The campaign's instances: several for each resource, each restarted as soon as it ends, and the checker of what
//! their commands write.

use std::{
    fs::{File, OpenOptions},
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use super::{CHANGED, COUNTED, INSTANCES, lists::Lists};
use crate::support::{Counters, LONG, Tree, children, example, monotonic, signal};

pub(crate) struct Resource {
    pub name: String,
    /// The nodes that hold its lease.
    pub cluster: usize,
    pub instances: Vec<Instance>,
    pub watch: Watch,
    /// When one of its processes was made to fail or to continue: nanoseconds of CLOCK_MONOTONIC.
    pub disturbed: Vec<u64>,
    /// The times in which the main process of a leader's command was stopped.
    pub stopped: Vec<(u64, u64)>,
    /// What its leaders add to, if they do.
    pub counters: Option<Counters>,
    /// Its lists of nodes, if they change.
    pub lists: Option<Lists>,
    witnesses: PathBuf,
    /// Its nodes as seen from each place; instances are in one after the other.
    urls: Vec<String>,
    random: fastrand::Rng,
}

pub(crate) struct Instance {
    pub child: Child,
    /// A fault is in progress.
    pub failing: bool,
    log: PathBuf,
}

impl Instance {
    pub(crate) fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    pub(crate) fn guard(&self) -> Option<i32> {
        children(self.pid()).first().copied()
    }

    /// Returns the main process of its command, if it leads.
    pub(crate) fn command(&self) -> Option<i32> {
        self.guard().and_then(|guard| children(guard).first().copied())
    }
}

impl Resource {
    pub(crate) fn start(number: usize, folder: &Path, cluster: usize, urls: Vec<String>, seed: u64) -> Self {
        let counters = COUNTED.contains(&number).then(Counters::new);
        let lists = (number == CHANGED).then(Lists::default);
        let name = format!("campaign-{}-{number}", std::process::id());
        let witnesses = folder.join(format!("witnesses-{number}"));
        let random = fastrand::Rng::with_seed(seed * 1000 + number as u64);
        let watch = Watch::on(&witnesses);
        let (instances, disturbed, stopped) = (Vec::new(), Vec::new(), Vec::new());
        let mut resource =
            Resource { name, cluster, instances, watch, disturbed, stopped, counters, lists, witnesses, urls, random };
        for instance in 0..INSTANCES {
            let log = folder.join(format!("instance-{number}-{instance}.log"));
            let child = resource.spawn(instance, &log);
            resource.instances.push(Instance { child, failing: false, log });
        }
        resource
    }

    /// Restarts instances that have ended.
    pub(crate) fn keep_up(&mut self) {
        for index in 0..self.instances.len() {
            if self.instances[index].child.try_wait().expect("our child").is_some() {
                let log = self.instances[index].log.clone();
                self.instances[index].child = self.spawn(index, &log);
            }
        }
    }

    /// Starts an instance whose command leaves a process behind. Both tick, and some ignore the request to stop. Another one
    /// adds to the resource's counters, whose stores compare fencing tokens.
    fn spawn(&mut self, instance: usize, log: &Path) -> Child {
        let random = &mut self.random;
        let lasts = if random.u8(0..4) == 0 { random.u32(3000..8000) } else { random.u32(50..1500) };
        let behind = ["", "setsid \"$0\" \"$1\" every 10 &", "setsid \"$0\" \"$1\" every 10 ignore &"];
        let behind = behind[random.usize(0..behind.len())];
        let ignore = if random.bool() { "ignore" } else { "" };
        let words = self.counters.as_ref().map(|counters| counters.command("accesses"));
        let adds = if words.is_some() { "\"$2\" \"$3\" \"$4\" \"$5\" \"$6\" &" } else { "" };
        let line = format!("{behind} {adds} exec \"$0\" \"$1\" every 10 for {lasts} exit {} {ignore}", random.u8(0..3));
        let urls = self.urls_of(instance).to_owned();
        let nodes = match &mut self.lists {
            Some(lists) => lists.options(instance, &urls),
            None => vec!["-R".to_owned(), urls],
        };
        let stderr = OpenOptions::new().append(true).create(true).open(log).expect("a log");
        Command::new(env!("CARGO_BIN_EXE_leaderrun"))
            .args(["-vv", "--log-format", "json", "-t", "1s", "-r", &self.name])
            .args(nodes)
            .args(["--", "sh", "-c", &line])
            .arg(example("witness"))
            .arg(&self.witnesses)
            .args(words.into_iter().flatten())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .expect("leaderrun")
    }

    /// Returns the nodes as an instance sees them.
    pub(crate) fn urls_of(&self, instance: usize) -> &str {
        &self.urls[instance % self.urls.len()]
    }

    /// Goes on with the change of its lists of nodes. Returns whether it has one.
    pub(crate) fn change_list(&mut self) -> bool {
        let Some(lists) = &mut self.lists else { return false };
        if let Some(instance) = lists.go_on() {
            signal(self.instances[instance].pid(), Signal::SIGTERM);
        }
        true
    }

    pub(crate) fn disturb(&mut self) {
        self.disturbed.push(monotonic());
    }

    /// Ends all instances. Returns how many of their processes, including those of their commands, were left; these are
    /// then killed.
    pub(crate) fn end(&mut self) -> usize {
        for instance in &mut self.instances {
            if instance.child.try_wait().expect("our child").is_none() {
                signal(instance.pid(), Signal::SIGTERM);
            }
        }
        let began = Instant::now();
        while self.instances.iter_mut().any(|i| i.child.try_wait().expect("our child").is_none()) {
            assert!(began.elapsed() < LONG, "an instance still runs");
            std::thread::sleep(Duration::from_millis(5));
        }
        self.watch.look();
        let mut left = Tree::of(&self.name).alive();
        left.extend(started_with(&self.name));
        left.iter().for_each(|&pid| signal(pid, Signal::SIGKILL));
        left.len()
    }
}

/// Returns the processes that have this among their arguments.
fn started_with(argument: &str) -> Vec<i32> {
    let processes = std::fs::read_dir("/proc").expect("/proc").flatten();
    let has_it = |pid: &i32| {
        let all = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        all.split(|&b| b == 0).any(|one| one == argument.as_bytes())
    };
    processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(has_it).collect()
}

impl Drop for Instance {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Everything that one leader's command and its descendants wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Leadership {
    pub token: u64,
    pub start: u64,
    pub last: u64,
}

/// Reads what the commands of a resource write, as it arrives.
pub(crate) struct Watch {
    lines: BufReader<File>,
    unfinished: String,
    /// All leaderships in the order of their starts.
    pub all: Vec<Leadership>,
    pub overlaps: Vec<(Leadership, Leadership)>,
    pub tokens_out_of_order: usize,
}

impl Watch {
    fn on(path: &Path) -> Self {
        File::create(path).expect("a log");
        let lines = BufReader::new(File::open(path).expect("a log"));
        Watch { lines, unfinished: String::new(), all: Vec::new(), overlaps: Vec::new(), tokens_out_of_order: 0 }
    }

    /// Reads what is new; returns what is wrong with it.
    pub(crate) fn look(&mut self) -> Option<String> {
        let found = self.overlaps.len() + self.tokens_out_of_order;
        while self.lines.read_line(&mut self.unfinished).is_ok_and(|n| n > 0) && self.unfinished.ends_with('\n') {
            let line = std::mem::take(&mut self.unfinished);
            let mut fields = line.split_ascii_whitespace();
            let (Some(time), Some(token)) = (fields.next(), fields.nth(2)) else {
                panic!("not a witness's line: {line:?}")
            };
            self.take(time.parse().expect("a time"), token.parse().expect("a token"));
        }
        (self.overlaps.len() + self.tokens_out_of_order > found).then(|| format!("wrong: {:?}", self.overlaps.last()))
    }

    fn take(&mut self, time: u64, token: u64) {
        let Some(index) = self.all.iter().rposition(|l| l.token == token) else {
            if let Some(&before) = self.all.last() {
                self.tokens_out_of_order += usize::from(token < before.token);
            }
            self.all.push(Leadership { token, start: time, last: time });
            return;
        };
        let this = &mut self.all[index];
        (this.start, this.last) = (this.start.min(time), this.last.max(time));
        let this = *this;
        let overlaps = |other: &&Leadership| this.start <= other.last && other.start <= this.last;
        let near = &self.all[index.saturating_sub(1)..(index + 2).min(self.all.len())];
        for other in near.iter().filter(|other| other.token != token).filter(overlaps) {
            let known = self
                .overlaps
                .iter()
                .any(|(a, b)| [a.token, b.token].contains(&token) && [a.token, b.token].contains(&other.token));
            if !known {
                self.overlaps.push((this, *other));
            }
        }
    }
}
