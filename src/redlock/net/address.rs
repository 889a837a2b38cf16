//! Where a node is and how to sign in there, from a URL that may hold a password.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};
use url::{ParseError, Url};

use super::{files, resolver::is_localhost};
use crate::server_url::{Scheme, behind_sentinels, ends_early, sign_in, with_scheme, without_secrets};

/// A node's address. It prints without user name and password.
#[derive(Clone)]
pub(crate) struct Address {
    /// Behind Sentinels, without the server: they name it.
    info: ConnectionInfo,
    /// Without user, password and database.
    server: String,
    group: Option<Arc<Group>>,
    source: Option<Arc<Source>>,
    /// What to sign in with where the URL has no password.
    password: Option<Arc<str>>,
}

/// The file that an address comes from.
struct Source {
    file: PathBuf,
    /// What it said when it last named the server.
    said: Mutex<ConnectionInfo>,
}

/// A group of servers, of which Sentinels name the master.
#[derive(Debug)]
pub(crate) struct Group {
    pub name: String,
    pub sentinels: Vec<Address>,
}

/// What is wrong with a user or password that ends too early.
const SPECIAL_CHARACTER: &str =
    "in a user name or password, special characters are written as %XX: / is %2F, # is %23, ? is %3F, @ is %40";

/// The port of a Sentinel, unless its URL gives another.
const SENTINEL_PORT: u16 = 26379;

