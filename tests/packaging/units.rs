//! The units of systemd.

use std::fs;
use std::process::Command;

use super::{has, packaging};
use crate::harness::{Peer, TempDir, program};

const UNITS: [&str; 3] = ["nsqd", "nsqlookupd", "nsqadmin"];

/// systemd's own check; it wants the programs to be where the units say.
#[test]
fn units_are_right() {
    if !has("systemd-analyze", "the check of units") {
        return;
    }
    let dir = TempDir::new();
    for unit in UNITS {
        let text = fs::read_to_string(packaging().join(format!("systemd/{unit}.service"))).unwrap();
        let binary = format!("{} {unit}", program(Peer::Shoal { shards: 1 }).display());
        let path = dir.path().join(format!("{unit}.service"));
        fs::write(&path, text.replace(&format!("/usr/bin/{unit}"), &binary)).unwrap();
        let mut command = Command::new("systemd-analyze");
        let output = command.args(["verify", "--man=no"]).arg(&path).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        // What is wrong with other units of the machine is not about ours.
        let ours: Vec<&str> = said.lines().filter(|line| line.contains(unit)).collect();
        assert!(output.status.success() && ours.is_empty(), "{unit}: {said}");
    }
}

/// What the units promise, and what io_uring needs of them.
#[test]
fn units_are_hardened_and_leave_io_uring_alone() {
    for unit in UNITS {
        let text = fs::read_to_string(packaging().join(format!("systemd/{unit}.service"))).unwrap();
        for line in [
            "Type=notify",
            "NoNewPrivileges=yes",
            "ProtectSystem=strict",
            "MemoryDenyWriteExecute=yes",
            "CapabilityBoundingSet=",
            "LimitMEMLOCK=infinity",
            "LimitNOFILE=1048576",
            "SystemCallFilter=@system-service io_uring_setup io_uring_enter io_uring_register",
        ] {
            assert!(text.lines().any(|known| known == line), "{unit}: {line}");
        }
    }
}
