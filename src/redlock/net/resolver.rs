//! Resolves host names without the system's C library, which would load NSS modules, and with them a C library of
//! another version, into a static program.
//!
//! In this order: an IP address; `localhost` and names below it (RFC 6761, section 6.3); /etc/hosts; the name servers
//! of /etc/resolv.conf. Both files are read for each lookup, since a container may move to another network.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::Path,
    pin::pin,
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use hickory_resolver::{
    Resolver,
    config::{NameServerConfig, ResolverConfig, ResolverOpts},
    net::{DnsError, NetError},
    proto::rr::Name,
};
use nix::errno::Errno;
use tokio::time::sleep;

use self::{
    resolv_conf::configured,
    sockets::{Sockets, is_shortage},
};
use super::files;

mod resolv_conf;
mod sockets;
#[cfg(test)]
mod tests;

const HOSTS: &str = "/etc/hosts";
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Why a name has no address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ResolveError {
    /// Neither /etc/hosts nor the name servers know it.
    NotFound,
    /// It can't be a host name.
    Invalid,
    /// No name server of /etc/resolv.conf answers.
    Unanswered,
    /// A query to a name server can't be sent.
    Unasked(Errno),
    /// A file is there and can't be read, so that what it says isn't known.
    Unreadable { file: &'static str, why: String },
}

impl ResolveError {
    fn unreadable(file: &'static str, error: &io::Error) -> Self {
        let errno = error.raw_os_error().map(Errno::from_raw);
        let why = errno.map_or_else(|| error.to_string(), |errno| errno.desc().to_owned());
        ResolveError::Unreadable { file, why }
    }

    /// Returns what an operator can do about it.
    pub(super) fn advice(&self) -> String {
        match self {
            ResolveError::NotFound | ResolveError::Invalid | ResolveError::Unanswered => {
                format!("check the name, {HOSTS}, and the name servers of {RESOLV_CONF}")
            }
            ResolveError::Unasked(errno) if is_shortage(*errno) => {
                "allow more open files (ulimit -n), or more memory".into()
            }
            ResolveError::Unasked(_) => format!("check the network, and the name servers of {RESOLV_CONF}"),
            ResolveError::Unreadable { file, .. } => format!("check {file}, and the limit of open files (ulimit -n)"),
        }
    }

    /// Returns how much it says about the name compared with the errors of other name servers. What a server that
    /// couldn't be asked for lack of descriptors or memory knows is open, so another's "no such name" doesn't count. A
    /// server that is dead or out of reach would never be heard.
    fn weight(&self) -> u8 {
        match self {
            ResolveError::Unasked(errno) if is_shortage(*errno) => 3,
            ResolveError::NotFound => 2,
            ResolveError::Unasked(_) => 1,
            _ => 0,
        }
    }
}

impl std::fmt::Display for ResolveError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ResolveError::NotFound => f.write_str("no such host name"),
            ResolveError::Invalid => f.write_str("not a host name"),
            ResolveError::Unanswered => f.write_str("no name server gives an answer"),
            ResolveError::Unasked(errno) => write!(f, "a name server can't be asked: {}", errno.desc()),
            ResolveError::Unreadable { file, why } => write!(f, "{file} can't be read: {why}"),
        }
    }
}

impl std::error::Error for ResolveError {}

/// Returns the addresses of a host, at least one. `patience`: how long to wait for other name servers once one has said
/// that there is no such name.
///
/// # Errors
/// An [`io::Error`] that holds a [`ResolveError`].
pub(super) async fn resolve(host: &str, patience: Duration) -> io::Result<Vec<IpAddr>> {
    if let Ok(address) = host.parse() {
        return Ok(vec![address]);
    }
    if is_localhost(host) {
        return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
    }
    let name = Name::from_str_relaxed(host).map_err(|_| io::Error::other(ResolveError::Invalid))?;
    let wanted = host.to_owned();
    let listed = contents(HOSTS, move |file| listed(&wanted, &file)).await?;
    if !listed.is_empty() {
        return Ok(listed);
    }
    let file = contents(RESOLV_CONF, |file| file).await?;
    let (configuration, options) = configured(&file)
        .map_err(|error| ResolveError::Unreadable { file: RESOLV_CONF, why: error.to_string() })
        .map_err(io::Error::other)?;
    ask_name_servers(&name, &configuration, &options, patience).await.map_err(io::Error::other)
}

