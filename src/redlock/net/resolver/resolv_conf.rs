//! Reads a resolv.conf(5): which name servers are asked, for which names, and how often.

use std::time::Duration;

use hickory_resolver::{
    config::{ResolveHosts, ResolverConfig, ResolverOpts},
    net::NetError,
    system_conf::parse_resolv_conf,
};

/// Reads the contents of the file. Without a name server, it means the one of this machine.
///
/// # Errors
/// The library can't understand it.
pub(super) fn configured(file: &[u8]) -> Result<(ResolverConfig, ResolverOpts), NetError> {
    let on_this_machine = || [file, b"\nnameserver 127.0.0.1\n"].concat();
    // The library rejects a file without a name server.
    let (parsed, mut options) = parse_resolv_conf(file).or_else(|_| parse_resolv_conf(on_this_machine()))?;
    // The library would search the domain of this machine's name first, whatever the file says.
    let domain = parsed.domain().filter(|_| parsed.search().is_empty()).cloned();
    let configuration = ResolverConfig::from_parts(domain, parsed.search().to_vec(), parsed.name_servers().to_vec());
    options.use_hosts_file = ResolveHosts::Never;
    options.cache_size = 0;
    // The library counts further attempts, and gives up at once if it has no time.
    options.attempts = options.attempts.saturating_sub(1);
    options.timeout = options.timeout.max(Duration::from_secs(1));
    Ok((configuration, options))
}
