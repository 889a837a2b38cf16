//! Where a node is and how to sign in there, from a URL that may hold a password.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    path::Path,
    sync::Arc,
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
    /// The file that the address comes from.
    file: Option<Arc<Path>>,
    /// What to sign in with where the URL has no password.
    password: Option<Arc<str>>,
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
            file: None,
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
        Address { file: Some(file.into()), group, ..self }
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
        let Some(file) = self.file.clone() else { return self.info.clone() };
        let text = files::read(&file, |bytes| String::from_utf8(bytes).ok()).await.ok().flatten().unwrap_or_default();
        let named = urls(&text).filter_map(|url| Self::parse(url).ok()).flat_map(Self::with_sentinels);
        let Some(found) = named.into_iter().find(|address| address.server == self.server) else {
            return self.info.clone();
        };
        match &self.password {
            Some(password) => with_password(found.info, password),
            None => found.info,
        }
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
    match info.redis_settings().password() {
        Some(_) => info,
        None => {
            let settings = info.redis_settings().clone().set_password(password);
            info.set_redis_settings(settings)
        }
    }
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
    Ok(info)
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
    Ok(format!("{user}:{password}"))
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
    let own = address.info.redis_settings().password();
    own.is_some() && own != address.password.as_deref()
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
mod tests {
    use proptest::{prelude::*, sample::select};

    use super::*;
    use crate::server_url::{secrets, split};

    /// Parts of URLs in other places and spellings, and one password.
    const PARTS: [&str; 30] = [
        "redis",
        "rediss",
        "unix",
        "-sentinel",
        ":",
        "/",
        "//",
        "://",
        "?",
        "&",
        "#",
        "@",
        ",",
        "pass=",
        "p%61ss=",
        "pa\tss=",
        "sentinel-pass=",
        "user=",
        "db=1",
        "host",
        "h,i",
        "/m",
        "a:b",
        "\t",
        "\n",
        " ",
        "%40",
        "+",
        "\\",
        "[::1]",
    ];