impl Address {
    /// Reads a URL.
    ///
    /// # Errors
    /// What is wrong with the URL, in words that repeat no part of it: a mistyped URL may show a password anywhere.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let url = &*with_scheme(text);
        if let Some((scheme, rest)) = behind_sentinels(url) {
            return Self::parse_group(scheme, rest);
        }
        if url.parse::<Ipv6Addr>().is_ok() {
            return Err("an IPv6 address stands in brackets, as in [::1]:6379".into());
        }
        if Scheme::of(url).is_none() {
            return Err(
                "it doesn't begin with redis://, rediss://, redis-sentinel:// or unix://, and isn't HOST[:PORT]".into(),
            );
        }
        let info = connection_info(url)?;
        // The library would send its name and version to each server, which costs a round trip and helps nobody.
        let redis = info.redis_settings().clone().set_skip_set_lib_name();
        Ok(Address {
            server: server(info.addr()),
            info: info.set_redis_settings(redis),
            group: None,
            source: None,
            password: None,
        })
    }

    /// Reads `[USER:PASSWORD@]HOST[:PORT],.../NAME[/DB][?sentinel-user=USER&sentinel-pass=PASSWORD]`.
    fn parse_group(scheme: Scheme, rest: &str) -> Result<Self, String> {
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (name, db) = path.split_once('/').unwrap_or((path, ""));
        if path.contains('@') || (name.is_empty() && query.contains('@')) {
            return Err(SPECIAL_CHARACTER.into());
        }
        if path.contains(',') {
            return Err("a server after one with Sentinels needs a scheme, such as redis://".into());
        }
        if name.is_empty() {
            return Err("the master's name is missing: redis-sentinel://HOST:PORT,HOST:PORT/NAME".into());
        }
        let (master_sign_in, hosts) = sign_in(authority);
        let sentinels = Self::parse_sentinels(scheme, hosts, &sentinel_sign_in(query)?)?;
        // The host stands in for the master, which the Sentinels name.
        let master = Self::parse(&scheme.url(format_args!("{master_sign_in}@localhost/{db}")))?;
        let hosts: Vec<_> = sentinels.iter().filter_map(|s| s.server.split_once("://").map(|(_, host)| host)).collect();
        let server = scheme.url_behind_sentinels(format_args!("{}/{name}", hosts.join(",")));
        Ok(Address { server, group: Some(Arc::new(Group { name: name.to_owned(), sentinels })), ..master })
    }

    fn parse_sentinels(scheme: Scheme, hosts: &str, sign_in: &str) -> Result<Vec<Self>, String> {
        let mut sentinels: Vec<Address> = Vec::new();
        for host in hosts.split(',') {
            let has_port = host.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
            let port = if has_port { String::new() } else { format!(":{SENTINEL_PORT}") };
            let sentinel = Self::parse(&scheme.url(format_args!("{sign_in}@{host}{port}")))?;
            if sentinels.iter().any(|other| other.server == sentinel.server) {
                return Err(format!("the Sentinel {sentinel} stands there twice"));
            }
            sentinels.push(sentinel);
        }
        Ok(sentinels)
    }

    /// Returns the same address as one from a file, which is read again for each connection.
    pub(crate) fn in_file(self, file: &Path) -> Self {
        let group = self.group.as_ref().map(|group| {
            let sentinels = group.sentinels.iter().map(|sentinel| sentinel.clone().in_file(file)).collect();
            Arc::new(Group { name: group.name.clone(), sentinels })
        });
        let source = Source { file: file.to_owned(), said: Mutex::new(self.info.clone()) };
        Address { source: Some(Arc::new(source)), group, ..self }
    }

    /// Returns the same address with a password for a URL that has none. It isn't for Sentinels, which seldom want one.
    pub(crate) fn or_password(self, password: &str) -> Self {
        let password: Arc<str> = password.into();
        Address { info: with_password(self.info, &password), password: Some(password), ..self }
    }

    /// Returns the Sentinels that name the server, if it is behind some.
    pub(crate) fn group(&self) -> Option<&Group> {
        self.group.as_deref()
    }

    /// Returns how to connect to the server and sign in now. A file that can't be read, or doesn't name the server,
    /// changes nothing: whoever writes it may be half done.
    pub(crate) async fn info(&self) -> ConnectionInfo {
        let Some(source) = &self.source else { return self.info.clone() };
        let text = files::read(&source.file, |bytes| String::from_utf8(bytes).ok()).await.ok().flatten();
        let text = text.unwrap_or_default();
        let mut named = urls(&text).filter_map(|url| Self::parse(url).ok()).flat_map(Self::with_sentinels);
        let found = named.find(|address| address.server == self.server);
        let mut said = source.said.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = found {
            // The database is a part of the list, which stays: in another one is another lock.
            let sign_in = found.info.redis_settings().clone().set_db(self.database());
            let found = found.info.set_redis_settings(sign_in);
            *said = match &self.password {
                Some(password) => with_password(found, password),
                None => found,
            };
        }
        said.clone()
    }

    fn with_sentinels(self) -> Vec<Self> {
        let sentinels = self.group.as_ref().map_or_else(Vec::new, |group| group.sentinels.clone());
        sentinels.into_iter().chain([self]).collect()
    }

    /// Returns whether the URL has a password, for the server or one of its Sentinels.
    pub(crate) fn has_password(&self) -> bool {
        has_password_in_url(self) || self.group().is_some_and(|group| group.sentinels.iter().any(has_password_in_url))
    }

    /// Returns whether a password is sent to the server, or to one of its Sentinels, over a network without TLS.
    pub(crate) fn exposes_password(&self) -> bool {
        let exposes = |address: &Self| {
            let goes_out = match address.info.addr() {
                ConnectionAddr::Tcp(host, _) => !is_this_machine(host),
                _ => false,
            };
            goes_out && has_own_password(address)
        };
        match self.group() {
            None => exposes(self),
            // Its Sentinels may name any host.
            Some(group) => group.sentinels.iter().any(exposes) || (!self.has_tls() && has_own_password(self)),
        }
    }

    pub(crate) fn has_tls(&self) -> bool {
        matches!(self.info.addr(), ConnectionAddr::TcpTls { .. })
    }

    /// Returns the number of the database.
    pub(crate) fn database(&self) -> i64 {
        self.info.redis_settings().db()
    }

    /// Returns the server without user and database. No two nodes may share it.
    pub(crate) fn server(&self) -> &str {
        &self.server
    }
}

