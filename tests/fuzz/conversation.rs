//! All that a server may send on its connections, in virtual time: an instance asks, and the next piece of the input is the
//! answer. So everything between the stream and the decision is run: the library, limits, sign-in, notifications.

use std::{
    cell::RefCell,
    collections::VecDeque,
    io,
    path::Path,
    rc::Rc,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures_util::future::BoxFuture;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    runtime::Builder,
    time::{Instant, timeout},
};

use super::is_one_line;
use crate::{
    cli::LogFormat,
    host::simulated::{Host, Stream, run_on},
    lease::{Quorums, Times},
    lock::{AcquireOutcome, ReleaseOptions},
    once_per::OncePer,
    redlock::{Address, Redlock, RedlockConfig, RedlockObserver, check},
    report::Report,
};

/// Ends a piece: no byte of UTF-8.
const END: u8 = 0xff;

/// What the servers have left to say, whichever is asked.
type Pieces = Arc<Mutex<VecDeque<Vec<u8>>>>;

struct Machine {
    pieces: Pieces,
    began: Instant,
    printed: RefCell<String>,
}

impl Host for Machine {
    fn since_boot(&self) -> Duration {
        Duration::from_secs(60) + self.began.elapsed()
    }

    fn wall_time(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_800_000_000) + self.began.elapsed()
    }

    fn random(&self) -> u128 {
        7
    }

    fn print(&self, text: &str) {
        self.printed.borrow_mut().push_str(text);
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        tokio::spawn(task);
    }

    fn connect(&self, _: &Path, _: Duration) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        let (ours, mut theirs) = duplex(1 << 16);
        let pieces = self.pieces.clone();
        tokio::spawn(async move {
            let mut request = [0; 1 << 14];
            while theirs.read(&mut request).await.is_ok_and(|length| length > 0) {
                let piece = pieces.lock().expect("no panic elsewhere").pop_front();
                let Some(piece) = piece else { return };
                if theirs.write_all(&piece).await.is_err() {
                    return;
                }
            }
        });
        Box::pin(async move { Ok(Box::new(ours) as Box<dyn Stream>) })
    }
}

/// Takes what to do in the first byte and what servers send in the rest.
pub fn conversation(data: &[u8]) {
    let Some((&task, said)) = data.split_first() else { return };
    fastrand::seed(1);
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    let pieces = said.split(|&byte| byte == END).map(<[u8]>::to_vec).collect();
    let began = runtime.block_on(async { Instant::now() });
    let machine = Rc::new(Machine { pieces: Arc::new(Mutex::new(pieces)), began, printed: RefCell::default() });
    run_on(machine.clone(), || {
        runtime.block_on(async {
            let _ = timeout(Duration::from_secs(60), ask(task)).await;
        });
        drop(runtime);
    });
    machine.printed.borrow().lines().for_each(is_one_line);
}

/// Runs one of three: the check, a look, and a leadership from campaign to release. Each node may be behind a Sentinel.
async fn ask(task: u8) {
    let (nodes, slots) = (1 + usize::from(task / 3) % 3, 1 + u16::from(task / 9) % 3);
    let url = |node| match task / 27 % 2 {
        0 => format!("unix:///simulated/{node}"),
        _ => format!("redis-sentinel://sentinel-{node}/node"),
    };
    let address = |node| Address::parse(&url(node)).expect("an address");
    let config = RedlockConfig {
        addresses: (0..nodes).map(address).collect(),
        quorums: Quorums::of(nodes),
        lock: "lock".into(),
        tls: None,
    };
    let times = Times::new(Duration::from_secs(2), None).expect("times that fit");
    match task % 3 {
        0 => {
            for health in check(&config, slots, times).await.expect("random numbers") {
                health.findings.iter().for_each(|finding| is_one_line(&finding.to_string()));
            }
        }
        1 => {
            let mut observer = RedlockObserver::open(&config, "lock", times, None);
            observer.listen();
            let seen = observer.look().await;
            is_one_line(&serde_json::to_string(&seen).expect("JSON"));
            let _ = timeout(4 * times.ttl(), observer.change(std::slice::from_ref(&seen))).await;
        }
        _ => lead(&config, slots, times).await,
    }
}

async fn lead(config: &RedlockConfig, slots: u16, times: Times) {
    let report = Report::new("lock", "fuzz", 2, false, LogFormat::Text);
    let once_per = OncePer { period: Duration::from_secs(60), attempts: Some(2), key: None };
    let mut lock = Redlock::open(config, slots, "fuzz", Some(&once_per), times, &report).expect("random numbers");
    for _ in 0..3 {
        match lock.acquire().await {
            AcquireOutcome::Acquired(_) => {
                lock.extend(None).await;
                break;
            }
            AcquireOutcome::NotAcquired(why) => {
                is_one_line(&why.reason.to_string());
                let _ = timeout(4 * times.ttl(), lock.wait_for_change(&why)).await;
            }
        }
    }
    let _ = lock.release(ReleaseOptions { succeeded: true, hold: Some(Duration::from_secs(9)), run: None }).await;
}
