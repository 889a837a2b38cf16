//! Strings in the form that execve(2) takes.

use std::{
    ffi::{CString, OsStr, c_char},
    os::unix::ffi::OsStrExt,
};

/// An array of C strings that ends with a null pointer. It is made before a fork, since making it allocates.
#[derive(Debug)]
pub(crate) struct CStringArray {
    /// Own what `pointers` point to. A CString keeps its text in one place for as long as it lives, wherever it is
    /// moved itself.
    strings: Vec<CString>,
    pointers: Vec<*const c_char>,
}

impl CStringArray {
    /// Returns the array of these strings.
    pub(crate) fn new(strings: Vec<CString>) -> Self {
        let pointers = strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect();
        CStringArray { strings, pointers }
    }

    /// Returns the array with one string more.
    pub(crate) fn with(&self, last: CString) -> Self {
        Self::new(self.strings.iter().cloned().chain([last]).collect())
    }

    /// Returns the array; its strings live for as long as `self`.
    pub(super) fn as_ptr(&self) -> *const *const c_char {
        self.pointers.as_ptr()
    }
}

/// Returns a text as a C string. Arguments and variables came as C strings, and the names among them are checked, so
/// there is no NUL to cut the text at.
pub(crate) fn c_string(text: &OsStr) -> CString {
    let bytes = text.as_bytes();
    let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    CString::new(&bytes[..end]).unwrap_or_default()
}
