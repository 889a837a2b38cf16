//! The result of examining a node.

use std::time::Duration;

use super::{
    finding::{Finding, Severity},
    measurement::Measurement,
};

/// An examined node. A field that is `None` could not be determined.
#[derive(Clone, Debug)]
pub(crate) struct NodeHealth {
    pub node: String,
    /// "Redis 7.0.15"
    pub server: Option<String>,
    pub up: Option<Duration>,
    pub measurement: Option<Measurement>,
    pub findings: Vec<Finding>,
    /// What distinguishes the server process from all others.
    pub(super) run_id: Option<String>,
}

impl NodeHealth {
    /// Returns the health of a node of which nothing is known yet.
    pub(super) fn unknown(node: String) -> Self {
        NodeHealth { node, server: None, up: None, measurement: None, findings: Vec::new(), run_id: None }
    }

    pub(crate) fn votes(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity() < Severity::NoVote)
    }

    pub(crate) fn has_risks(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity() == Severity::Risk)
    }
}
