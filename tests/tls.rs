//! TLS to the servers: a server is trusted if its authority is, and the message says why another isn't.

use std::{path::Path, process::Command, time::Duration};

use crate::support::{Leaderrun, NAME, Output, Sentinel, Server, eventually, free_port, unique};
use nix::{sys::stat::Mode, unistd::mkfifo};
use tempfile::TempDir;

/// In place of the machine's.
const CONFIGURATION: &str = "\
[req]
distinguished_name = name
x509_extensions = authority
[name]
[authority]
basicConstraints = critical, CA:TRUE
";

/// A certificate authority, and what it has signed: servers' certificates and a client's.
struct Authority(TempDir);

impl Authority {
    fn new() -> Self {
        let authority = Authority(tempfile::tempdir().expect("a folder"));
        std::fs::write(authority.path("configuration"), CONFIGURATION).expect("a file");
        authority.openssl(&[
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=an authority",
            "-keyout",
            "ca.key",
            "-out",
            "ca",
        ]);
        authority
    }

    fn openssl(&self, args: &[&str]) {
        let configuration = ("OPENSSL_CONF", self.path("configuration"));
        let made = Command::new("openssl").args(args).current_dir(self.0.path()).envs([configuration]).output();
        let made = made.expect("openssl (tests/run installs it)");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }

    /// Signs a certificate for this host name or address, valid for some days, or expired yesterday.
    fn sign(&self, name: &str, host: &str, expired: bool) {
        let kind = if host.parse::<std::net::IpAddr>().is_ok() { "IP" } else { "DNS" };
        let extensions = format!("subjectAltName={kind}:{host}\nbasicConstraints=CA:FALSE\n");
        std::fs::write(self.0.path().join("extensions"), extensions).expect("a file");
        let subject = format!("/CN={host}");
        let (key, request) = (format!("{name}.key"), format!("{name}.request"));
        self.openssl(&["req", "-newkey", "rsa:2048", "-nodes", "-subj", &subject, "-keyout", &key, "-out", &request]);
        let times: &[&str] = if expired {
            &["-not_before", "20200101000000Z", "-not_after", "20200102000000Z"]
        } else {
            &["-days", "2"]
        };
        let sign = [
            "x509",
            "-req",
            "-in",
            &request,
            "-CA",
            "ca",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-extfile",
            "extensions",
            "-out",
            name,
        ];
        if expired {
            // x509 takes no dates before OpenSSL 3.2; the authority's own command does.
            std::fs::write(self.0.path().join("index"), "").expect("a file");
            std::fs::write(self.0.path().join("serial"), "01").expect("a file");
            let config = "[ca]\ndefault_ca=d\n[d]\ndatabase=index\nserial=serial\nnew_certs_dir=.\ndefault_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n";
            std::fs::write(self.0.path().join("config"), config).expect("a file");
            self.openssl(&[
                "ca",
                "-batch",
                "-config",
                "config",
                "-cert",
                "ca",
                "-keyfile",
                "ca.key",
                "-in",
                &request,
                "-out",
                name,
                "-notext",
                "-extfile",
                "extensions",
                "-startdate",
                "20200101000000Z",
                "-enddate",
                "20200102000000Z",
            ]);
        } else {
            self.openssl(&[&sign[..], times].concat());
        }
    }

    fn path(&self, name: &str) -> String {
        path(&self.0.path().join(name))
    }

    /// Starts a server with this certificate, old enough to vote. Returns it and its port.
    fn serve(&self, name: &str, wants_ours: bool) -> (Server, u16) {
        let port = free_port();
        let (certificate, key, ca, number) =
            (self.path(name), self.path(&format!("{name}.key")), self.path("ca"), port.to_string());
        let clients = if wants_ours { "yes" } else { "no" };
        let server = Server::start_with(&[
            "--tls-port",
            &number,
            "--tls-cert-file",
            &certificate,
            "--tls-key-file",
            &key,
            "--tls-ca-cert-file",
            &ca,
            "--tls-auth-clients",
            clients,
        ]);
        server.settle(Duration::from_secs(1));
        (server, port)
    }
}

