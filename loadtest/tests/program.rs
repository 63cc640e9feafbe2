//! The program, run as its users run it, against a small broker that may lie: every lie has to be
//! caught, and every end of the program has its own code.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

mod liar;

use std::io::Read;
use std::net::SocketAddr;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use liar::{Liar, Lie};
use serde_json::Value;

/// Few enough messages for a broker of threads, enough for every lie.
const SHORT: [&str; 4] = ["--rate=2k", "--duration=0.3", "--warmup=0", "--json"];

fn command(address: SocketAddr, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    // Nobody answers there: the version of the broker is then unknown.
    let http = "--http-address=127.0.0.1:1";
    command.args(arguments).arg(format!("--tcp-address={address}")).arg(http);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn loadtest(address: SocketAddr, arguments: &[&str]) -> Output {
    command(address, arguments).output().unwrap()
}

/// The code it ended with, and what it said as JSON.
fn json(output: &Output) -> (i32, Value) {
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    let value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}{errors}"));
    (output.status.code().unwrap(), value)
}

/// The only report of a run against a broker that tells this lie, and the code.
fn lied_to(lie: Lie, arguments: &[&str]) -> (i32, Value) {
    let liar = Liar::start(lie);
    let (code, value) = json(&loadtest(liar.address, &[arguments, &SHORT].concat()));
    (code, value["reports"][0].clone())
}

fn fault(report: &Value, name: &str) -> u64 {
    report["verification"][name].as_u64().unwrap()
}

#[test]
fn an_honest_broker_is_found_honest() {
    for mode in [
        &["e2e"][..],
        &["e2e", "--batch=7", "--size=24-900"],
        &["e2e", "--channels=3", "--consumers=5", "--rdy=3"],
        &["e2e", "--no-verify"],
    ] {
        let (code, report) = lied_to(Lie::None, mode);
        assert_eq!(code, 0, "{mode:?}: {report}");
        for name in ["lost", "duplicated", "corrupt", "foreign", "misrouted"] {
            assert_eq!(fault(&report, name), 0, "{mode:?}: {report}");
        }
        let channels = if mode.contains(&"--channels=3") { 3 } else { 1 };
        let published = report["total_published"].as_u64().unwrap();
        assert!(published >= 600, "{report}");
        assert_eq!(fault(&report, "expected"), published * channels, "{mode:?}: {report}");
        assert_eq!(report["ending"], "complete");
    }
}

#[test]
fn lost_messages_are_counted() {
    for mode in [&["e2e"][..], &["e2e", "--no-verify"]] {
        let (code, report) = lied_to(Lie::Lose(100), mode);
        let published = report["total_published"].as_u64().unwrap();
        assert_eq!((code, fault(&report, "lost")), (1, published / 100), "{report}");
        assert_eq!(fault(&report, "duplicated") + fault(&report, "corrupt"), 0, "{report}");
    }
}

#[test]
fn repeated_messages_are_counted() {
    let (code, report) = lied_to(Lie::Repeat(50), &["e2e"]);
    let published = report["total_published"].as_u64().unwrap();
    assert_eq!((code, fault(&report, "duplicated")), (1, published / 50), "{report}");
    assert_eq!(fault(&report, "lost") + fault(&report, "redelivered"), 0, "{report}");
}

#[test]
fn corrupt_messages_are_counted_and_missed() {
    for lie in [Lie::Corrupt(100), Lie::Cut(100)] {
        let (code, report) = lied_to(lie, &["e2e"]);
        let wrong = report["total_published"].as_u64().unwrap() / 100;
        assert_eq!((code, fault(&report, "corrupt")), (1, wrong), "{lie:?}: {report}");
        assert_eq!(fault(&report, "lost"), wrong, "{lie:?}: {report}");
    }
}

#[test]
fn messages_of_nobody_and_on_the_wrong_topic_are_counted() {
    let (code, report) = lied_to(Lie::Invent(100), &["e2e"]);
    assert!(code == 1 && fault(&report, "foreign") > 0, "{report}");
    assert_eq!(fault(&report, "lost"), 0, "{report}");
    let (code, report) = lied_to(Lie::Misroute(100), &["e2e", "--topics=2"]);
    assert!(code == 1 && fault(&report, "misrouted") > 0, "{report}");
}

#[test]
fn a_backlog_is_verified_too() {
    let drain = |lie| {
        let liar = Liar::start(lie);
        json(&loadtest(liar.address, &["sub", "--count=3000", "--connections=2", "--json"]))
    };
    let (code, value) = drain(Lie::None);
    assert_eq!((code, fault(&value["reports"][0], "expected")), (0, 3000), "{value}");
    let (code, value) = drain(Lie::Lose(1000));
    assert_eq!((code, fault(&value["reports"][0], "lost")), (1, 3), "{value}");
}

