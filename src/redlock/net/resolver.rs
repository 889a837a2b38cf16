//! Host names, resolved without the system's C library: that would load NSS modules, and with them a C library of another
//! version into a static program.
//!
//! In this order: an IP address; `localhost` and names below it (RFC 6761, section 6.3); /etc/hosts; the name servers of
//! /etc/resolv.conf. Both files are read for each lookup, since a container may move to another network.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::Path,
};

use hickory_resolver::{
    Hosts, Resolver,
    config::{NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts},
    net::{DnsError, NetError, runtime::TokioRuntimeProvider},
    proto::{
        op::Query,
        rr::{Name, RecordType},
    },
    system_conf::parse_resolv_conf,
};

use super::files;

/// Why a name has no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResolveError {
    /// Neither /etc/hosts nor the name servers know it.
    NotFound,
    /// It can't be a host name.
    Invalid,
    /// No name server of /etc/resolv.conf gives an answer.
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

/// The addresses of a host, at least one.
///
/// # Errors
/// An [`io::Error`] with a [`ResolveError`] in it.
pub async fn resolve(host: &str) -> io::Result<Vec<IpAddr>> {
    if let Ok(address) = host.parse() {
        return Ok(vec![address]);
    }
    if is_localhost(host) {
        return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
    }
    let name = Name::from_str_relaxed(host).map_err(|_| io::Error::other(ResolveError::Invalid))?;
    // A file that can't be read is one that says nothing.
    let hosts = files::read(Path::new("/etc/hosts")).await.unwrap_or_default();
    let listed = listed(&name, &hosts);
    if !listed.is_empty() {
        return Ok(listed);
    }
    let configuration = files::read(Path::new("/etc/resolv.conf")).await.unwrap_or_default();
    ask_name_servers(name, &configuration).await.map_err(io::Error::other)
}

fn is_localhost(host: &str) -> bool {
    let last = host.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    last.eq_ignore_ascii_case("localhost")
}

/// The addresses that a hosts(5) file has for the name.
fn listed(name: &Name, file: &[u8]) -> Vec<IpAddr> {
    let mut hosts = Hosts::default();
    let _ = hosts.read_hosts_conf(file);
    let of_type = |record_type| hosts.lookup_static_host(&Query::query(name.clone(), record_type));
    [RecordType::A, RecordType::AAAA]
        .into_iter()
        .filter_map(of_type)
        .flat_map(|lookup| lookup.answers().iter().filter_map(|record| record.data.ip_addr()).collect::<Vec<_>>())
        .collect()
}

async fn ask_name_servers(name: Name, configuration: &[u8]) -> Result<Vec<IpAddr>, ResolveError> {
    let (servers, options) = configured(configuration);
    let mut resolver = Resolver::builder_with_config(servers, TokioRuntimeProvider::default());
    *resolver.options_mut() = options;
    let resolver = resolver.build().map_err(|_| ResolveError::Unanswered)?;
    match resolver.lookup_ip(name).await {
        Ok(found) => Ok(found.iter().collect()),
        Err(NetError::Dns(DnsError::NoRecordsFound(_))) => Err(ResolveError::NotFound),
        Err(_) => Err(ResolveError::Unanswered),
    }
}

/// What resolv.conf(5) says. Without a name server it means the one of this machine.
fn configured(file: &[u8]) -> (ResolverConfig, ResolverOpts) {
    let on_this_machine = || [file, b"\nnameserver 127.0.0.1\n"].concat();
    let (servers, mut options) =
        parse_resolv_conf(file).or_else(|_| parse_resolv_conf(on_this_machine())).unwrap_or_else(|_| {
            let local = NameServerConfig::udp_and_tcp(Ipv4Addr::LOCALHOST.into());
            (ResolverConfig::from_name_servers(vec![local]), ResolverOpts::default())
        });
    options.use_hosts_file = ResolveHosts::Never;
    // All at once: one that is dead costs no time-out.
    options.num_concurrent_reqs = servers.name_servers().len();
    options.cache_size = 0;
    (servers, options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn localhost_and_names_below_it_are_this_machine() {
        for (host, local) in [
            ("localhost", true),
            ("a.b.LocalHost", true),
            ("localhost.", true),
            ("notlocalhost", false),
            ("localhost.a", false),
        ] {
            assert_eq!(is_localhost(host), local, "{host}");
        }
    }

    #[test]
    fn a_hosts_file_gives_all_addresses_of_a_name() {
        let file = b"# comment\n10.0.0.1 redis-1 redis.test # more\n::2 Redis-1\n10.0.0.3 redis_1\nnonsense\n";
        let of = |name: &str| listed(&Name::from_str_relaxed(name).expect("a name"), file);
        assert_eq!(
            of("redis-1"),
            ["10.0.0.1".parse::<IpAddr>().expect("an address"), "::2".parse().expect("an address")]
        );
        assert_eq!(of("redis_1"), ["10.0.0.3".parse::<IpAddr>().expect("an address")]);
        assert!(of("redis-2").is_empty());
    }

    #[test]
    fn a_configuration_without_name_servers_means_this_machine() {
        for text in ["", "search example.com\n", "options ndots:3"] {
            let (servers, _) = configured(text.as_bytes());
            assert_eq!(servers.name_servers()[0].ip, Ipv4Addr::LOCALHOST, "{text}");
        }
        let (servers, options) =
            configured(b"nameserver 10.0.0.1\nnameserver ::1\noptions ndots:3 timeout:1 attempts:4\n");
        assert_eq!((servers.name_servers().len(), options.num_concurrent_reqs, options.ndots), (2, 2, 3));
    }
}
