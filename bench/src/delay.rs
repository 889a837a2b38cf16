//! A handover over a network with a round trip of 20 ms: proxies delay every byte by 10 ms each way.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    path::Path,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use crate::{servers::Servers, table::Table, tools::Tool};

const ONE_WAY: Duration = Duration::from_millis(10);

/// Starts a proxy for a port and returns its URL.
fn proxy(port: u16) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("redis://{}", listener.local_addr().expect("its address"));
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let server = TcpStream::connect(("127.0.0.1", port)).expect("the server");
            let clone = |stream: &TcpStream| stream.try_clone().expect("a descriptor");
            pass(clone(&client), clone(&server));
            pass(server, client);
        }
    });
    url
}

fn pass(mut from: TcpStream, mut to: TcpStream) {
    to.set_nodelay(true).expect("an option");
    let (sender, receiver) = mpsc::channel::<(Instant, Vec<u8>)>();
    thread::spawn(move || {
        let mut bytes = [0; 16384];
        while let Ok(length @ 1..) = from.read(&mut bytes) {
            let _ = sender.send((Instant::now() + ONE_WAY, bytes[..length].to_vec()));
        }
    });
    thread::spawn(move || {
        for (due, bytes) in receiver {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&bytes).is_err() {
                return;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    });
}

pub fn measure(program: &Path, servers: &Servers, table: &mut Table) {
    let urls = servers.ports().iter().map(|&port| proxy(port)).collect::<Vec<_>>().join(",");
    let tool = Tool::Leaderrun { program: program.to_owned(), urls, ttl: "15s" };
    for standbys in [1, 10] {
        let mut crowd = crate::crowd::Crowd::new(&tool, &format!("delay{standbys}"), 300);
        crowd.join(standbys + 1);
        thread::sleep(Duration::from_millis(900));
        let first = crowd.runs().len();
        let runs = crowd.wait_for(first + 12, true);
        let what = format!("handover over a network of 20 ms, {standbys} standbys");
        table.row(&what, &tool.name(), crate::table::spread(crate::events::gaps(&runs[first..])));
    }
}
