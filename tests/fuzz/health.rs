//! What servers report about themselves.

use std::time::Duration;

use super::{facts, info::ServerInfo, measurement::clock_ahead_ms};
use crate::{fuzz::is_one_line, lease::Times};

/// Takes an answer to INFO, after 16 bytes of one to TIME.
pub(crate) fn reports(data: &[u8]) {
    let (time, info) = data.split_at_checked(16).unwrap_or((&[], data));
    let number = |bytes: &[u8]| bytes.iter().fold(0, |number, &byte| (number << 8) | u64::from(byte));
    let (seconds, micros) = time.split_at(time.len() / 2);
    let _ = clock_ahead_ms(number(seconds), number(micros), Duration::from_secs(1_800_000_000));
    let times = Times::new(Duration::from_secs(15), None).expect("times that fit");
    let info = ServerInfo::parse(&String::from_utf8_lossy(info));
    for finding in facts::findings(&info, &times) {
        is_one_line(&finding.to_string());
        is_one_line(&finding.advice());
        let _ = finding.severity();
    }
    is_one_line(&info.name);
}
