//! Where a node is and how to sign in, from a URL that may hold a password.

use std::{fmt, path::Path, sync::Arc};

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};
use url::{ParseError, Url};

/// A node's address. It prints without user name and password.
#[derive(Clone)]
pub struct Address {
    info: ConnectionInfo,
    label: String,
    /// The file that it comes from.
    file: Option<Arc<Path>>,
}

impl Address {
    /// # Errors
    /// What is wrong with the URL, in words that don't repeat any part of it: a mistyped URL may show a password anywhere.
    pub fn parse(url: &str) -> Result<Self, String> {
        if !["redis:", "rediss:", "unix:"].iter().any(|scheme| url.starts_with(scheme)) {
            return Err("it doesn't begin with redis://, rediss:// or unix://".into());
        }
        let parsed = Url::parse(url).map_err(|e| match e {
            ParseError::EmptyHost => "there is no host name".to_owned(),
            ParseError::InvalidPort => "the port is not a number from 1 to 65535, or a special character in the \
                                        password is not written as %XX"
                .to_owned(),
            e => e.to_string(),
        })?;
        if parsed.port() == Some(0) {
            return Err("the port is not a number from 1 to 65535".into());
        }
        // The library's texts name the part that is wrong and never repeat it.
        let told = |e: redis::RedisError| e.to_string().split(" - ").next().unwrap_or_default().to_lowercase();
        let info = parsed.into_connection_info().map_err(told)?;
        if matches!(info.addr(), ConnectionAddr::TcpTls { insecure: true, .. }) {
            return Err(
                "certificates are always verified: leave out #insecure, and give your CA with --tls-ca FILE".into()
            );
        }
        if info.redis_settings().db() < 0 {
            return Err("the database is not a number from 0".into());
        }
        let label = label(info.addr(), info.redis_settings().db());
        // The library's name and version, which it would tell each server, cost a round trip and help nobody.
        let redis = info.redis_settings().clone().set_skip_set_lib_name();
        Ok(Address { info: info.set_redis_settings(redis), label, file: None })
    }

    /// The same, as it stands in a file, which is read again for each connection.
    pub fn in_file(self, file: &Path) -> Self {
        Address { file: Some(file.into()), ..self }
    }

    /// How to connect to the server and sign in now. A file that can't be read, or doesn't name the server, changes nothing: its
    /// writer may be half done.
    pub async fn info(&self) -> ConnectionInfo {
        let Some(file) = self.file.clone() else { return self.info.clone() };
        let text = tokio::task::spawn_blocking(move || std::fs::read_to_string(file)).await;
        let text = text.ok().and_then(Result::ok).unwrap_or_default();
        let fresh =
            urls(&text).filter_map(|url| Self::parse(url).ok()).find(|address| address.server() == self.server());
        fresh.map_or_else(|| self.info.clone(), |address| address.info)
    }

    pub fn has_password(&self) -> bool {
        self.info.redis_settings().password().is_some()
    }

    pub fn has_tls(&self) -> bool {
        matches!(self.info.addr(), ConnectionAddr::TcpTls { .. })
    }

    /// The server, whatever the user and database: two nodes may not share it.
    pub fn server(&self) -> String {
        label(self.info.addr(), 0)
    }
}

/// The URLs in a file: one a line, without comments and empty lines.
pub fn urls(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

fn label(addr: &ConnectionAddr, db: i64) -> String {
    let db = if db == 0 { String::new() } else { format!("/{db}") };
    match addr {
        ConnectionAddr::Tcp(host, port) => format!("redis://{}:{port}{db}", bracketed(host)),
        ConnectionAddr::TcpTls { host, port, .. } => format!("rediss://{}:{port}{db}", bracketed(host)),
        ConnectionAddr::Unix(path) => format!("unix://{}", path.display()),
        _ => "redis://?".into(),
    }
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.label)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_prints_without_its_secrets() {
        let address = Address::parse("redis://user:s%40cret@host:6379/2").expect("a good URL");
        assert_eq!(address.to_string(), "redis://host:6379/2");
        assert_eq!(format!("{address:?}"), "redis://host:6379/2");
        assert_eq!(address.info.redis_settings().password(), Some("s@cret"));
    }

    #[test]
    fn what_is_wrong_is_named_without_the_url() {
        for (url, part) in [
            ("secret", "begin with"),
            ("http://secret@h", "begin with"),
            ("redis://u:secret@h:99999", "port"),
            ("redis://u:secret@h:6379/secret", "atabase"),
            ("redis://u:secret@h:6379/-1", "atabase"),
            ("redis://u:secret/x@h", "%XX"),
            ("redis://", "missing hostname"),
            ("rediss://u:secret@h#insecure", "--tls-ca"),
        ] {
            let said = Address::parse(url).expect_err(url);
            assert!(said.contains(part), "{url}: {said}");
            assert!(!said.contains("secret"), "{url}: {said}");
        }
    }
}
