//! The value of a lock, which any user of a node may have written.

use super::LockValue;
use crate::fuzz::is_one_line;

/// Takes a value as a node has it.
pub(crate) fn values(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let value = LockValue::from_node(text);
    let (kept, ttl, lists) = (value.kept(), value.ttl(), value.lists());
    assert!(kept != value || value.is_kept(), "a late extension would touch the kept lock");
    is_one_line(&value.holder());
    assert!(value.holder().chars().count() <= 512, "it would fill the screen");
    if value.is_ours() {
        assert!(kept.is_kept() && kept.is_ours());
        assert_eq!((kept.holder(), kept.ttl(), kept.lists()), (value.holder(), ttl, lists));
    }
}
