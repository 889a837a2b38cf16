//! A program as small as one can be: one page that waits for ever. It stands for commands that cost the kernel next to
//! nothing to run and to end, written here byte by byte since no compiler at hand makes one.

use std::{ffi::CStr, fs::File, io::Write, os::fd::AsFd};

use nix::{
    sys::memfd::{MFdFlags, memfd_create},
    unistd::fexecve,
};

const ADDRESS: u64 = 0x40_0000;
const HEADERS: u64 = 64 + 56;

/// The machine, as e_machine has it, and a loop around pause(2), or around ppoll(2) of nothing.
#[cfg(target_arch = "x86_64")]
const MACHINE: (u16, &[u8]) = (62, b"\xb8\x22\0\0\0\x0f\x05\xeb\xf7");
#[cfg(target_arch = "aarch64")]
const MACHINE: (u16, &[u8]) = (183, b"\x28\x09\x80\xd2\x01\0\0\xd4\xfe\xff\xff\x17");

/// A file in memory with the program, which many processes can become.
pub(crate) struct TinyProgram(File);

impl TinyProgram {
    pub(crate) fn new() -> Self {
        let descriptor = memfd_create(c"tiny", MFdFlags::MFD_CLOEXEC).expect("a file in memory");
        let mut file = File::from(descriptor);
        file.write_all(&elf()).expect("room for it");
        TinyProgram(file)
    }

    /// Becomes the program. Ignored signals stay so.
    pub(crate) fn exec(&self) -> ! {
        let none: [&CStr; 0] = [];
        let error = fexecve(self.0.as_fd(), &[c"tiny"], &none).expect_err("an exec");
        panic!("no exec: {error}");
    }
}

/// elf(5): a header, one segment that may be read and executed, and the code.
fn elf() -> Vec<u8> {
    let (machine, code) = MACHINE;
    let size = HEADERS + code.len() as u64;
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let half = |number: u16, file: &mut Vec<u8>| file.extend(number.to_le_bytes());
    half(2, &mut file);
    half(machine, &mut file);
    file.extend(1_u32.to_le_bytes());
    for word in [ADDRESS + HEADERS, 64, 0] {
        file.extend(word.to_le_bytes());
    }
    file.extend(0_u32.to_le_bytes());
    for number in [64, 56, 1, 0, 0, 0] {
        half(number, &mut file);
    }
    for flags in [1_u32, 5] {
        file.extend(flags.to_le_bytes());
    }
    for word in [0, ADDRESS, ADDRESS, size, size, 4096] {
        file.extend(word.to_le_bytes());
    }
    file.extend(code);
    file
}