    fn passwords(address: &Address) -> Vec<String> {
        let sentinels = address.group().map_or(&[][..], |group| &group.sentinels).iter().flat_map(passwords);
        let own = address.info.redis_settings().password().map(ToOwned::to_owned);
        own.into_iter().chain(sentinels).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]
        #[test]
        fn each_password_that_is_understood_is_hidden_in_ps(
            before in prop::collection::vec(select(&PARTS[..]), 0..6),
            after in prop::collection::vec(select(&PARTS[..]), 0..6),
            scheme in select(&["redis://", "unix:/", "unix:///", "redis-sentinel://", ""][..]),
        ) {
            let url = format!("{scheme}{}SECRET{}", before.concat(), after.concat());
            // As the option is read.
            let lines = split(&url).join("\n");
            let addresses = urls(&lines).filter_map(|url| Address::parse(url).ok());
            if addresses.flat_map(|address| passwords(&address)).any(|password| password.contains("SECRET")) {
                let at = url.find("SECRET").expect("it is there");
                let argument = format!("--redis={url}");
                let is_hidden = secrets(&argument).iter().any(|range| range.start <= at + 8 && range.end >= at + 8 + 6);
                prop_assert!(is_hidden, "{url:?} shows it");
            }
        }
    }

    #[test]
    fn an_address_prints_without_its_secrets() {
        let address = Address::parse("redis://user:s%40cret@host:6379/2").expect("a good URL");
        assert_eq!(address.to_string(), "redis://host:6379/2");
        assert_eq!(format!("{address:?}"), "redis://host:6379/2");
        assert_eq!(address.info.redis_settings().password(), Some("s@cret"));
    }

    #[test]
    fn a_password_from_elsewhere_is_for_a_server_without_one() {
        let password = |url: &str| {
            let address = Address::parse(url).expect("a good URL").or_password("other");
            (address.info.redis_settings().password().map(ToOwned::to_owned), address.has_password())
        };
        assert_eq!(password("h"), (Some("other".into()), false));
        assert_eq!(password("redis://u@h"), (Some("other".into()), false));
        assert_eq!(password("redis://:own@h"), (Some("own".into()), true));
        let behind = Address::parse("redis-sentinel://s/m").expect("a good URL").or_password("other");
        assert_eq!(passwords(&behind), ["other"]);
    }

    #[test]
    fn a_password_is_exposed_where_it_leaves_the_machine_without_tls() {
        for (url, exposed) in [
            ("redis://:p@host", true),
            ("redis://host", false),
            ("rediss://:p@host", false),
            ("redis://:p@127.0.0.1", false),
            ("redis://:p@[::1]:1", false),
            ("redis://:p@localhost", false),
            ("unix:///run/redis?pass=p", false),
            ("redis-sentinel://localhost/m", false),
            ("redis-sentinel://:p@localhost/m", true),
            ("redis-sentinel://s/m?sentinel-pass=p", true),
            ("rediss-sentinel://:p@s/m?sentinel-pass=p", false),
        ] {
            assert_eq!(Address::parse(url).expect("a good URL").exposes_password(), exposed, "{url}");
        }
    }

    #[test]
    fn a_node_behind_sentinels_has_their_addresses_and_the_sign_in_of_its_master() {
        let url = "rediss-sentinel://u:p%40@s1,[::1]:7,s2:26380/mymaster/3?sentinel-user=w&sentinel-pass=q";
        let address = Address::parse(url).expect("a good URL");
        assert_eq!(address.to_string(), "rediss-sentinel://s1:26379,[::1]:7,s2:26380/mymaster/3");
        assert_eq!(address.database(), 3);
        assert_eq!(address.info.redis_settings().password(), Some("p@"));
        assert!(address.has_tls());
        let group = address.group().expect("a group");
        assert_eq!(group.name, "mymaster");
        let sentinel = &group.sentinels[1];
        assert_eq!(sentinel.to_string(), "rediss://[::1]:7");
        assert_eq!(sentinel.info.redis_settings().username(), Some("w"));
        assert_eq!(sentinel.info.redis_settings().password(), Some("q"));
    }

    #[test]
    fn what_is_wrong_is_named_without_the_url() {
        for (url, part) in [
            ("secret@", "begin with"),
            ("u:secret", "begin with"),
            ("::1", "brackets"),
            ("fd00::1:6379", "brackets"),
            ("redis://:sec#ret@h", "%XX"),
            ("redis://u:12#secret@h", "%XX"),
            ("redis://:secret@x/y@h", "%XX"),
            ("redis://:sec?ret@h", "%XX"),
            ("redis-sentinel://:sec/ret@h/m", "%XX"),
            ("redis-sentinel://:sec?ret@h/m", "%XX"),
            ("redis-sentinel://h/m,secret:1", "a scheme"),
            ("http://secret@h", "begin with"),
            ("redis://u:secret@h:99999", "port"),
            ("redis://u:secret@h:6379/secret", "atabase"),
            ("redis://u:secret@h:6379/-1", "atabase"),
            ("redis://u:secret/x@h", "%XX"),
            ("redis://", "missing hostname"),
            ("rediss://u:secret@h#insecure", "--tls-ca"),
            ("redis-sentinel://u:secret@h,i", "name is missing"),
            ("redis-sentinel://u:secret@h,h:26379/m", "twice"),
            ("redis-sentinel://u:secret@h/m?password=secret", "sentinel-pass="),
            ("redis-sentinel://u:secret@h:0/m", "port"),
            ("http-sentinel://u:secret@h/m", "begin with"),
            ("unix:/run/redis?pass=secret", "ps would show"),
            ("unix:///run/redis?p%61ss=secret", "ps would show"),
            ("unix:///run/redis?pa\tss=secret", "ps would show"),
            ("redis:\t//:secret@h", "ps would show"),
            ("unix:///run/redis?password=secret", "pass= only"),
            ("redis://h?pass=secret", "after ?"),
        ] {
            let said = Address::parse(url).expect_err(url);
            assert!(said.contains(part), "{url}: {said}");
            assert!(!said.contains("secret"), "{url}: {said}");
        }
    }
}
