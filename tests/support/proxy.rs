//! A bad network before a server: connections that are reset at random.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

pub struct Proxy {
    pub url: String,
}

impl Proxy {
    /// Passes bytes on to this port; one chunk in so many is lost, and its connection with it. The random numbers have a
    /// seed. The threads end with the test.
    pub fn resetting(port: u16, one_in: u32, seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("redis://{}", listener.local_addr().expect("its address"));
        let random = Arc::new(Mutex::new(fastrand::Rng::with_seed(seed)));
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let copies = (from.try_clone(), to.try_clone());
                    let (Ok(from), Ok(to)) = copies else { continue };
                    let random = random.clone();
                    std::thread::spawn(move || pass(from, to, one_in, &random));
                }
            }
        });
        Proxy { url }
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, one_in: u32, random: &Mutex<fastrand::Rng>) {
    let mut bytes = [0; 16384];
    while let Ok(length @ 1..) = from.read(&mut bytes) {
        let lost = random.lock().expect("random numbers").u32(0..one_in) == 0;
        if lost || to.write_all(&bytes[..length]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
