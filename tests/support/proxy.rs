//! A bad network in front of a server, or a bad server: connections that are reset, delayed or answered with nonsense.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard, Weak},
    thread,
    time::Duration,
};

use super::free_port;

/// What happens to passing bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Pass,
    /// One chunk in this many is lost, together with its connection.
    Resetting(u32),
    /// Every connection is closed at once.
    Refuse,
    /// Nothing passes until the mode changes.
    Hold,
    /// Each chunk is delayed by this much.
    Late(Duration),
    /// Replies are random bytes.
    Garbage,
    /// Only the first half of each reply passes.
    Half,
    /// No reply passes.
    Silent,
    /// One byte of the replies passes each second.
    Dribble,
}

pub struct Proxy {
    pub url: String,
    state: Arc<State>,
}

struct State {
    mode: Mutex<Mode>,
    random: Mutex<fastrand::Rng>,
    open: Mutex<Vec<Weak<TcpStream>>>,
}

impl Proxy {
    /// Passes bytes on to this port, with random numbers from a seed. The threads end with the test.
    pub fn new(port: u16, seed: u64) -> Self {
        Self::at(&format!("127.0.0.1:{}", free_port()), port, seed)
    }

    /// Does the same at this address.
    pub fn at(address: &str, port: u16, seed: u64) -> Self {
        let listener = TcpListener::bind(address).expect("a free port");
        let url = format!("redis://{}", listener.local_addr().expect("its address"));
        let state = Arc::new(State {
            mode: Mutex::new(Mode::Pass),
            random: Mutex::new(fastrand::Rng::with_seed(seed)),
            open: Mutex::default(),
        });
        let shared = state.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                shared.serve(client, port);
            }
        });
        Proxy { url, state }
    }

    pub fn resetting(port: u16, one_in: u32, seed: u64) -> Self {
        let proxy = Self::new(port, seed);
        proxy.set(Mode::Resetting(one_in));
        proxy
    }

    /// Sets the mode from now on. Closes open connections to refuse them, and after a mode that breaks the order of
    /// replies.
    pub fn set(&self, mode: Mode) {
        let old = std::mem::replace(&mut *held(&self.state.mode), mode);
        let broken = matches!(old, Mode::Garbage | Mode::Half | Mode::Silent | Mode::Dribble);
        if broken || mode == Mode::Refuse {
            self.state.close_all();
        }
    }
}

impl State {
    fn serve(self: &Arc<Self>, client: TcpStream, port: u16) {
        if *held(&self.mode) == Mode::Refuse {
            return;
        }
        let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { return };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let (client, server) = (Arc::new(client), Arc::new(server));
        held(&self.open).retain(|connection| connection.strong_count() > 0);
        held(&self.open).extend([Arc::downgrade(&client), Arc::downgrade(&server)]);
        for (from, to, answers) in [(client.clone(), server.clone(), false), (server, client, true)] {
            let state = self.clone();
            thread::spawn(move || {
                state.pass(&from, &to, answers);
                let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
            });
        }
    }

    fn pass(&self, mut from: &TcpStream, mut to: &TcpStream, answers: bool) {
        let mut bytes = [0; 16384];
        while let Ok(length @ 1..) = from.read(&mut bytes) {
            let chunk = &mut bytes[..length];
            while *held(&self.mode) == Mode::Hold {
                thread::sleep(Duration::from_millis(5));
            }
            let mode = *held(&self.mode);
            let passed = match mode {
                Mode::Resetting(one_in) if held(&self.random).u32(0..one_in) == 0 => return,
                Mode::Late(by) => {
                    thread::sleep(by);
                    to.write_all(chunk)
                }
                Mode::Garbage if answers => {
                    held(&self.random).fill(chunk);
                    to.write_all(chunk)
                }
                Mode::Half if answers => to.write_all(&chunk[..length / 2]),
                Mode::Silent if answers => Ok(()),
                Mode::Dribble if answers => self.dribble(to, chunk),
                _ => to.write_all(chunk),
            };
            if passed.is_err() {
                return;
            }
        }
    }

    fn dribble(&self, mut to: &TcpStream, chunk: &[u8]) -> std::io::Result<()> {
        for byte in chunk {
            to.write_all(&[*byte])?;
            thread::sleep(Duration::from_secs(1));
        }
        Ok(())
    }

    fn close_all(&self) {
        for connection in held(&self.open).drain(..).filter_map(|connection| connection.upgrade()) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no thread of ours panics")
}
