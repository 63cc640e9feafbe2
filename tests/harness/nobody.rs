//! Running a broker as an ordinary user.

use std::os::unix::process::CommandExt;
use std::process::Command;

use super::{Peer, TempDir, program};

/// Has no rights anywhere.
pub const NOBODY: u32 = 65_534;

/// Whether this process may do everything.
pub fn is_root() -> bool {
    // SAFETY: geteuid has no preconditions.
    unsafe { libc::geteuid() == 0 }
}

/// The same command for user `nobody` (or ourselves, without root), with a copy of the binary in
/// `place`, which that user can reach.
pub fn as_nobody(peer: Peer, usual: &Command, place: &TempDir) -> Command {
    let binary = place.path().join("shoal");
    // Copied by another process: a descriptor of ours, inherited by a broker that starts at the
    // same time, would keep the copy busy.
    let mut copying = Command::new("install");
    copying.args(["-m", "755"]).arg(program(peer)).arg(&binary);
    assert!(copying.status().unwrap().success());
    let mut command = Command::new(binary);
    command.args(usual.get_args());
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}