#[test]
fn soaking_survives_requeues_and_consumers_that_come_and_go() {
    let torment = ["soak", "--requeue-every=10", "--reconnect-every=0.05"];
    let (code, report) = lied_to(Lie::None, &torment);
    assert_eq!(code, 0, "{report}");
    assert!(fault(&report, "redelivered") >= 60, "{report}");
    assert!(report["reconnects"].as_u64().unwrap() > 0, "{report}");
    let (code, report) = lied_to(Lie::Lose(100), &torment);
    assert!(code == 1 && fault(&report, "lost") > 0, "{report}");
}

#[test]
fn thresholds_end_with_99() {
    let liar = Liar::start(Lie::None);
    for (threshold, code) in [
        ("p99>100s", 0),
        ("lost>0", 0),
        ("rate<1", 0),
        ("p50>1ns", 99),
        ("confirm:max>=1ns", 99),
        ("rate<1M", 99),
        // Nobody said which process the broker is.
        ("broker-cpu>1s", 99),
    ] {
        let fail_if = format!("--fail-if={threshold}");
        let output = loadtest(liar.address, &[&["e2e", &fail_if][..], &SHORT].concat());
        let (ended, value) = json(&output);
        assert_eq!(ended, code, "{threshold}: {value}");
        let verdict = &value["thresholds"][0];
        assert_eq!(verdict["fail_if"], threshold);
        assert_eq!(verdict["failed"], code == 99);
        assert_eq!(value["exit_code"], code);
    }
    // What is worse comes first.
    let (code, _) = lied_to(Lie::Lose(100), &["e2e", "--fail-if=p50>1ns"]);
    assert_eq!(code, 1);
}

#[test]
fn wrong_calls_end_with_2_and_say_why() {
    for (arguments, word) in [
        (&["e2e", "--fail-if=p98>5ms"][..], "p98"),
        (&["e2e", "--rate=0"], "rate"),
        (&["pub", "--deflate=11"], "11"),
        (&["nonsense"], "nonsense"),
        (&["pub", "--snappy", "--deflate"], "--deflate"),
    ] {
        let output = loadtest("127.0.0.1:1".parse().unwrap(), arguments);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{errors}");
        assert!(errors.contains(word), "{errors}");
    }
}

#[test]
fn what_cannot_be_run_ends_with_1_and_says_why() {
    let liar = Liar::start(Lie::None);
    for (address, arguments, word) in [
        ("127.0.0.1:1".parse().unwrap(), &["pub"][..], "127.0.0.1:1"),
        (liar.address, &["pub", "--size=9"], "24 bytes"),
        (liar.address, &["e2e", "--channels=2", "--consumers=1"], "without a consumer"),
        (liar.address, &["pub", "--broker-pid=4194304"], "4194304"),
        (liar.address, &["pub", "--tls", "--tls-ca=/nonexistent"], "/nonexistent"),
        (liar.address, &["sub", "--topics=2"], "one topic"),
    ] {
        let output = loadtest(address, arguments);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {errors}");
        assert!(errors.contains(word), "{arguments:?}: {errors}");
    }
}

#[test]
fn a_broker_that_refuses_or_leaves_ends_the_run_with_what_there_is() {
    for (lie, word) in [(Lie::Refuse(200), "E_PUB_FAILED disk full"), (Lie::Close(200), "closed")] {
        let (code, report) = lied_to(lie, &["e2e"]);
        assert_eq!(code, 1, "{report}");
        assert!(report["ending"]["failed"].as_str().unwrap().contains(word), "{report}");
        assert!(report["total_published"].as_u64().unwrap() >= 100, "{report}");
        assert_eq!(fault(&report, "lost"), 0, "a run that was cut short loses nothing: {report}");
    }
}

fn interrupt(child: &Child) {
    // SAFETY: the child is ours and has not been waited for.
    assert_eq!(unsafe { libc::kill(child.id() as libc::pid_t, libc::SIGINT) }, 0);
}

/// Starts a run, and interrupts it once messages flow.
fn interrupted(liar: &Liar, arguments: &[&str]) -> Child {
    let child = command(liar.address, arguments).spawn().unwrap();
    let begun = Instant::now();
    while liar.published() < 100 {
        assert!(begun.elapsed() < Duration::from_secs(20), "nothing is published");
        std::thread::sleep(Duration::from_millis(5));
    }
    interrupt(&child);
    child
}

#[test]
fn a_run_that_is_interrupted_while_it_fills_has_nothing_to_report() {
    let liar = Liar::start(Lie::None);
    let output = interrupted(&liar, &["sub", "--count=1000000000"]).wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "loadtest: interrupted\n");
}

#[test]
fn an_interrupted_run_reports_what_it_has() {
    let liar = Liar::start(Lie::None);
    let arguments = ["e2e", "--duration=600", "--rate=1k", "--warmup=0", "--json"];
    let mut child = interrupted(&liar, &arguments);
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let value: Value = serde_json::from_str(&text).unwrap();
    let report = &value["reports"][0];
    assert_eq!(report["ending"], "interrupted", "{report}");
    assert!(report["messages"].as_u64().unwrap() >= 90, "{report}");
    assert!(report["latency"]["count"].as_u64().unwrap() >= 90, "{report}");
    assert_eq!(fault(report, "lost"), 0);
}