fn path(path: &Path) -> String {
    path.to_str().expect("a path in UTF-8").to_owned()
}

fn run(url: &str, options: &[&str]) -> Output {
    let resource = unique("tls");
    Leaderrun::new().args(["-n", "-t", "1s", "-R", url, "-r", &resource]).args(options).args(["echo", "led"]).output()
}

fn leads(url: &str, options: &[&str]) {
    let output = run(url, options);
    assert_eq!((output.code(), output.stdout.as_str(), output.stderr.as_str()), (0, "led\n", ""));
}

/// Checks that there is no vote, and that the message names the node and the reason.
fn is_refused(url: &str, options: &[&str], reason: &str) {
    let output = run(url, options);
    assert_eq!((output.code(), output.stdout.as_str()), (69, ""), "{}", output.stderr);
    assert!(output.stderr.contains(&format!("({url} {reason}")), "{}", output.stderr);
    assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
}

#[test]
fn a_server_is_trusted_if_its_authority_is() {
    let authority = Authority::new();
    authority.sign("server", "localhost", false);
    let (_server, port) = authority.serve("server", false);
    let url = format!("rediss://localhost:{port}");
    leads(&url, &["--tls-ca", &authority.path("ca")]);
    let resource = unique("tls");
    let output = Leaderrun::new()
        .args(["-n", "-t", "1s", "-R", &url, "-r", &resource, "echo", "led"])
        .env("SSL_CERT_FILE", authority.path("ca"))
        .output();
    assert_eq!(output.code(), 0, "{}", output.stderr);
    is_refused(&url, &[], "has a certificate of an unknown issuer (give that one's with --tls-ca)");
    is_refused(&url, &["--tls-ca", &Authority::new().path("ca")], "has a certificate of an unknown issuer");
    is_refused(
        &format!("rediss://127.0.0.1:{port}"),
        &["--tls-ca", &authority.path("ca")],
        "has a certificate for another name",
    );
}

#[test]
fn a_certificate_for_an_address_is_for_no_name() {
    let authority = Authority::new();
    authority.sign("server", "127.0.0.1", false);
    let (_server, port) = authority.serve("server", false);
    let options = ["--tls-ca", &authority.path("ca")];
    leads(&format!("rediss://127.0.0.1:{port}"), &options);
    for host in ["localhost", "[::1]"] {
        let output = run(&format!("rediss://{host}:{port}"), &options);
        assert_eq!((output.code(), output.stdout.as_str()), (69, ""), "{host}: {}", output.stderr);
    }
    is_refused(&format!("rediss://localhost:{port}"), &options, "has a certificate for another name");
}

#[test]
fn an_expired_certificate_is_not_trusted() {
    let authority = Authority::new();
    authority.sign("server", "localhost", true);
    let (_server, port) = authority.serve("server", false);
    is_refused(
        &format!("rediss://localhost:{port}"),
        &["--tls-ca", &authority.path("ca")],
        "has a certificate that has expired",
    );
}

#[test]
fn a_server_that_requires_our_certificate_gets_it() {
    let authority = Authority::new();
    authority.sign("server", "localhost", false);
    authority.sign("client", "client", false);
    let (_server, port) = authority.serve("server", true);
    let url = format!("rediss://localhost:{port}");
    let (ca, certificate, key) = (authority.path("ca"), authority.path("client"), authority.path("client.key"));
    leads(&url, &["--tls-ca", &ca, "--tls-cert", &certificate, "--tls-key", &key]);
    // The server may send its reason too late to be read, after it has closed the connection.
    let output = run(&url, &["--tls-ca", &ca]);
    assert_eq!((output.code(), output.stdout.as_str()), (69, ""), "{}", output.stderr);
    let told = |reason: &str| output.stderr.contains(&format!("({url} {reason}"));
    assert!(
        told("wants a certificate of ours (--tls-cert and --tls-key)")
            || told("closed the connection (it may want a certificate of ours: --tls-cert and --tls-key)"),
        "{}",
        output.stderr
    );
}

