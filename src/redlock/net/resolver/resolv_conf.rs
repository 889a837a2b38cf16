//! Reads a resolv.conf(5): which name servers are asked, for which names, and how often.

use std::time::Duration;

use hickory_resolver::{
    config::{ResolveHosts, ResolverConfig, ResolverOpts},
    net::NetError,
    proto::rr::Name,
    system_conf::parse_resolv_conf,
};

/// Reads the contents of the file. Without a name server, it means the one of this machine.
///
/// # Errors
/// The library can't understand it.
pub(super) fn configured(file: &[u8]) -> Result<(ResolverConfig, ResolverOpts), NetError> {
    let file = without_bad_domains(file);
    let on_this_machine = || format!("{file}\nnameserver 127.0.0.1\n");
    // The library rejects a file without a name server.
    let (parsed, mut options) = parse_resolv_conf(&file).or_else(|_| parse_resolv_conf(on_this_machine()))?;
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

/// Returns the lines without comments, and without domains that no name can be in. The library would reject the whole
/// file for such a domain, and a line for a byte that isn't UTF-8; the C library ignores both.
fn without_bad_domains(file: &[u8]) -> String {
    let lines = file.split(|&byte| byte == b'\n').map(|line| {
        let line = line.split(|byte| matches!(byte, b'#' | b';')).next().unwrap_or_default();
        let line = String::from_utf8_lossy(line);
        let mut words = line.split_whitespace();
        let domains: Vec<_> = match words.next() {
            Some("search") => words.collect(),
            Some("domain") => words.take(1).collect(),
            _ => return line.into_owned(),
        };
        if domains.is_empty() {
            return String::new();
        }
        let good: Vec<_> = domains.into_iter().filter(|domain| Name::from_str_relaxed(domain).is_ok()).collect();
        // The last line counts, and not this machine's domain, even if only the root is left to search.
        format!("search {}", if good.is_empty() { ".".into() } else { good.join(" ") })
    });
    lines.collect::<Vec<_>>().join("\n")
}
