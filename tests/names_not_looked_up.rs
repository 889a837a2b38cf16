//! A name that couldn't be looked up is not said to be missing: the error names what was in the way.

use std::{fs, net::TcpListener, path::Path};

use crate::support::{Apart, Leaderrun, NameServer, Says, Server, free_port, is_found, is_not_resolved};

/// Puts something in the place of a file of /etc that can't be read as one.
fn make_unreadable(file: &Path, how: &str) {
    let made = match how {
        "folder" => fs::create_dir(file),
        "FIFO" => nix::unistd::mkfifo(file, nix::sys::stat::Mode::S_IRWXU).map_err(Into::into),
        "link to itself" => std::os::unix::fs::symlink(file, file),
        _ => fs::File::create(file).and_then(|file| file.set_len(17 << 20)),
    };
    made.expect(how);
}

/// Returns why a name isn't resolved.
fn why_not_resolved(run: Leaderrun, urls: &str) -> String {
    let output = run.args(["-n", "-t", "1s", "-r", "names", "-R", urls, "true"]).output();
    assert!([69, 125].contains(&output.code()), "{output:?}");
    output.stderr
}

#[test]
fn a_file_that_cannot_be_read_is_named_and_does_not_count_as_empty() {
    let Some(apart) = Apart::enter(a_file_that_cannot_be_read_is_named_and_does_not_count_as_empty) else { return };
    let server = Server::start();
    // Without resolv.conf, this machine's name server is asked, which doesn't know as much as the file may.
    let _names = NameServer::at("127.0.0.1");
    for file in ["hosts", "resolv.conf"] {
        let path = Path::new("/etc").join(file);
        for (how, why) in [
            ("folder", "it isn't a regular file"),
            ("FIFO", "it isn't a regular file"),
            ("link to itself", "Too many symbolic links encountered"),
            ("large file", "it is too large"),
        ] {
            make_unreadable(&path, how);
            let said = why_not_resolved(Leaderrun::new(), "redis://node.test");
            assert!(said.contains(&format!("can't be resolved: /etc/{file} can't be read: {why}")), "{how}: {said}");
            is_found("localhost", server.port);
            if how == "folder" { fs::remove_dir(&path) } else { fs::remove_file(&path) }.expect(how);
        }
        // Neither is there any file below a file.
        apart.etc("file", "");
        std::os::unix::fs::symlink("/etc/file/none", &path).expect("a link");
        is_not_resolved("node.test");
        fs::remove_file(&path).expect("the link");
    }
}

/// Runs a program with few descriptors.
fn with_descriptors(files: u32) -> Leaderrun {
    Leaderrun::new().through(vec![
        "prlimit".into(),
        format!("--nofile={files}:{files}").into(),
        env!("CARGO_BIN_EXE_leaderrun").into(),
    ])
}

/// Checks that a name that exists is never said to be missing, however few descriptors there are, and that with some
/// number this is the reason.
fn is_never_missing(urls: &str, reason: &str) {
    let mut said = Vec::new();
    for files in 8..28 {
        let all = why_not_resolved(with_descriptors(files), urls);
        assert!(!all.contains("no such host name"), "{files}: {all}");
        said.push(all);
    }
    assert!(said.iter().any(|said| said.contains(reason)), "{said:#?}");
}

#[test]
fn without_free_descriptors_a_name_in_the_hosts_file_is_not_missing() {
    let Some(apart) = Apart::enter(without_free_descriptors_a_name_in_the_hosts_file_is_not_missing) else { return };
    // One that knows none of the names.
    let _names = NameServer::at("127.0.0.1");
    let hosts: Vec<String> = (0..21).map(|n| format!("redis-{n}.test")).collect();
    apart.etc("hosts", &format!("127.0.0.1 {}\n", hosts.join(" ")));
    // Each connection keeps a descriptor, since nobody answers there.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("its address").port();
    let urls: Vec<String> = hosts.iter().map(|host| format!("redis://{host}:{port}")).collect();
    is_never_missing(&urls.join(","), "can't be resolved: /etc/hosts can't be read: Too many open files");
}

#[test]
fn without_free_descriptors_a_name_that_one_name_server_knows_is_not_missing() {
    let Some(apart) = Apart::enter(without_free_descriptors_a_name_that_one_name_server_knows_is_not_missing) else {
        return;
    };
    let names = [53, 54, 55].map(|n| NameServer::at(&format!("127.0.0.{n}")));
    apart.etc("resolv.conf", &names.iter().map(NameServer::line).collect::<String>());
    names[0].set_all(Some(Says::Nothing));
    names[1].set_all(Some(Says::NoSuchName));
    names[2].set_all(Some(Says::addresses("127.0.0.1")));
    let url = format!("redis://redis.test:{}", free_port());
    is_never_missing(&url, "can't be resolved: a name server can't be asked: Too many open files");
}
