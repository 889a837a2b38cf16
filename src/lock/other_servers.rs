//! An instance that uses other servers than we do.

use std::fmt;

use crate::lease::ListSizes;

/// A node that has the lock of an instance with other numbers of nodes, which may lead without a quorum of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OtherServers {
    pub node: String,
    pub holder: String,
    pub theirs: ListSizes,
    pub ours: ListSizes,
}

impl fmt::Display for OtherServers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let OtherServers { node, holder, theirs, ours } = self;
        write!(
            f,
            "{holder}, whose lock is on {node}, uses another number of nodes ({theirs}) than this instance ({ours}); give \
             all instances the same nodes (--redis), or change them with --redis-before"
        )
    }
}
