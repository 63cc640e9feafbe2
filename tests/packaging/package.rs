//! The Debian package: built, looked into, and, where that is allowed, installed, started and
//! removed on a copy of this machine that is thrown away.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use super::{has, packaging};
use crate::harness::{Broker, Client, Peer, TempDir, is_root, program};

/// Builds the package from the binary under test.
fn build(dir: &TempDir) -> PathBuf {
    let script = packaging().join("debian/build");
    let binary = program(Peer::Shoal { shards: 1 });
    let mut command = Command::new(script);
    command.arg(binary).arg(dir.path()).env("SHOAL_DEB_COMPRESSION", "none");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}

fn said(output: &Output) -> String {
    let text = [&output.stdout[..], b"\n", &output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}

#[test]
fn a_package_has_everything_in_its_place() {
    if !has("dpkg-deb", "the package") {
        return;
    }
    let dir = Arc::new(TempDir::new());
    let package = build(&dir);
    let root = dir.path().join("root");
    let unpacked = Command::new("dpkg-deb").arg("-x").arg(&package).arg(&root).status().unwrap();
    assert!(unpacked.success());
    for daemon in ["nsqd", "nsqlookupd", "nsqadmin"] {
        for path in [
            format!("usr/bin/{daemon}"),
            format!("usr/share/man/man1/{daemon}.1.gz"),
            format!("usr/share/bash-completion/completions/{daemon}"),
            format!("lib/systemd/system/{daemon}.service"),
            format!("etc/shoal/{daemon}.toml"),
        ] {
            assert!(root.join(&path).exists(), "{path}");
        }
        let flag = format!("--config={}", root.join(format!("etc/shoal/{daemon}.toml")).display());
        let mut command = Command::new(root.join("usr/bin").join(daemon));
        let printed = command.args([&flag, "--print-config"]).output().unwrap();
        assert!(printed.status.success(), "{daemon}: {}", said(&printed));
        assert!(!said(&printed).contains("is no setting"), "{}", said(&printed));
    }
    let info = Command::new("dpkg-deb").arg("-I").arg(&package).output().unwrap();
    for part in ["Package: shoal", "Depends: libc6", "conffiles"] {
        assert!(said(&info).contains(part), "{part}: {}", said(&info));
    }
    let data = TempDir::new();
    let mut command = Command::new(root.join("usr/bin/nsqd"));
    command.args(Broker::flags(&["--shards=1"], &data));
    let broker = Broker::spawn(command, Arc::new(data));
    Client::new(&broker).alive();
    broker.stop();
}

/// On a layer above this machine's files, which takes all changes and is gone with the test.
#[test]
fn a_package_is_installed_started_and_removed() {
    let test = "installing the package";
    if !has("dpkg", test) || !has("unshare", test) {
        return;
    }
    if !is_root() {
        return eprintln!("skipped: {test}: only root may");
    }
    let dir = TempDir::new();
    let package = build(&dir);
    let script = fs::canonicalize(packaging().join("debian/try")).unwrap();
    let mut command = Command::new("unshare");
    command.args(["--mount", "--pid", "--fork", "--net", "--kill-child"]).arg(script).arg(package);
    command.stdin(Stdio::null());
    let output = command.output().unwrap();
    match output.status.code() {
        Some(0) => {}
        Some(77) => eprintln!("skipped: {test}: {}", said(&output)),
        _ => panic!("{}", said(&output)),
    }
}
