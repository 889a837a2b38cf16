//! The binary itself: static, loaded at random addresses, with no memory that is both writable and executable, and with
//! relocated data read-only after startup.

use std::process::Command;

fn readelf(what: &str) -> String {
    let read = Command::new("readelf").args(["--wide", what, env!("CARGO_BIN_EXE_leaderrun")]).output();
    let read = read.expect("readelf (binutils, which the compiler's linker comes with)");
    assert!(read.status.success());
    String::from_utf8(read.stdout).expect("text")
}

/// Returns the flags column of a program header.
fn flags(headers: &str, header: &str) -> String {
    let line = headers.lines().find(|line| line.trim_start().starts_with(header));
    let line = line.unwrap_or_else(|| panic!("no {header} in {headers}"));
    line.split_whitespace().filter(|word| word.chars().all(|c| "RWE".contains(c))).collect()
}

#[test]
fn it_is_static_and_position_independent() {
    let header = readelf("--file-header");
    assert!(header.contains("DYN (Position-Independent Executable file)"), "{header}");
    let headers = readelf("--program-headers");
    assert!(!headers.contains("INTERP"), "it needs no loader: {headers}");
    let dynamic = readelf("--dynamic");
    assert!(!dynamic.contains("(NEEDED)"), "it needs no library: {dynamic}");
    assert!(dynamic.lines().any(|line| line.contains("(FLAGS_1)") && line.contains("PIE")), "{dynamic}");
}

#[test]
fn relocated_data_is_read_only_after_startup() {
    assert_eq!(flags(&readelf("--program-headers"), "GNU_RELRO"), "R");
    let dynamic = readelf("--dynamic");
    assert!(dynamic.lines().any(|line| line.contains("(FLAGS_1)") && line.contains("NOW")), "{dynamic}");
}

#[test]
fn no_memory_is_both_writable_and_executable() {
    let headers = readelf("--program-headers");
    assert_eq!(flags(&headers, "GNU_STACK"), "RW");
    let loaded = headers.lines().filter(|line| line.trim_start().starts_with("LOAD"));
    assert!(!loaded.clone().any(|line| line.contains("RWE")), "{headers}");
    assert!(loaded.count() > 1, "{headers}");
}
