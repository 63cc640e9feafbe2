//! What is installed: units, the package, the profile of system calls for containers.

mod package;
mod seccomp;
mod units;

use std::path::{Path, PathBuf};
use std::process::Command;

/// The files for packages.
fn packaging() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging")
}

/// Whether a program is there; says so when a test is skipped for want of it.
fn has(program: &str, test: &str) -> bool {
    let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output();
    let found = found.is_ok_and(|found| found.status.success());
    if !found {
        eprintln!("skipped: {test}: there is no {program} here");
    }
    found
}
