//! The entry point, which the C library calls in place of Rust's runtime.
//!
//! Rust's runtime ignores SIGPIPE and opens /dev/null in place of closed standard descriptors without a trace of how
//! they were, which the command must get. It also looks for the end of the stack in /proc/self/maps, which takes a
//! tenth of our start.

use std::{
    ffi::CStr,
    sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering::Relaxed},
};
#[cfg(not(any(test, fuzzing)))]
use std::{
    ffi::{OsStr, OsString},
    fs::OpenOptions,
    os::{
        fd::{AsRawFd, IntoRawFd},
        unix::ffi::OsStrExt,
    },
};

use nix::libc::c_char;
#[cfg(not(any(test, fuzzing)))]
use nix::{
    libc::{self, c_int},
    sys::signal::Signal,
};

#[cfg(not(any(test, fuzzing)))]
use super::{
    descriptors::is_open,
    signal::{ignore, is_ignored},
};

/// Makes `$main`, a function from the arguments to an exit status, the program's entry point.
#[macro_export]
macro_rules! entry_point {
    ($main:path) => {
        #[cfg(not(any(test, fuzzing)))]
        // SAFETY: no other function of the program is called main; the C library calls it once, with one thread.
        #[unsafe(no_mangle)]
        extern "C" fn main(count: std::ffi::c_int, arguments: *mut *mut std::ffi::c_char) -> std::ffi::c_int {
            // SAFETY: the C library passes on what the kernel has made.
            let arguments = unsafe { $crate::sys::entry::begin(count, arguments) };
            // Exits rather than returns: that writes what is left in stdout's buffer.
            std::process::exit($main(arguments))
        }

        // A test's entry point is that of its harness.
        #[cfg(any(test, fuzzing))]
        const _: fn(Vec<std::ffi::OsString>) -> i32 = $main;
    };
}

static ARGUMENTS: AtomicPtr<*mut c_char> = AtomicPtr::new(std::ptr::null_mut());
static COUNT: AtomicUsize = AtomicUsize::new(0);
static SIGPIPE_IGNORED: AtomicBool = AtomicBool::new(false);
static STDOUT_CLOSED: AtomicBool = AtomicBool::new(false);

/// Remembers what the process was started with, and does what Rust's runtime would have done. Returns the arguments.
///
/// # Safety
/// `arguments` points to `count` pointers to strings that end with NUL, all of which stay there, as main's do.
#[cfg(not(any(test, fuzzing)))]
pub(crate) unsafe fn begin(count: c_int, arguments: *mut *mut c_char) -> Vec<OsString> {
    let count = count.try_into().unwrap_or(0);
    ARGUMENTS.store(arguments, Relaxed);
    COUNT.store(count, Relaxed);
    SIGPIPE_IGNORED.store(is_ignored(libc::SIGPIPE), Relaxed);
    let _ = ignore(Signal::SIGPIPE);
    STDOUT_CLOSED.store(!is_open(libc::STDOUT_FILENO), Relaxed);
    for fd in libc::STDIN_FILENO..=libc::STDERR_FILENO {
        if !is_open(fd) {
            open_null_as(fd);
        }
    }
    // SAFETY: the caller promises that `index`, which is below `count`, is that of a pointer to a string that ends with
    // NUL.
    let text = |index| unsafe { CStr::from_ptr(*arguments.add(index)) };
    (0..count).map(|index| OsStr::from_bytes(text(index).to_bytes()).to_owned()).collect()
}

/// Opens /dev/null as `fd`, which is the lowest free number since those below it are open. It is close-on-exec, so that
/// the command finds the descriptor closed again.
#[cfg(not(any(test, fuzzing)))]
fn open_null_as(fd: c_int) {
    if let Ok(null) = OpenOptions::new().read(true).write(true).open("/dev/null")
        && null.as_raw_fd() == fd
    {
        let _ = null.into_raw_fd();
    }
}

/// Returns whether SIGPIPE was ignored when the process was started.
pub(crate) fn sigpipe_was_ignored() -> bool {
    SIGPIPE_IGNORED.load(Relaxed)
}

/// Returns whether stdout was closed when the process was started: what is written to it now, nobody gets.
pub(crate) fn stdout_was_closed() -> bool {
    STDOUT_CLOSED.load(Relaxed)
}

/// Lets `edit` overwrite each argument where the kernel has put it, which is what ps(1) shows. To be called before
/// there is a second thread.
pub(crate) fn edit_arguments(mut edit: impl FnMut(&mut [u8])) {
    let arguments = ARGUMENTS.load(Relaxed);
    for index in 0..COUNT.load(Relaxed) {
        // SAFETY: `begin`, which stored both, was promised this many pointers to strings that end with NUL and stay
        // there. The kernel has put them on the stack, where they may be written. Nothing else refers to them: `begin`
        // has copied them, and one slice ends before the next one begins.
        let bytes = unsafe {
            let argument = *arguments.add(index);
            let length = CStr::from_ptr(argument).to_bytes().len();
            std::slice::from_raw_parts_mut(argument.cast::<u8>(), length)
        };
        edit(bytes);
    }
}
