//! The resources that have a lock on this machine.

use std::{fs, path::Path};

use anyhow::Result;

use super::path::lock_folder;

/// The most resources that are found.
const MOST: usize = 1000;

/// The most folders that a long name is split into.
const DEEPEST: usize = 10;

/// Returns the names of the resources that have a lock in the folder of the locks.
///
/// # Errors
/// There is no such folder.
pub(crate) fn resources() -> Result<Vec<String>> {
    let mut names = Vec::new();
    find(&lock_folder()?, "", 0, &mut names);
    names.sort();
    Ok(names)
}

/// Adds the names in a folder. `before`: what its own name stands for.
fn find(folder: &Path, before: &str, depth: usize, names: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let file_name = entry.file_name().to_string_lossy().into_owned();
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_folder && depth < DEEPEST {
            find(&entry.path(), &format!("{before}{file_name}"), depth + 1, names);
        } else if let Some(rest) = file_name.strip_suffix(".lock")
            && names.len() < MOST
            // A slot is beside the lock of its resource.
            && !rest.contains(':')
        {
            names.extend(decoded(&format!("{before}{rest}")));
        }
    }
}

/// Returns the name that a path of a lock stands for: %XX is a byte.
fn decoded(encoded: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.as_bytes();
    while let [first, after @ ..] = rest {
        rest = match (first, after) {
            (b'%', [high, low, after @ ..]) => {
                let digits = [*high, *low];
                bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
                after
            }
            (&byte, after) => {
                bytes.push(byte);
                after
            }
        };
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_from_its_path() {
        assert_eq!(decoded("..%2Fx%20y%C3%A9").as_deref(), Some("../x yé"));
        assert_eq!((decoded("%FF"), decoded("a%2"), decoded("%zz")), (None, Some("a%2".into()), None));
    }
}
