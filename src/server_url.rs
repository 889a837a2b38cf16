//! The syntax of server URLs: their schemes, lists of them, and the secrets in them.

use std::{borrow::Cow, fmt::Display, iter, ops::Range};

/// How a server is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Redis,
    Rediss,
    Unix,
}

/// Follows the scheme of servers that are behind Sentinels.
const BEHIND_SENTINELS: &str = "-sentinel://";

/// Follows the scheme in any other URL.
const SEPARATOR: &str = "://";

/// Ends the key of each password in a query: `pass=` of a Unix socket, and `sentinel-pass=`.
const PASSWORD_KEY: &str = "pass=";

impl Scheme {
    const ALL: [Scheme; 3] = [Scheme::Redis, Scheme::Rediss, Scheme::Unix];

    /// Returns the scheme that a URL begins with.
    pub(crate) fn of(url: &str) -> Option<Self> {
        let (name, _) = url.split_once(':')?;
        Self::named(name)
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scheme| scheme.name() == name)
    }

    fn name(self) -> &'static str {
        match self {
            Scheme::Redis => "redis",
            Scheme::Rediss => "rediss",
            Scheme::Unix => "unix",
        }
    }

    /// Returns the URL with this scheme.
    pub(crate) fn url(self, rest: impl Display) -> String {
        format!("{}{SEPARATOR}{rest}", self.name())
    }

    /// Returns the URL with this scheme for servers behind Sentinels.
    pub(crate) fn url_behind_sentinels(self, rest: impl Display) -> String {
        format!("{}{BEHIND_SENTINELS}{rest}", self.name())
    }
}

/// Returns the URL of a server that is given as `HOST[:PORT][/DB]`, and any other text as it is. A user or a password needs a
/// URL: without a scheme, what is a secret can't be told.
pub(crate) fn with_scheme(text: &str) -> Cow<'_, str> {
    let (server, db) = text.split_once('/').unwrap_or((text, ""));
    let (host, port) = match server.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (server, "0"),
    };
    let in_brackets = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_host = match in_brackets {
        Some(address) => address.bytes().all(|b| b.is_ascii_hexdigit() || b".:".contains(&b)),
        None => host.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)),
    };
    let is_number = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if is_host && !host.is_empty() && !port.is_empty() && is_number(port) && is_number(db) {
        Scheme::Redis.url(text).into()
    } else {
        text.into()
    }
}

/// Returns whether a user or password has a character that ends the part of a URL where it stands: what follows it would be
/// taken for a path, a query or a fragment.
pub(crate) fn ends_early(rest: &str) -> bool {
    rest.find(['/', '?', '#']).is_some_and(|end| rest[end..].contains('@'))
}

/// Splits the URL of servers behind Sentinels into the scheme and the rest. Returns `None` for any other URL.
pub(crate) fn behind_sentinels(url: &str) -> Option<(Scheme, &str)> {
    let (name, rest) = url.split_once(BEHIND_SENTINELS)?;
    let scheme = Scheme::named(name).filter(|scheme| *scheme != Scheme::Unix)?;
    Some((scheme, rest))
}

/// Splits what follows a scheme into the user and password, and the rest.
pub(crate) fn sign_in(rest: &str) -> (&str, &str) {
    rest.rsplit_once('@').unwrap_or(("", rest))
}

/// Splits a list at the commas between URLs. Those between the Sentinels of one URL belong to it.
pub(crate) fn split(list: &str) -> Vec<&str> {
    ranges(list).into_iter().map(|range| &list[range]).collect()
}

/// Returns where the secrets are in an argument, which may hold a list of URLs. For a mistyped URL, the ranges cover
/// too much rather than too little.
pub(crate) fn secrets(argument: &str) -> Vec<Range<usize>> {
    ranges(argument).into_iter().flat_map(|range| secrets_in_url(argument, range)).collect()
}

/// Returns what is left of one URL where its secrets are hidden.
pub(crate) fn without_secrets(url: &str) -> String {
    let secrets = secrets_in_url(url, 0..url.len());
    let shown = url.char_indices().filter(|(at, _)| !secrets.iter().any(|secret| secret.contains(at)));
    shown.map(|(_, c)| c).collect()
}

