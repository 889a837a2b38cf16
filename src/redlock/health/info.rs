//! What a server reports about itself in its answer to INFO.

use std::{collections::HashMap, time::Duration};

/// The facts that matter to a node. What the server doesn't report is `None`, or the usual value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ServerInfo {
    /// "Redis 7.0.15"
    pub name: String,
    /// The version of Redis that the server is compatible with.
    pub redis_major: Option<u32>,
    pub is_sentinel: bool,
    pub is_in_cluster: bool,
    pub is_replica: bool,
    pub up: Option<Duration>,
    /// Its uptime, by its wall clock, is negative.
    pub clock_set_back: bool,
    /// What distinguishes this server process from all others.
    pub run_id: Option<String>,
    pub memory: Option<MemoryLimit>,
    pub last_save_failed: bool,
    pub lacks_append_only_file: bool,
    pub replicas: u64,
}

/// The server's limit to its memory, and what happens there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MemoryLimit {
    /// Whether writes fail at the limit, or the name of the policy by which keys are evicted.
    pub evicts_by: Option<String>,
    pub used_percent: u64,
}

impl ServerInfo {
    /// Reads `NAME:VALUE` from each line.
    pub(super) fn parse(text: &str) -> Self {
        let fields: HashMap<&str, &str> = text.lines().filter_map(|line| line.trim_end().split_once(':')).collect();
        let is = |name, value| fields.get(name) == Some(&value);
        let number = |name| -> Option<u64> { fields.get(name)?.parse().ok() };
        ServerInfo {
            name: name(&fields),
            redis_major: fields.get("redis_version").and_then(|version| version.split('.').next()?.parse().ok()),
            is_sentinel: is("redis_mode", "sentinel"),
            is_in_cluster: is("cluster_enabled", "1"),
            is_replica: is("role", "slave"),
            up: number("uptime_in_seconds").map(Duration::from_secs),
            clock_set_back: fields.get("uptime_in_seconds").is_some_and(|up| up.starts_with('-')),
            run_id: fields.get("run_id").filter(|id| !id.is_empty()).map(|&id| id.to_owned()),
            memory: number("maxmemory").filter(|&limit| limit > 0).map(|limit| MemoryLimit {
                evicts_by: fields
                    .get("maxmemory_policy")
                    .filter(|&&policy| policy != "noeviction")
                    .map(|&p| p.to_owned()),
                used_percent: (number("used_memory").unwrap_or_default().saturating_mul(100) / limit).min(100),
            }),
            last_save_failed: is("rdb_last_bgsave_status", "err") || is("aof_last_write_status", "err"),
            lacks_append_only_file: is("aof_enabled", "0"),
            replicas: number("connected_slaves").unwrap_or_default(),
        }
    }
}

fn name(fields: &HashMap<&str, &str>) -> String {
    match (fields.get("valkey_version"), fields.get("redis_version")) {
        (Some(version), _) => format!("Valkey {version}"),
        (None, Some(version)) => format!("Redis {version}"),
        (None, None) => "unknown".into(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_server_does_not_report_has_the_usual_value() {
        let text = "# Server\r\nredis_version:7.2.4\r\nvalkey_version:8.0.1\r\nrun_id:ab\r\nuptime_in_seconds:9\r\n\
                    maxmemory:200\r\nused_memory:150\r\nmaxmemory_policy:allkeys-lru\r\nrole:slave\r\n";
        let info = ServerInfo::parse(text);
        assert_eq!((info.name.as_str(), info.redis_major, info.is_replica), ("Valkey 8.0.1", Some(7), true));
        assert_eq!((info.run_id.as_deref(), info.up), (Some("ab"), Some(Duration::from_secs(9))));
        let memory = MemoryLimit { evicts_by: Some("allkeys-lru".into()), used_percent: 75 };
        assert_eq!(info.memory, Some(memory));
        let silent = ServerInfo::parse("");
        assert_eq!((silent.name.as_str(), silent.memory, silent.run_id, silent.up), ("unknown", None, None, None));
        assert!(!silent.is_sentinel && !silent.is_in_cluster && !silent.is_replica && !silent.lacks_append_only_file);
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in any::<String>(), limit in any::<u64>(), used in any::<u64>(), up in any::<u64>()) {
            let info = ServerInfo::parse(&format!("{text}\nmaxmemory:{limit}\nused_memory:{used}\nuptime_in_seconds:{up}"));
            prop_assert_eq!(info.up, Some(Duration::from_secs(up)));
            prop_assert!(info.memory.is_none_or(|memory| memory.used_percent <= 100));
        }
    }
}
