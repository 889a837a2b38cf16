//! Why a request to the nodes, or to the lock's file, failed.

use std::{error::Error, fmt, io, path::PathBuf, sync::Arc};

use super::other_servers::OtherServers;
use crate::lease::{quorum, shown_nodes};

/// Why an extension, a note or a release is not confirmed.
#[derive(Debug)]
pub(crate) enum BackendFailure {
    /// Too few nodes confirmed it.
    Shortfall(Shortfall),
    /// An instance with other servers may lead as well.
    OtherList(OtherServers),
    /// The lock's file was removed.
    FileRemoved(PathBuf),
    /// The lock's file can't be written.
    NotWritten { path: PathBuf, error: io::Error },
}

/// Fewer nodes than needed did what was wanted.
#[derive(Clone, Debug)]
pub(crate) struct Shortfall {
    pub wanted: Wanted,
    /// How many nodes did it.
    pub able: usize,
    /// How many nodes are configured.
    pub nodes: usize,
    /// The others, with reasons.
    pub faults: Vec<NodeFault>,
}

/// What is wanted of a quorum of nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    Vote,
    Extension,
    Release,
}

/// A node that didn't do what was wanted, and why.
#[derive(Clone, Debug)]
pub(crate) struct NodeFault {
    pub node: String,
    pub why: Arc<dyn Error + Send + Sync>,
}

impl fmt::Display for BackendFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BackendFailure::Shortfall(shortfall) => shortfall.fmt(f),
            BackendFailure::OtherList(other) => other.fmt(f),
            BackendFailure::FileRemoved(path) => write!(f, "the lock's file {} was removed", path.display()),
            BackendFailure::NotWritten { path, error } => write!(f, "{} can't be written: {error}", path.display()),
        }
    }
}

/// "1 of 3 nodes can vote, 2 needed (redis://b:6379 timed out, redis://c:6379 refused the connection)"
impl fmt::Display for Shortfall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shortfall { wanted, able, nodes, faults } = self;
        let done = match wanted {
            Wanted::Vote => "can vote",
            Wanted::Extension => "extended it",
            Wanted::Release => "confirmed the release",
        };
        write!(f, "{able} of {} {done}, {} needed (", shown_nodes(*nodes), quorum(*nodes))?;
        for (index, NodeFault { node, why }) in faults.iter().enumerate() {
            write!(f, "{}{node} {why}", if index > 0 { ", " } else { "" })?;
        }
        f.write_str(")")
    }
}
