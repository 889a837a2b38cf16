//! Servers are understood as they are written, and never shown with a password.

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
    assert_eq!(password("unix:///run/redis?pass="), (Some("other".into()), false));
    let behind = Address::parse("redis-sentinel://s/m").expect("a good URL").or_password("other");
    assert_eq!(passwords(&behind), ["other"]);
}

#[test]
fn a_colon_in_the_name_of_a_sentinels_user_begins_no_password() {
    let address = Address::parse("redis-sentinel://s/m?sentinel-user=a:b").expect("a good URL");
    let sentinel = &address.group().expect("Sentinels").sentinels[0].info;
    assert_eq!((sentinel.redis_settings().username(), address.has_password()), (Some("a:b"), false));
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
