//! TLS to the servers: a certificate that is trusted is, and one that is not isn't.

mod support;

use std::{path::Path, process::Command, time::Duration};

use support::{Leaderrun, Server, free_port, unique};

/// A certificate for localhost, signed by itself.
fn make_certificate(folder: &Path) {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"])
        .args(["-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-keyout", "key", "-out", "certificate"])
        .current_dir(folder)
        .output()
        .expect("openssl (tests/run installs it)");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

#[test]
fn a_server_is_reached_over_tls_if_its_certificate_is_trusted() {
    let folder = tempfile::tempdir().expect("a folder");
    make_certificate(folder.path());
    let path = |name: &str| folder.path().join(name).to_str().expect("a path in UTF-8").to_owned();
    let (certificate, key, port) = (path("certificate"), path("key"), free_port().to_string());
    let options = ["--tls-port", &port, "--tls-cert-file", &certificate, "--tls-key-file", &key];
    let server =
        Server::start_with(&[&options[..], &["--tls-ca-cert-file", &certificate, "--tls-auth-clients", "no"]].concat());
    server.settle(Duration::from_secs(1));
    let url = format!("rediss://localhost:{port}");
    let run = || Leaderrun::new().args(["-n", "-t", "1s", "-R", &url, "-r", &unique("tls"), "echo", "led"]);

    let output = run().env("SSL_CERT_FILE", &certificate).output();
    assert_eq!((output.code(), output.stdout.as_str(), output.stderr.as_str()), (0, "led\n", ""));

    let output = run().output();
    assert_eq!((output.code(), output.stdout.as_str()), (69, ""));
    assert!(output.stderr.contains("can't be reached: invalid peer certificate"), "{}", output.stderr);
}
