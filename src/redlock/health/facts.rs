//! Findings from what a server reports about itself.

use std::time::Duration;

use super::{finding::Finding, info::ServerInfo};
use crate::lease::Times;

/// The first major version of Redis whose scripts may ask for the time and then write.
const OLDEST_MAJOR: u32 = 5;

/// The percentage of used memory from which memory is short.
const SHORT_PERCENT: u64 = 90;

/// Returns the findings, the worst first.
pub(super) fn findings(info: &ServerInfo, times: &Times) -> Vec<Finding> {
    let identity = [
        info.redis_major.filter(|&major| major < OLDEST_MAJOR).map(Finding::TooOld),
        info.is_sentinel.then_some(Finding::Sentinel),
        info.is_in_cluster.then_some(Finding::Cluster),
        info.is_replica.then_some(Finding::Replica),
        info.clock_set_back.then_some(Finding::ClockSetBack),
        startup_grace(info.up, times),
    ];
    let evicts_by = info.memory.as_ref().and_then(|memory| memory.evicts_by.clone());
    let used_percent = info.memory.as_ref().map(|memory| memory.used_percent);
    let data = [
        evicts_by.map(Finding::Evicts),
        used_percent.filter(|&percent| percent >= SHORT_PERCENT).map(Finding::MemoryShort),
        info.last_save_failed.then_some(Finding::NotSaved),
        info.lacks_append_only_file.then_some(Finding::NoAppendOnlyFile),
        (info.replicas > 0).then_some(Finding::HasReplicas(info.replicas)),
    ];
    identity.into_iter().chain(data).flatten().collect()
}

fn startup_grace(up: Option<Duration>, times: &Times) -> Option<Finding> {
    let left = times.startup_grace().saturating_sub(up?);
    (!left.is_zero()).then_some(Finding::StartupGrace(left))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(info: &str) -> Vec<Finding> {
        let times = Times::new(Duration::from_secs(15), None).expect("times that fit");
        findings(&ServerInfo::parse(info), &times)
    }

    #[test]
    fn a_server_that_has_just_started_votes_when_its_startup_grace_is_over() {
        assert_eq!(found("uptime_in_seconds:10"), [Finding::StartupGrace(Duration::from_millis(6152))]);
        assert_eq!(found("uptime_in_seconds:17"), []);
        assert_eq!(found("uptime_in_seconds:18446744073709551615"), []);
    }

    #[test]
    fn a_server_whose_clock_was_set_back_since_it_started_is_told_apart() {
        assert_eq!(found("uptime_in_seconds:-3600"), [Finding::ClockSetBack]);
    }

    #[test]
    fn each_fact_that_matters_is_found() {
        assert_eq!(found("redis_version:4.0.9"), [Finding::TooOld(4)]);
        assert_eq!(found("redis_mode:sentinel"), [Finding::Sentinel]);
        assert_eq!(found("role:slave\r\ncluster_enabled:1"), [Finding::Cluster, Finding::Replica]);
        assert_eq!(found("aof_last_write_status:err"), [Finding::NotSaved]);
        assert_eq!(
            found("maxmemory:100\nused_memory:90\nmaxmemory_policy:volatile-lru\naof_enabled:0\nconnected_slaves:2"),
            [
                Finding::Evicts("volatile-lru".into()),
                Finding::MemoryShort(90),
                Finding::NoAppendOnlyFile,
                Finding::HasReplicas(2)
            ]
        );
        assert_eq!(found("maxmemory:0\nused_memory:90\nmaxmemory_policy:volatile-lru\naof_enabled:1"), []);
    }
}
