//! What comes over the network besides answers to our scripts, and where we connect to.

use std::time::Duration;

use redis::{Msg, Value};
use tokio::sync::mpsc;

use super::{
    address::{self, Address},
    failure::Failure,
    pubsub::{self, Notification, NotificationSender},
    sentinel,
};
use crate::{clock::Moment, fuzz::is_one_line, lease::Times, redlock::standby::TakeoverTimer, server_url};

/// Takes a server's error, as an answer to a script, and what it says to people.
pub(crate) fn errors(data: &[u8]) {
    let line = [b"-".as_slice(), data, b"\r\n"].concat();
    let script = redis::cmd("EVAL").arg("return redis.call('get', KEYS[1])\nreturn 1").arg(0).to_owned();
    // With and without the library's parser.
    let parsed = redis::parse_redis_value(&line).and_then(Value::extract_error);
    let Err(error) = parsed else { return };
    for failure in [Failure::of(&error, &script), Failure::from(error)] {
        is_one_line(&failure.to_string());
        is_one_line(&failure.advice());
        let _ = (failure.is_unconnected(), failure.votes_in());
    }
}

/// Takes an answer to SENTINEL MASTER.
pub(crate) fn master(value: Value) {
    let _ = sentinel::others(value.clone());
    if let Some((host, ..)) = sentinel::named(value) {
        is_one_line(&host);
    }
}

/// Takes a message on each line: they come in any form, and never put a look off for more than a ttl.
pub(crate) fn messages(data: &[u8]) {
    let times = Times::new(Duration::from_secs(15), None).expect("times that fit");
    let (sender, mut receiver) = mpsc::channel(pubsub::MOST_NOTIFICATIONS);
    let sender = NotificationSender(sender);
    let (now, left) = (Moment::now(), Duration::from_secs(7));
    let mut timer = TakeoverTimer::new();
    timer.begin(Some(left), &times, now, 0.9);
    for line in data.split(|&byte| byte == b'\n') {
        let whole: Vec<Value> = ["message", "channel"].map(|word| Value::BulkString(word.into())).into();
        let message = Value::Array([whole, vec![Value::BulkString(line.to_vec())]].concat());
        let other = redis::parse_redis_value(line).ok();
        for message in [Some(message), other].into_iter().flatten() {
            Msg::from_owned_value(message).iter().for_each(|message| sender.message(message));
        }
        while let Ok(notification) = receiver.try_recv() {
            let Notification::Message { change, .. } = notification else { panic!("no message says that") };
            timer.hear(change, &times, now, 0.9);
            assert!(timer.goes_at() <= Some(now + left + times.ttl() + times.drift()));
        }
    }
}

/// Takes a list of URLs: a user and a password are found before anything is printed.
pub(crate) fn urls(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for range in server_url::secrets(&text) {
        assert!(text.get(range).is_some(), "a secret outside of the text");
    }
    let lines = address::urls(&text).map(ToOwned::to_owned);
    for url in lines.chain(server_url::split(&text).into_iter().map(ToOwned::to_owned)) {
        match Address::parse(&url) {
            Ok(address) => {
                is_one_line(&address.to_string());
                let hidden = server_url::without_secrets(&url);
                assert!(!address.has_password() || hidden.len() < url.len(), "{url} would be shown");
                let _ = (address.exposes_password(), address.database(), address.has_tls());
            }
            Err(problem) => is_one_line(&problem),
        }
    }
}
