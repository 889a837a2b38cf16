//! The entry point, which the C library calls in place of Rust's runtime.
//!
//! Rust's runtime would ignore SIGPIPE and open /dev/null in place of closed standard descriptors without a trace of how they
//! were, which the command must get; and it looks for the end of the stack in /proc/self/maps, which is a tenth of our start.

use std::{
    ffi::CStr,
    sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering::Relaxed},
};
#[cfg(not(test))]
use std::{
    ffi::{OsStr, OsString},
    fs::OpenOptions,
    os::{
        fd::{AsRawFd, IntoRawFd},
        unix::ffi::OsStrExt,
    },
};

use nix::libc::{self, c_char, c_int};

/// Makes `$main`, a function from the arguments to an exit status, the program's entry point.
#[macro_export]
macro_rules! entry_point {
    ($main:path) => {
        #[cfg(not(test))]
        // SAFETY: no other function of the program is called main; the C library calls it once, with one thread.
        #[unsafe(no_mangle)]
        extern "C" fn main(count: std::ffi::c_int, arguments: *mut *mut std::ffi::c_char) -> std::ffi::c_int {
            // SAFETY: the C library passes on what the kernel has made.
            let arguments = unsafe { $crate::sys::entry::begin(count, arguments) };
            // Not by returning: what is left in stdout's buffer is written here.
            std::process::exit($main(arguments))
        }

        // A test's entry point is that of its harness.
        #[cfg(test)]
        const _: fn(Vec<std::ffi::OsString>) -> i32 = $main;
    };
}

static ARGUMENTS: AtomicPtr<*mut c_char> = AtomicPtr::new(std::ptr::null_mut());
static COUNT: AtomicUsize = AtomicUsize::new(0);
static SIGPIPE_IGNORED: AtomicBool = AtomicBool::new(false);
static CLOSED: [AtomicBool; 3] = [const { AtomicBool::new(false) }; 3];

/// Remembers what the process was started with, and does what Rust's runtime would have done. Gives the arguments.
///
/// # Safety
/// `arguments` points to `count` pointers to strings that end with NUL, all of which stay there, as main's do.
#[cfg(not(test))]
pub unsafe fn begin(count: c_int, arguments: *mut *mut c_char) -> Vec<OsString> {
    let count = count.try_into().unwrap_or(0);
    ARGUMENTS.store(arguments, Relaxed);
    COUNT.store(count, Relaxed);
    SIGPIPE_IGNORED.store(ignores(libc::SIGPIPE), Relaxed);
    // SAFETY: ignoring runs no code.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    for (fd, closed) in (0..).zip(&CLOSED) {
        // SAFETY: F_GETFD only reads; a number without a descriptor gives EBADF.
        if unsafe { libc::fcntl(fd, libc::F_GETFD) } < 0 {
            closed.store(true, Relaxed);
            open_null_as(fd);
        }
    }
    // SAFETY: as the caller says.
    let text = |index| unsafe { CStr::from_ptr(*arguments.add(index)) };
    (0..count).map(|index| OsStr::from_bytes(text(index).to_bytes()).to_owned()).collect()
}

/// The lowest number that is free is this one: those below it are open.
#[cfg(not(test))]
fn open_null_as(fd: c_int) {
    if let Ok(null) = OpenOptions::new().read(true).write(true).open("/dev/null")
        && null.as_raw_fd() == fd
    {
        let _ = null.into_raw_fd();
    }
}

/// Whether SIGPIPE was ignored when we were started.
pub fn sigpipe_was_ignored() -> bool {
    SIGPIPE_IGNORED.load(Relaxed)
}

/// The standard descriptors that were closed when we were started; /dev/null stands in for them.
pub fn closed_descriptors() -> impl Iterator<Item = c_int> {
    (0..).zip(&CLOSED).filter(|(_, closed)| closed.load(Relaxed)).map(|(fd, _)| fd)
}

/// Whether a signal is ignored now. Takes a number, since nix knows no real-time signals.
pub fn ignores(signal: c_int) -> bool {
    // SAFETY: all zeros is a valid sigaction to be written over.
    let mut now: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: a null new action only reads the present one into `now`.
    let read = unsafe { libc::sigaction(signal, std::ptr::null(), &raw mut now) };
    read == 0 && now.sa_sigaction == libc::SIG_IGN
}

/// Lets each of our arguments be overwritten where the kernel has put them: that is what ps(1) shows. Before the first thread.
pub fn edit_arguments(mut edit: impl FnMut(&mut [u8])) {
    let arguments = ARGUMENTS.load(Relaxed);
    for index in 0..COUNT.load(Relaxed) {
        // SAFETY: `begin` has been given this many pointers to strings that end with NUL; they are ours to write to, and there
        // is one thread.
        let bytes = unsafe {
            let argument = *arguments.add(index);
            let length = CStr::from_ptr(argument).to_bytes().len();
            std::slice::from_raw_parts_mut(argument.cast::<u8>(), length)
        };
        edit(bytes);
    }
}
