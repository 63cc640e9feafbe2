//! The broker as an ordinary user, with the memory-lock limits that are found in practice.

use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use crate::harness::{Broker, Client, NOBODY, Peer, TempDir, as_nobody, is_root, on_each_shoal};

const REASON: &str = "the original locks no memory";

/// A broker's command for user `nobody` (or ourselves, without root) with this limit.
fn limited(peer: Peer, dir: &TempDir, memlock_bytes: u64) -> Command {
    if is_root() {
        chown(dir.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let mut command = as_nobody(peer, &Broker::command(peer, &[], dir), dir);
    let limit = libc::rlimit { rlim_cur: memlock_bytes, rlim_max: memlock_bytes };
    // SAFETY: setrlimit is a bare system call on a value that lives as long as the closure.
    unsafe {
        command.pre_exec(move || match libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
    }
    command
}

#[test]
fn eight_mebibytes_are_enough() {
    on_each_shoal(REASON, |peer| {
        let dir = TempDir::new();
        let command = limited(peer, &dir, 8 << 20);
        let broker = Broker::spawn(command, dir.into());
        let mut client = Client::consumer(&broker, "t", "c", 1);
        client.publish("t", b"x");
        let id = client.delivery("x", 1);
        client.fin(&id);
        broker.stop();
    });
}

/// 64 KiB is too little: the broker says so and what to do, instead of dying of it.
#[test]
fn too_little_is_named() {
    on_each_shoal(REASON, |peer| {
        let dir = TempDir::new();
        let exit = Broker::run(limited(peer, &dir, 64 << 10), Duration::from_secs(10));
        assert_eq!(exit.status.code(), Some(1), "{}", exit.output);
        let text = exit.output.to_lowercase();
        assert!(text.contains("memlock"), "{}", exit.output);
        assert!(!text.contains("panicked"), "{}", exit.output);
    });
}