fn ranges(list: &str) -> Vec<Range<usize>> {
    let mut urls: Vec<Range<usize>> = Vec::new();
    let mut start = 0;
    for part in list.split(',') {
        let end = start + part.len();
        match urls.last_mut() {
            Some(last) if list[last.clone()].contains(BEHIND_SENTINELS) && !part.contains(SEPARATOR) => last.end = end,
            _ => urls.push(start..end),
        }
        start = end + 1;
    }
    urls
}

fn secrets_in_url(text: &str, url: Range<usize>) -> Vec<Range<usize>> {
    let Some(start) = after_scheme(&text[url.clone()]).map(|at| url.start + at) else { return Vec::new() };
    let rest = &text[start..url.end];
    // The path of a socket may have an @, and nobody signs in before it.
    let (signs_in, _) = if rest.starts_with('/') { ("", rest) } else { sign_in(rest) };
    let passwords = rest.match_indices(PASSWORD_KEY).map(|(at, key)| {
        let begin = at + key.len();
        let length = rest[begin..].find('&').unwrap_or(rest.len() - begin);
        start + begin..start + begin + length
    });
    passwords.chain(iter::once(start..start + signs_in.len())).collect()
}

/// Returns where the text after the first of our schemes begins.
fn after_scheme(text: &str) -> Option<usize> {
    let mut ends = text.match_indices(SEPARATOR).map(|(at, separator)| at + separator.len());
    ends.find(|&end| {
        let name = text[..end].strip_suffix(BEHIND_SENTINELS).or_else(|| text[..end].strip_suffix(SEPARATOR));
        name.is_some_and(|name| Scheme::ALL.iter().any(|scheme| name.ends_with(scheme.name())))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_with_or_without_a_port_is_a_redis_server_and_what_may_hold_a_secret_is_not() {
        for server in ["a", "redis-1:6379", "10.0.0.1", "[::1]", "[::1]:7", "a/2", "a:1/2", "redis:6379", "a_b.c"] {
            assert_eq!(with_scheme(server), format!("redis://{server}"));
        }
        for text in
            ["", ":1", "a:", "a:b", "u:p@a", "a@b", "::1", "[x]", "a/b", "unix:/run/redis", "redis://a", "a?b", "a b"]
        {
            assert_eq!(with_scheme(text), text);
        }
    }

    #[test]
    fn commas_separate_urls_but_not_the_sentinels_of_one() {
        let urls = split("redis://a,redis-sentinel://b,c:1/m,rediss://d");
        assert_eq!(urls, ["redis://a", "redis-sentinel://b,c:1/m", "rediss://d"]);
        assert_eq!(split(""), [""]);
    }

    #[test]
    fn only_servers_behind_sentinels_have_a_scheme_of_theirs() {
        assert_eq!(behind_sentinels("rediss-sentinel://s/m"), Some((Scheme::Rediss, "s/m")));
        for url in ["redis://s/m", "unix-sentinel://s/m", "http-sentinel://s/m", "redis-sentinel:s/m"] {
            assert_eq!(behind_sentinels(url), None, "{url}");
        }
    }

    #[test]
    fn secrets_are_all_of_the_sign_in_and_of_each_password_in_the_query() {
        let found = |argument: &str| -> Vec<String> {
            secrets(argument)
                .into_iter()
                .map(|range| argument[range].to_owned())
                .filter(|text| !text.is_empty())
                .collect()
        };
        assert_eq!(found("--redis=rediss://:s@c@host"), [":s@c"]);
        assert_eq!(found("unix:///run/r?db=4&pass=secret&user=u"), ["secret"]);
        assert_eq!(found("unix:///run/user@1/r?pass=c@d"), ["c@d"]);
        assert_eq!(found("redis-sentinel://u:a,b@s1,s2/m?sentinel-pass=c"), ["c", "u:a,b"]);
        assert_eq!(found("redis://a:b@c,redis://d:e@f"), ["a:b", "d:e"]);
        let with_at = found("redis-sentinel://s1/m?sentinel-pass=c@d");
        assert!(with_at.contains(&"c@d".into()), "{with_at:?}");
        for harmless in ["redis://host", "mail@host", "http://u:p@host", "a,b@c", ""] {
            assert!(found(harmless).is_empty(), "{harmless}");
        }
    }
}