/// Returns the URLs in a file, which has one per line; skips comments and empty lines.
pub(crate) fn urls(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// Returns how to sign in with a password, unless there is one.
fn with_password(info: ConnectionInfo, password: &str) -> ConnectionInfo {
    if sends_password(&info) {
        return info;
    }
    let settings = info.redis_settings().clone().set_password(password);
    with_user(info.set_redis_settings(settings))
}

/// Names the default user where there is a password alone. A server without passwords then takes any, with HELLO and with AUTH
/// alike; servers before Redis 6 get the password alone.
fn with_user(info: ConnectionInfo) -> ConnectionInfo {
    if !sends_password(&info) || info.redis_settings().username().is_some() {
        return info;
    }
    let settings = info.redis_settings().clone().set_username("default");
    info.set_redis_settings(settings)
}

/// Reads the URL of one server.
fn connection_info(url: &str) -> Result<ConnectionInfo, String> {
    let info = any_connection_info(url)?;
    // The library's parser understands more spellings than the one that hides passwords: `unix:/path?p%61ss=`.
    let is_hidden = || any_connection_info(&without_secrets(url)).is_ok_and(|hidden| !sends_password(&hidden));
    if sends_password(&info) && !is_hidden() {
        return Err(
            "ps would show its password: write it as in redis://:PASSWORD@HOST or unix:///PATH?pass=PASSWORD".into()
        );
    }
    Ok(with_user(info))
}

fn any_connection_info(url: &str) -> Result<ConnectionInfo, String> {
    if Scheme::of(url) != Some(Scheme::Unix) && url.split_once("://").is_some_and(|(_, rest)| ends_early(rest)) {
        return Err(SPECIAL_CHARACTER.into());
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
    check_query(&parsed)?;
    // The library's texts name the wrong part before a dash, without repeating it.
    let problem = |e: redis::RedisError| e.to_string().split(" - ").next().unwrap_or_default().to_lowercase();
    let info = parsed.into_connection_info().map_err(problem)?;
    if matches!(info.addr(), ConnectionAddr::TcpTls { insecure: true, .. }) {
        return Err("certificates are always verified: leave out #insecure, and give your CA with --tls-ca FILE".into());
    }
    if info.redis_settings().db() < 0 {
        return Err("the database is not a number from 0".into());
    }
    Ok(info)
}

/// Checks that a URL has no option that is ignored: it may be a mistyped password, which would stay in sight.
fn check_query(url: &Url) -> Result<(), String> {
    let known: &[&str] = if Scheme::of(url.as_str()) == Some(Scheme::Unix) { &["db", "user", "pass"] } else { &[] };
    match url.query_pairs().all(|(key, _)| known.contains(&key.as_ref())) {
        true => Ok(()),
        false if known.is_empty() => Err("nothing may stand after ?; user and password go before the host".into()),
        false => Err("after ? may stand db=, user= and pass= only".into()),
    }
}

/// Returns `USER:PASSWORD` for the Sentinels, from a URL's query.
fn sentinel_sign_in(query: &str) -> Result<String, String> {
    let (mut user, mut password) = ("", "");
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("sentinel-user", given)) => user = given,
            Some(("sentinel-pass", given)) => password = given,
            _ => return Err("after ? may stand sentinel-user= and sentinel-pass= only".into()),
        }
    }
    // In a query a colon needs no %3A; before a password it would begin one.
    Ok(format!("{}:{password}", user.replace(':', "%3A")))
}

fn server(addr: &ConnectionAddr) -> String {
    match addr {
        ConnectionAddr::Tcp(host, port) => Scheme::Redis.url(format_args!("{}:{port}", bracketed(host))),
        ConnectionAddr::TcpTls { host, port, .. } => Scheme::Rediss.url(format_args!("{}:{port}", bracketed(host))),
        ConnectionAddr::Unix(path) => Scheme::Unix.url(path.display()),
        _ => Scheme::Redis.url("?"),
    }
}

/// A password from elsewhere counts as none.
fn has_password_in_url(address: &Address) -> bool {
    sends_password(&address.info) && address.info.redis_settings().password() != address.password.as_deref()
}

fn has_own_password(address: &Address) -> bool {
    sends_password(&address.info)
}

/// `pass=` is none.
fn sends_password(info: &ConnectionInfo) -> bool {
    info.redis_settings().password().is_some_and(|password| !password.is_empty())
}

fn is_this_machine(host: &str) -> bool {
    is_localhost(host) || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.server)?;
        match (self.database(), self.info.addr()) {
            (0, _) | (_, ConnectionAddr::Unix(_)) => Ok(()),
            (db, _) => write!(f, "/{db}"),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests;
