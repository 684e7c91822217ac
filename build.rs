//! Compiles what is not Rust: `src/base/memory.c`, for the processors that it is written for.

// Cargo tells a build script everything in its environment.
#![allow(clippy::disallowed_methods)]

use std::env::var;

fn main() {
    println!("cargo::rerun-if-changed=src/base/memory.c");
    let is = |name: &str, value: &str| var(name).is_ok_and(|found| found == value);
    if !is("CARGO_CFG_TARGET_ARCH", "x86_64") || !is("CARGO_CFG_TARGET_OS", "linux") {
        return;
    }
    cc::Build::new()
        .file("src/base/memory.c")
        // Also in the profile for development: everything spends its time here.
        .opt_level(2)
        .debug(false)
        .warnings_into_errors(true)
        .extra_warnings(true)
        // These functions are made of themselves otherwise.
        .flag("-ffreestanding")
        .flag("-fno-builtin")
        .flag_if_supported("-fno-tree-loop-distribute-patterns")
        .compile("memory");
}