#[test]
fn tls_to_a_plain_port_and_plain_tcp_to_a_tls_port_are_reported() {
    let authority = Authority::new();
    authority.sign("server", "localhost", false);
    let (server, port) = authority.serve("server", false);
    let plain = server.url().replace("redis://", "rediss://");
    is_refused(&plain, &["--tls-ca", &authority.path("ca")], "doesn't speak TLS (redis:// is for servers without)");
    is_refused(&format!("redis://localhost:{port}"), &[], "closed the connection (one with TLS wants rediss://)");
}

#[test]
fn a_master_and_its_sentinel_both_with_tls() {
    let authority = Authority::new();
    authority.sign("server", "127.0.0.1", false);
    let (_server, master) = authority.serve("server", false);
    let port = free_port();
    let lines = [
        format!("tls-port {port}"),
        format!("tls-cert-file {:?}", authority.path("server")),
        format!("tls-key-file {:?}", authority.path("server.key")),
        format!("tls-ca-cert-file {:?}", authority.path("ca")),
        "tls-auth-clients no".to_owned(),
        "tls-replication yes".to_owned(),
    ];
    let _sentinel = Sentinel::start(master, &lines.each_ref().map(String::as_str));
    let url = format!("rediss-sentinel://127.0.0.1:{port}/{NAME}");
    let ca = authority.path("ca");
    let output =
        Leaderrun::new().args(["-w", "20s", "-t", "1s", "--tls-ca", &ca, "-R", &url, "-r", &unique("tls"), "true"]);
    let output = output.output();
    assert_eq!((output.code(), output.stderr.as_str()), (0, ""));
    let output = run(&url, &[]);
    assert_eq!(output.code(), 69, "{}", output.stderr);
    assert!(output.stderr.contains("has a certificate of an unknown issuer"), "{}", output.stderr);
}

/// Nobody writes to the FIFO: opening it would wait for ever.
#[test]
fn what_ssl_cert_file_names_is_read_only_if_it_is_a_regular_file() {
    let authority = Authority::new();
    let fifo = authority.path("fifo");
    mkfifo(fifo.as_str(), Mode::S_IRWXU).expect("a FIFO");
    for (file, why) in [(fifo.as_str(), "it isn't a regular file"), ("/dev/zero", "it isn't a regular file")] {
        let run = Leaderrun::new().args(["-n", "-R", "rediss://localhost:1", "-r", &unique("tls"), "true"]);
        let mut running = run.env("SSL_CERT_FILE", file).env("SSL_CERT_DIR", "").spawn();
        eventually("its end", || running.has_ended().then_some(()));
        let output = running.wait();
        assert_eq!(output.code(), 64, "{file}: {}", output.stderr);
        assert!(output.stderr.contains(&format!("SSL_CERT_FILE {file} can't be read: {why}")), "{}", output.stderr);
    }
}

#[test]
fn bad_files_give_one_clear_line_and_status_64() {
    let authority = Authority::new();
    authority.sign("server", "localhost", false);
    let (ca, key) = (authority.path("ca"), authority.path("server.key"));
    let missing = authority.path("missing");
    for (options, part) in [
        (&["--tls-ca", &missing][..], "--tls-ca "),
        (&["--tls-ca", &key], "has no certificate in it; give a PEM file"),
        (&["--tls-ca", &ca, "--tls-cert", &ca, "--tls-key", &missing], "--tls-key "),
        (&["--tls-ca", &ca, "--tls-cert", &ca, "--tls-key", &key], "don't fit"),
        (&["--tls-cert", &ca], "--tls-key"),
    ] {
        let output = run("rediss://localhost:1", options);
        assert_eq!(output.code(), 64, "{options:?}: {}", output.stderr);
        assert!(output.stderr.contains(part), "{options:?}: {}", output.stderr);
        assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
    }
    let output = run("redis://localhost:1", &["--tls-ca", &ca]);
    assert_eq!(output.code(), 64);
    assert!(output.stderr.contains("write rediss://"), "{}", output.stderr);
}
