//! Records what the program is built with, for `--version`.

use std::{env, process::Command};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let variable = |name: &str| env::var(name).unwrap_or_default();
    let rustc = Command::new(variable("RUSTC")).arg("--version").output();
    let rustc = rustc.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    // "rustc 1.95.0 (59807616e 2026-03-21)"
    let rustc = rustc.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
    let is_static = variable("CARGO_CFG_TARGET_FEATURE").split(',').any(|feature| feature == "crt-static");
    let linked = if is_static { "static" } else { "dynamic" };
    println!("cargo:rustc-env=LEADERRUN_BUILT={linked}, {}, {rustc}, {}", variable("TARGET"), variable("PROFILE"));
}
