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
    config::{NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts},
    net::{DnsError, NetError, runtime::TokioRuntimeProvider},
    proto::rr::Name,
    system_conf::parse_resolv_conf,
};
use tokio::time::sleep;

use super::files;

#[cfg(test)]
mod tests;

/// Why a name has no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResolveError {
    /// Neither /etc/hosts nor the name servers know it.
    NotFound,
    /// It can't be a host name.
    Invalid,
    /// No name server of /etc/resolv.conf answers.
    Unanswered,
}

impl std::fmt::Display for ResolveError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            ResolveError::NotFound => "no such host name",
            ResolveError::Invalid => "not a host name",
            ResolveError::Unanswered => "no name server gives an answer",
        })
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
    // A file that can't be read counts as empty.
    let listed = files::read(Path::new("/etc/hosts"), move |file| listed(&wanted, &file)).await.unwrap_or_default();
    if !listed.is_empty() {
        return Ok(listed);
    }
    let file = files::read(Path::new("/etc/resolv.conf"), |file| file).await.unwrap_or_default();
    let (configuration, options) = configured(&file);
    ask_name_servers(&name, &configuration, &options, patience).await.map_err(io::Error::other)
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
/// more than a public one.
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
                Some(Err(ResolveError::NotFound)) => failure = ResolveError::NotFound,
                Some(Err(_)) => {}
                None => return Err(failure),
            },
            () = &mut patience, if failure == ResolveError::NotFound => return Err(failure),
        }
    }
}

/// The library, given several servers, would believe the first one to answer, even one that answers that it can't.
fn for_one(configuration: &ResolverConfig, server: &NameServerConfig) -> ResolverConfig {
    let (domain, search) = (configuration.domain().cloned(), configuration.search().to_vec());
    ResolverConfig::from_parts(domain, search, vec![server.clone()])
}

async fn ask(name: Name, server: ResolverConfig, options: ResolverOpts) -> Result<Vec<IpAddr>, ResolveError> {
    let mut resolver = Resolver::builder_with_config(server, TokioRuntimeProvider::default());
    *resolver.options_mut() = options;
    let resolver = resolver.build().map_err(|_| ResolveError::Unanswered)?;
    match resolver.lookup_ip(name).await {
        Ok(found) => Ok(found.iter().collect()),
        Err(NetError::Dns(DnsError::NoRecordsFound(_))) => Err(ResolveError::NotFound),
        Err(_) => Err(ResolveError::Unanswered),
    }
}

/// Reads a resolv.conf(5). Without a name server, it means the one of this machine.
fn configured(file: &[u8]) -> (ResolverConfig, ResolverOpts) {
    let on_this_machine = || [file, b"\nnameserver 127.0.0.1\n"].concat();
    let (parsed, mut options) =
        parse_resolv_conf(file).or_else(|_| parse_resolv_conf(on_this_machine())).unwrap_or_else(|_| {
            let local = NameServerConfig::udp_and_tcp(Ipv4Addr::LOCALHOST.into());
            (ResolverConfig::from_name_servers(vec![local]), ResolverOpts::default())
        });
    // The library would search the domain of this machine's name first, whatever the file says.
    let domain = parsed.domain().filter(|_| parsed.search().is_empty()).cloned();
    let configuration = ResolverConfig::from_parts(domain, parsed.search().to_vec(), parsed.name_servers().to_vec());
    options.use_hosts_file = ResolveHosts::Never;
    options.cache_size = 0;
    // The library counts further attempts, and gives up at once if it has no time.
    options.attempts = options.attempts.saturating_sub(1);
    options.timeout = options.timeout.max(Duration::from_secs(1));
    (configuration, options)
}
