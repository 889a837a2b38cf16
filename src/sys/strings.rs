//! Strings in the form that execve(2) takes.

use std::{
    ffi::{CStr, CString, OsStr, c_char},
    os::unix::ffi::OsStrExt,
};

/// An array of C strings that ends with a null pointer. It is made before a fork, since making it allocates.
#[derive(Debug)]
pub(crate) struct CStringArray {
    /// Own what `pointers` point to, each with its NUL. A text keeps its place in memory for as long as it lives,
    /// wherever its box is moved.
    strings: Vec<Box<[u8]>>,
    pointers: Vec<*const c_char>,
}

impl CStringArray {
    /// Returns the array of these strings.
    pub(crate) fn new(strings: Vec<CString>) -> Self {
        let strings: Vec<Box<[u8]>> = strings.into_iter().map(boxed).collect();
        CStringArray { pointers: pointers(&strings), strings }
    }

    /// Replaces all strings but the first `length`.
    pub(crate) fn replace_after(&mut self, length: usize, more: impl IntoIterator<Item = CString>) {
        self.strings.truncate(length);
        self.strings.extend(more.into_iter().map(boxed));
        self.pointers = pointers(&self.strings);
    }

    /// Writes a number after the `=` of the string at `index`, over what is there. Does nothing without such a string, or
    /// without room for the number. Async-signal-safe.
    pub(super) fn set_number(&mut self, index: usize, number: u32) {
        let digits = number.checked_ilog10().unwrap_or(0) as usize + 1;
        let Some(string) = self.strings.get_mut(index) else { return };
        let Some(equals) = string.iter().position(|&byte| byte == b'=') else { return };
        let Some(room) = string.get_mut(equals + 1..equals + digits + 2) else { return };
        let mut rest = number;
        for place in room[..digits].iter_mut().rev() {
            *place = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        room[digits] = 0;
        // A pointer made before the write may not be read through after it.
        self.pointers[index] = string.as_ptr().cast();
    }

    /// Returns the array; its strings live for as long as `self`.
    pub(super) fn as_ptr(&self) -> *const *const c_char {
        self.pointers.as_ptr()
    }
}

fn pointers(strings: &[Box<[u8]>]) -> Vec<*const c_char> {
    strings.iter().map(|string| string.as_ptr().cast()).chain([std::ptr::null()]).collect()
}

fn boxed(string: CString) -> Box<[u8]> {
    string.into_bytes_with_nul().into_boxed_slice()
}

/// Returns the environment as it was passed on to this process, also what isn't NAME=VALUE, which std leaves out.
pub(crate) fn environment() -> Vec<CString> {
    unsafe extern "C" {
        /// environ(7)
        static environ: *const *const c_char;
    }
    let mut strings = Vec::new();
    // SAFETY: the C library sets `environ` to an array of pointers to strings that end with NUL, and a null pointer after
    // them; this program never changes it. Nothing is read beyond the null pointer.
    unsafe {
        let mut next = environ;
        while !next.is_null() && !(*next).is_null() {
            strings.push(CStr::from_ptr(*next).to_owned());
            next = next.add(1);
        }
    }
    strings
}

/// Returns a text as a C string. Arguments and variables came as C strings, and the names among them are checked, so
/// there is no NUL to cut the text at.
pub(crate) fn c_string(text: &OsStr) -> CString {
    let bytes = text.as_bytes();
    let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    CString::new(&bytes[..end]).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_after(variable: &CStr, number: u32) -> Box<[u8]> {
        let mut array = CStringArray::new(vec![c"A=1".to_owned(), variable.to_owned()]);
        array.set_number(1, number);
        assert_eq!(array.strings[1].as_ptr().cast(), array.pointers[1]);
        array.strings[1].clone()
    }

    #[test]
    fn strings_are_added_in_place_of_those_that_were_added_before() {
        let mut array = CStringArray::new(vec![c"A=1".to_owned()]);
        for more in [&[c"T=1", c"S=1"][..], &[c"T=2"]] {
            array.replace_after(1, more.iter().map(|&string| string.to_owned()));
            let all: Vec<&[u8]> = array.strings.iter().map(|string| &string[..]).collect();
            assert_eq!(
                all,
                [&[c"A=1"], more].concat().iter().map(|string| string.to_bytes_with_nul()).collect::<Vec<_>>()
            );
            assert_eq!(array.pointers, pointers(&array.strings));
        }
    }

    #[test]
    fn a_number_is_written_if_there_is_room_for_it() {
        assert_eq!(&*text_after(c"N=0000000000", 4_194_304), b"N=4194304\x0000\0");
        assert_eq!(&*text_after(c"N=00", 7), b"N=7\0\0");
        assert_eq!(&*text_after(c"N=00", 123), b"N=00\0");
        assert_eq!(&*text_after(c"N=", 1), b"N=\0");
        assert_eq!(&*text_after(c"N", 1), b"N\0");
    }

    #[test]
    fn the_environment_is_that_of_std() {
        let variables = environment().into_iter().filter(|entry| entry.as_bytes().contains(&b'=')).count();
        assert_eq!(variables, std::env::vars_os().count());
    }
}
