//! What the ways to reach a node add to the start of a command: a name that a name server is asked for, TLS, Sentinels.

use std::{
    fs,
    net::UdpSocket,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use crate::{
    servers::{Servers, free_ports},
    table::{Table, median},
    uncontended::until_start,
};

const PAIRS: usize = 40;
const NODES: usize = 3;

/// An address of this machine that is nobody's name server.
const NAME_SERVER: &str = "127.0.0.77";

/// The name under which each Sentinel knows its server.
const MASTER: &str = "node";

pub fn measure(leaderrun: &Path, servers: &Servers, table: &mut Table) {
    let what = "start to the command's start";
    let starts = |urls: &str, resource: &str| {
        let mut command = Command::new(leaderrun);
        command.args(["-R", urls, "-r", resource, "--ttl", "15s", "--", "date", "+%s.%N"]);
        command
    };
    let plain = servers.urls(NODES);
    let mut row = |way: &str, one: &dyn Fn() -> Command, other: &dyn Fn() -> Command| {
        until_start(&mut other());
        let added = (0..PAIRS).map(|_| until_start(&mut other()) - until_start(&mut one()));
        let figure = format!("{:.2} ms more than by an address", median(added.collect()));
        table.row(what, &format!("leaderrun, {NODES} nodes, {way}"), figure);
    };
    let by_address = || starts(&plain, "ways");

    if let Some(tls) = servers.tls_urls(NODES) {
        let with_tls = || {
            let mut command = starts(&tls, "ways");
            command.env("LEADERRUN_TLS_CA", servers.certificate());
            command
        };
        row("TLS", &by_address, &with_tls);
    }
    let sentinels = sentinels(&servers.ports()[..NODES]);
    let urls: Vec<String> =
        sentinels.ports().iter().map(|port| format!("redis-sentinel://127.0.0.1:{port}/{MASTER}")).collect();
    row("each behind a Sentinel", &by_address, &|| starts(&urls.join(","), "ways"));

    // Needs port 53 and a mount namespace, so root.
    if let Ok(socket) = UdpSocket::bind((NAME_SERVER, 53)) {
        std::thread::spawn(move || answer(&socket));
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("resolv.conf");
        fs::write(&file, format!("nameserver {NAME_SERVER}\n")).expect("a file");
        let named = plain.replace("127.0.0.1", "node.test");
        // Both ways in a namespace, so that the difference is the name alone.
        row("by name", &|| with_names(&file, &by_address()), &|| with_names(&file, &starts(&named, "ways")));
    }
}

/// Starts a Sentinel for each of these servers, and returns once they know them.
fn sentinels(masters: &[u16]) -> Servers {
    let folder = tempfile::tempdir().expect("a folder");
    let ports = free_ports(masters.len());
    let conf = |(port, master): (&u16, &u16)| {
        let file = folder.path().join(port.to_string());
        let lines = format!("port {port}\nbind 127.0.0.1\nsentinel monitor {MASTER} 127.0.0.1 {master} 1\n");
        fs::write(&file, lines).expect("a file");
        vec![file.display().to_string(), "--sentinel".into()]
    };
    let commands = ports.iter().zip(masters).map(conf).collect();
    Servers::start("redis-server", commands, ports, folder, Duration::from_secs(2))
}

/// Returns the same command where the names of hosts are looked up as this file says.
fn with_names(resolv_conf: &Path, command: &Command) -> Command {
    let mut within = Command::new("unshare");
    within.args(["--mount", "sh", "-c", "mount --bind \"$0\" /etc/resolv.conf && exec \"$@\""]);
    within.arg(resolv_conf).arg(command.get_program()).args(command.get_args()).stdin(Stdio::null());
    within
}

/// Answers every question for an IPv4 address with 127.0.0.1, and others with nothing (RFC 1035, section 4).
fn answer(socket: &UdpSocket) {
    let mut question = [0; 512];
    while let Ok((length, from)) = socket.recv_from(&mut question) {
        let question = &question[..length];
        let has_address = question.ends_with(&[0, 1, 0, 1]);
        let mut answer =
            [&question[..2], &[0x81, 0x80, 0, 1, 0, has_address.into(), 0, 0, 0, 0], &question[12..]].concat();
        if has_address {
            answer.extend(b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\x7f\0\0\x01");
        }
        let _ = socket.send_to(&answer, from);
    }
}