#[test]
fn counts_bound_a_run() {
    let liar = Liar::start(Lie::None);
    let run = |arguments: &[&str]| {
        let bound = ["--count=500", "--duration=600", "--warmup=0", "--json"];
        let (code, value) = json(&loadtest(liar.address, &[arguments, &bound].concat()));
        assert_eq!(code, 0, "{value}");
        value["reports"][0]["total_published"].as_u64().unwrap()
    };
    assert_eq!(run(&["pub", "--rate=5k"]), 500);
    assert_eq!(run(&["e2e", "--rate=max"]), 500);
    // Whole batches only.
    assert_eq!(run(&["mpub", "--rate=max", "--batch=300"]), 600);
}

#[test]
fn json_tells_where_and_how_it_was_measured() {
    let liar = Liar::start(Lie::None);
    let pid = format!("--broker-pid={}", std::process::id());
    let (code, value) = json(&loadtest(liar.address, &[&["e2e", &pid][..], &SHORT].concat()));
    assert_eq!(code, 0);
    assert_eq!(value["program"], "loadtest");
    assert_eq!(value["command"][0], "e2e");
    let mut missing = Vec::new();
    for path in [
        "/version",
        "/started_at",
        "/host/host",
        "/host/kernel",
        "/host/cpu",
        "/host/commit",
        "/broker/tcp_address",
    ] {
        let found =
            value.pointer(path).and_then(Value::as_str).is_some_and(|text| !text.is_empty());
        missing.extend((!found).then_some(path));
    }
    for path in [
        "/host/cores",
        "/host/memory_mib",
        "/broker/pid",
        "/reports/0/rate",
        "/reports/0/rate_asked",
        "/reports/0/seconds",
        "/reports/0/messages",
        "/reports/0/driver_cpu_seconds",
        "/reports/0/broker_cpu_seconds",
        "/reports/0/broker_us_per_message",
        "/reports/0/broker_memory/rss_bytes",
        "/reports/0/latency/p50_us",
        "/reports/0/latency/p99_us",
        "/reports/0/latency/max_us",
        "/reports/0/confirmed/p99_us",
        "/reports/0/late/p99_us",
    ] {
        let found = value.pointer(path).and_then(Value::as_f64).is_some_and(|number| number > 0.0);
        missing.extend((!found).then_some(path));
    }
    assert!(missing.is_empty(), "{missing:?} in {value}");
    let report = &value["reports"][0];
    assert_eq!((&report["mode"], &report["open_loop"]), (&"e2e".into(), &true.into()));
    assert!(["broker", "driver", "both", "neither"].iter().any(|one| report["limited_by"] == *one));
}

#[test]
fn tables_name_the_loop_and_hdr_files_hold_every_message() {
    let liar = Liar::start(Lie::None);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("latencies.hgrm");
    let hdr = format!("--hdr={}", path.display());
    let output = loadtest(liar.address, &["e2e", "--rate=max", "--count=400", "--warmup=0", &hdr]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    assert!(text.contains("closed loop") && text.contains("not comparable"), "{text}");
    assert!(output.stderr.is_empty(), "there is no terminal, so there is no bar");
    for path in [path.clone(), folder.path().join("latencies.hgrm.confirm")] {
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.starts_with("       Value     Percentile TotalCount"), "{text}");
        assert!(text.contains("Total count    =          400]"), "{text}");
    }
    let open = loadtest(liar.address, &["e2e", "--rate=2k", "--duration=0.2", "--warmup=0"]);
    let text = String::from_utf8(open.stdout).unwrap();
    assert!(text.contains("open loop, 2000 messages/s asked for"), "{text}");
    assert!(text.contains("none lost, repeated or corrupt"), "{text}");
}

#[test]
fn without_arguments_there_are_two_numbers() {
    let liar = Liar::start(Lie::None);
    let output = loadtest(liar.address, &["--duration=0.3", "--warmup=0"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(lines[0].starts_with("throughput ") && lines[0].contains("messages/s"), "{text}");
    assert!(lines[1].starts_with("latency ") && lines[1].contains(" ms "), "{text}");
}

#[test]
fn connections_are_opened_and_counted() {
    let liar = Liar::start(Lie::None);
    let pid = format!("--broker-pid={}", std::process::id());
    for extra in [&[][..], &["--subscribe"]] {
        let arguments = ["connections", "--count=50", "--duration=0.1", "--warmup=0", "--json"];
        let all = [&arguments[..], &[pid.as_str()], extra].concat();
        let (code, value) = json(&loadtest(liar.address, &all));
        assert_eq!(code, 0, "{value}");
        let idle = &value["reports"][0]["idle"];
        assert_eq!((&idle["opened"], &idle["closed"]), (&50.into(), &0.into()), "{idle}");
        assert!(idle["rss_bytes_per_connection"].is_number(), "{idle}");
        assert!(idle["cpu_share"].is_number(), "{idle}");
    }
}