/// Reads a file. One that isn't there counts as empty; what one says that can't be read isn't known.
async fn contents<T: Default + Send + 'static>(
    file: &'static str,
    then: impl FnOnce(Vec<u8>) -> T + Clone + Send + 'static,
) -> io::Result<T> {
    match files::read(Path::new(file), then).await {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(T::default())
        }
        read => read.map_err(|error| io::Error::other(ResolveError::unreadable(file, &error))),
    }
}

pub(super) fn is_localhost(host: &str) -> bool {
    let last = host.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    last.eq_ignore_ascii_case("localhost")
}

/// Returns the addresses that a hosts(5) file lists for the host. Scans the lines: a file that blocks advertisers has hundreds of
/// thousands of them.
fn listed(host: &str, file: &[u8]) -> Vec<IpAddr> {
    let host = host.trim_end_matches('.');
    let addresses = file.split(|&byte| byte == b'\n').filter_map(|line| {
        let line = line.split(|&byte| byte == b'#').next()?;
        let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        let address = words.next()?;
        let mut names = words.map(|name| name.strip_suffix(b".").unwrap_or(name));
        names.any(|name| name.eq_ignore_ascii_case(host.as_bytes())).then_some(address)
    });
    addresses.filter_map(|address| std::str::from_utf8(address).ok()?.parse().ok()).collect()
}

/// Asks all name servers at once, so that a dead one costs no time, and takes the first addresses. One that knows no
/// such name is believed only when the others have failed or `patience` has passed: that of a private network may know
/// more than a public one. It isn't believed if another couldn't be asked for lack of descriptors or memory.
async fn ask_name_servers(
    name: &Name,
    configuration: &ResolverConfig,
    options: &ResolverOpts,
    patience: Duration,
) -> Result<Vec<IpAddr>, ResolveError> {
    let mut patience = pin!(sleep(patience));
    let mut asked: FuturesUnordered<_> = configuration
        .name_servers()
        .iter()
        .map(|server| ask(name.clone(), for_one(configuration, server), options.clone()))
        .collect();
    let mut failure = ResolveError::Unanswered;
    loop {
        tokio::select! {
            biased;
            answer = asked.next() => match answer {
                Some(Ok(addresses)) => return Ok(addresses),
                Some(Err(error)) if error.weight() > failure.weight() => failure = error,
                Some(Err(_)) => {}
                None => return Err(failure),
            },
            () = &mut patience, if failure.weight() >= ResolveError::NotFound.weight() => return Err(failure),
        }
    }
}

/// The library, given several servers, would believe the first one to answer, even one that answers that it can't.
fn for_one(configuration: &ResolverConfig, server: &NameServerConfig) -> ResolverConfig {
    let (domain, search) = (configuration.domain().cloned(), configuration.search().to_vec());
    ResolverConfig::from_parts(domain, search, vec![server.clone()])
}

async fn ask(name: Name, server: ResolverConfig, options: ResolverOpts) -> Result<Vec<IpAddr>, ResolveError> {
    let is_searched = !name.is_fqdn() && (server.domain().is_some() || !server.search().is_empty());
    let sockets = Sockets::default();
    let mut resolver = Resolver::builder_with_config(server, sockets.clone());
    *resolver.options_mut() = options;
    let answer = match resolver.build() {
        Ok(resolver) => resolver.lookup_ip(name).await,
        Err(error) => Err(error),
    };
    match (answer, sockets.shortage()) {
        (Ok(found), None) => Ok(found.iter().collect()),
        // Only one of the two address families was asked for. In a search, it may be the name in another domain that
        // was found.
        (Ok(found), Some(_)) if !is_searched => Ok(found.iter().collect()),
        (_, Some(errno)) => Err(ResolveError::Unasked(errno)),
        (Err(NetError::Dns(DnsError::NoRecordsFound(_))), None) => Err(ResolveError::NotFound),
        (Err(NetError::Io(error)), None) => {
            Err(error.raw_os_error().map_or(ResolveError::Unanswered, |n| ResolveError::Unasked(Errno::from_raw(n))))
        }
        (Err(_), None) => Err(ResolveError::Unanswered),
    }
}
