//! Where settings come from, what a start checks and says, and the forms of the log.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::WHY;
use crate::harness::{Broker, Exit, Peer, SOON, TempDir, eventually, on_each_shoal, program};

const PROMPTLY: Duration = Duration::from_secs(10);

fn shoal(arguments: &[&str]) -> Command {
    let mut command = Command::new(program(Peer::Shoal { shards: 1 }));
    command.args(arguments);
    command
}

fn run(command: Command) -> Exit {
    Broker::run(command, PROMPTLY)
}

/// The line of a setting as `--print-config` shows it, with single blanks.
fn line(printed: &str, key: &str) -> String {
    let found = printed.lines().find(|line| line.split(' ').next() == Some(key));
    found.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn flags_beat_the_environment_and_that_beats_the_file() {
    let dir = TempDir::new();
    let file = dir.path().join("nsqd.cfg");
    let text = "max_rdy_count = 1\nmsg_timeout = \"1m30s\"\nnode_id = 3\nsnappy = false\n";
    std::fs::write(&file, text).unwrap();
    let mut command = shoal(&["nsqd", "--print-config", "--max-rdy-count=3"]);
    command.env("NSQD_CONFIG", &file);
    command.env("NSQD_MAX_RDY_COUNT", "2").env("NSQD_SNAPPY", "true").env("NSQD_TYPO", "x");
    command.env("NSQD_PORT_4150_TCP", "tcp://10.0.0.1:4150");
    let exit = run(command);
    assert_eq!(exit.status.code(), Some(0), "{}", exit.output);
    let shown = |key| line(&exit.output, key);
    let of_file = format!("# file {}", file.display());
    assert_eq!(shown("max_rdy_count"), "max_rdy_count = 3 # flag --max-rdy-count");
    assert_eq!(shown("snappy"), "snappy = true # environment NSQD_SNAPPY");
    assert_eq!(shown("msg_timeout"), format!("msg_timeout = \"1m30s\" {of_file}"));
    assert_eq!(shown("deflate"), "deflate = true # default");
    assert!(exit.output.contains("NSQD_TYPO is no setting"), "{}", exit.output);
    assert!(exit.output.contains("node_id is no setting"), "{}", exit.output);
    assert!(!exit.output.contains("NSQD_PORT"), "Kubernetes sets it: {}", exit.output);
}

/// What is printed is a file with which the program says the same again.
#[test]
fn what_is_printed_is_a_configuration_file() {
    for (name, flags) in [
        ("nsqd", &["--max-rdy-count=3", "--log-prefix=\"ü\\ "][..]),
        ("nsqlookupd", &["--tombstone-lifetime=7s"][..]),
        ("nsqadmin", &["--nsqd-http-address=127.0.0.1:1", "--base-path=x"][..]),
    ] {
        let dir = TempDir::new();
        let file = dir.path().join("config");
        let first = run(shoal(&[&[name, "--print-config"], flags].concat()));
        assert_eq!(first.status.code(), Some(0), "{}", first.output);
        std::fs::write(&file, &first.output).unwrap();
        let flag = format!("--config={}", file.display());
        let again = run(shoal(&[name, "--print-config", &flag]));
        let bare = |text: &str| -> Vec<String> {
            let lines = text.lines().filter(|line| !line.starts_with('#'));
            lines.map(|line| line.split(" # ").next().unwrap().trim().to_owned()).collect()
        };
        assert_eq!(bare(&first.output), bare(&again.output), "{name}");
    }
}

#[test]
fn a_wrong_variable_is_named() {
    for (name, variable) in [
        ("nsqd", "NSQD_MSG_TIMEOUT"),
        ("nsqlookupd", "NSQLOOKUPD_CLIENT_TIMEOUT"),
        ("nsqadmin", "NSQADMIN_STATSD_INTERVAL"),
    ] {
        let mut command = shoal(&[name]);
        command.env(variable, "5");
        let exit = run(command);
        assert_eq!(exit.status.code(), Some(1), "{}", exit.output);
        assert!(exit.output.contains(&format!("FATAL: the environment variable {variable}")));
    }
}

#[test]
fn a_broker_takes_its_variables() {
    on_each_shoal(WHY, |peer| {
        let dir = TempDir::new();
        let mut command = Broker::command(peer, &[], &dir);
        command
            .env("NSQD_MAX_RDY_COUNT", "7")
            .env("NSQD_LOOKUPD_TCP_ADDRESS", "127.0.0.1:1,[::1]:1");
        let broker = Broker::spawn(command, dir.into());
        assert_eq!(broker.request("GET", "/config/max_rdy_count", b"").text(), "7");
        let addresses = broker.request("GET", "/config/nsqlookupd_tcp_addresses", b"");
        assert_eq!(addresses.text(), r#"["127.0.0.1:1","[::1]:1"]"#);
    });
}

#[test]
fn a_check_says_the_plan_and_leaves_everything_as_it_was() {
    on_each_shoal(WHY, |peer| {
        let dir = TempDir::new();
        let exit = run(Broker::command(peer, &["--check", "--log-level=fatal"], &dir));
        assert_eq!(exit.status.code(), Some(0), "{}", exit.output);
        let path = format!("NSQ: data path {}", dir.path().display());
        for part in ["KERNEL: Linux", "SHARDS: ", "MEMORY: ", "LIMITS: ", &path, "TCP: bound to"] {
            assert!(exit.output.contains(part), "{part}: {}", exit.output);
        }
        let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
        let taken = Broker::start(peer, &[]);
        let flag = format!("--http-address={}", taken.http);
        let exit = run(Broker::command(peer, &["--check", &flag], &dir));
        assert_eq!(exit.status.code(), Some(1), "{}", exit.output);
        assert!(exit.output.contains("address already in use - stop what listens there"));
    });
}

#[test]
fn the_other_daemons_are_checked_too() {
    let taken = Broker::start(Peer::Shoal { shards: 1 }, &[]);
    let in_use = format!("--http-address={}", taken.http);
    let (free, missing) = ("--http-address=127.0.0.1:0", "/nowhere/cert.pem");
    let lookupd = &["nsqlookupd", "--check", "--log-level=fatal", "--tcp-address=127.0.0.1:0"];
    let admin = &["nsqadmin", "--check", "--log-level=fatal", "--nsqd-http-address=127.0.0.1:1"];
    let cert = format!("--tls-cert={missing}");
    let key = format!("--tls-key={missing}");
    let root = format!("--http-client-tls-root-ca-file={missing}");
    for (daemon, good, bad) in [
        (
            &lookupd[..],
            &["TCP: bound to 127.0.0.1:", "HTTP: bound to", "TLS: nsqds are not", "LIMITS: "][..],
            &[&cert, &key][..],
        ),
        (&admin[..], &["HTTP: bound to 127.0.0.1:", "NSQD: to be asked: 127.0.0.1:1"], &[&root]),
    ] {
        let exit = run(shoal(&[daemon, &[free]].concat()));
        assert_eq!(exit.status.code(), Some(0), "{}", exit.output);
        for part in good {
            assert!(exit.output.contains(part), "{part}: {}", exit.output);
        }
        let exit = run(shoal(&[daemon, &[in_use.as_str()]].concat()));
        assert_eq!(exit.status.code(), Some(1), "{}", exit.output);
        assert!(exit.output.contains("address already in use"), "{}", exit.output);
        let bad: Vec<&str> = bad.iter().map(|flag| flag.as_str()).collect();
        let exit = run(shoal(&[daemon, &[free], &bad].concat()));
        assert_eq!(exit.status.code(), Some(1), "{}", exit.output);
        assert!(exit.output.contains(missing), "{}", exit.output);
    }
}

#[test]
fn a_start_says_what_it_found_and_a_fatal_line_what_helps() {
    on_each_shoal(WHY, |peer| {
        let broker = Broker::start(peer, &[]);
        eventually("it is ready", SOON, || broker.log_line("ready in ").is_some());
        for part in ["nsqd v1.3.0", "KERNEL: Linux", "SHARDS: ", "LIMITS: ", "NSQ: data path"] {
            assert!(broker.log_line(part).is_some(), "{part}");
        }
        for (flag, help) in [
            ("--data-path=/no/such/place", "no such file or directory - create it"),
            ("--config=/no/such/file", "no such file or directory - create it"),
            ("--tcp-address=192.0.2.1:1", "cannot assign requested address - set an address"),
            ("--tls-cert=/dev/null", "failed to build TLS config"),
        ] {
            let exit = run(Broker::command(peer, &[flag], &TempDir::new()));
            assert_eq!(exit.status.code(), Some(1), "{}", exit.output);
            let fatal = exit.output.lines().find(|line| line.contains("FATAL: ")).unwrap();
            assert!(fatal.contains(help), "{fatal}");
        }
        let dir = broker.dir();
        let exit = run(Broker::command(peer, &[], &dir));
        assert!(exit.output.contains("another instance of nsqd) - stop that one"));
    });
}

#[test]
fn the_log_may_be_json() {
    on_each_shoal(WHY, |peer| {
        let dir = TempDir::new();
        let flags = ["--log-format=json", "--log-level=debug", "--node-id=5"];
        let mut command = Broker::command(peer, &flags, &dir);
        command.args(["--tcp-address=127.0.0.1:0", "--max-rdy-count=1"]);
        let mut child = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
        let mut log = std::io::BufReader::new(child.stderr.take().unwrap());
        let mut lines = Vec::new();
        loop {
            let mut text = String::new();
            assert!(std::io::BufRead::read_line(&mut log, &mut text).unwrap() > 0, "{lines:?}");
            let line: Value = serde_json::from_str(&text).unwrap();
            assert!(["debug", "info", "warn"].contains(&line["level"].as_str().unwrap()));
            let time = line["time"].as_str().unwrap();
            assert_eq!((time.as_bytes()[10], time.len()), (b'T', 32), "{time}");
            lines.push(line["message"].as_str().unwrap().to_owned());
            if lines.last().unwrap().starts_with("ready in ") {
                break;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(lines.iter().any(|line| line == "ID: 5"), "{lines:?}");
        let exit = run(Broker::command(peer, &["--log-format=xml"], &dir));
        assert_eq!(exit.status.code(), Some(1));
        assert!(exit.output.contains("--log-format must be text or json"), "{}", exit.output);
    });
}
