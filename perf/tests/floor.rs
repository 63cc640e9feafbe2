//! Every mode of the load against the floor, which publishes and delivers exact counts, and
//! against a floor that loses or repeats messages: a load that does not notice proves nothing.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, Output};
use std::time::{Duration, Instant};

use loadtest::consume::{self, Consume};
use loadtest::flow::{self, Flow};
use loadtest::producer::{Publish, Request};
use loadtest::{Error, Report, Target, Timing, broker_stats, publish};

const TIMING: Timing =
    Timing { warmup: Duration::from_millis(20), window: Duration::from_millis(200) };

struct Floor {
    child: Child,
    target: Target,
}

impl Floor {
    fn start(arguments: &[&str]) -> Self {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let (one, other) = (TcpListener::bind(any).unwrap(), TcpListener::bind(any).unwrap());
        let (tcp, http) = (one.local_addr().unwrap(), other.local_addr().unwrap());
        drop((one, other));
        let child = Command::new(env!("CARGO_BIN_EXE_perf"))
            .arg("floor")
            .args([format!("--tcp-address={tcp}"), format!("--http-address={http}")])
            .args(arguments)
            .spawn()
            .unwrap();
        let target = Target { broker_pid: Some(child.id()), ..Target::plain(tcp, http, "t") };
        let floor = Self { child, target };
        let begun = Instant::now();
        while broker_stats::ping(&floor.target).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(10), "the floor does not answer");
            std::thread::sleep(Duration::from_millis(10));
        }
        floor
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn shape(request: Request, in_flight: usize) -> Publish {
    Publish { request, connections: 3, size: 100, in_flight, together: in_flight, stays: false }
}

fn steady() -> Flow {
    let publish = shape(Request::Mpub(7), 2);
    Flow { publish, consumers: 2, rdy: 50, outstanding_max: 500 }
}

fn drain(target: &Target, rdy: u32) -> loadtest::Result<Report> {
    let count = publish::fill(target, 10_000, 100)?;
    consume::run("sub", target, Consume { connections: 2, rdy, count }, Timing::WHOLE)
}

#[test]
fn publishing_counts_whole_requests_and_their_cost() {
    let floor = Floor::start(&[]);
    for (request, in_flight, unit) in [
        (Request::Mpub(7), 2, 7),
        (Request::Pub, 16, 1),
        (Request::Pub, 1, 1),
        (Request::Http, 1, 1),
    ] {
        let report = publish::run(&floor.target, shape(request, in_flight), TIMING).unwrap();
        assert!(report.published > 0, "{request:?}");
        assert_eq!(report.total_published % unit, 0, "{request:?}");
        assert!(report.total_published >= report.published);
        assert!(report.seconds >= 0.2 && report.seconds < 5.0, "{report:?}");
        assert!(report.broker_us_per_message.unwrap() > 0.0, "{report:?}");
    }
}

#[test]
fn a_drain_takes_everything_whatever_the_rdy() {
    for rdy in [1, 13, 2500] {
        let floor = Floor::start(&[]);
        let report = drain(&floor.target, rdy).unwrap();
        assert_eq!(report.received, 10_000);
    }
}

#[test]
fn large_batches_that_no_read_holds_whole_are_carried_over() {
    let floor = Floor::start(&[]);
    let large = Publish { size: 4096, ..shape(Request::Mpub(16), 2) };
    let report = publish::run(&floor.target, large, TIMING).unwrap();
    assert!(report.published > 0 && report.total_published.is_multiple_of(16));
}

#[test]
fn a_steady_flow_ends_in_balance() {
    let floor = Floor::start(&[]);
    let report = flow::run(&floor.target, steady(), TIMING).unwrap();
    assert!(report.received > 0);
    assert_eq!(report.total_published, report.total_received);
}

#[test]
fn requests_that_go_through_many_topics_are_whole() {
    let floor = Floor::start(&[]);
    let target = Target { topics: 7, ..floor.target.clone() };
    for request in [Request::Pub, Request::Mpub(3), Request::Http] {
        let report = publish::run(&target, shape(request, 16), TIMING).unwrap();
        assert!(report.published > 0, "{request:?}");
    }
}

#[test]
fn a_broker_that_does_not_copy_into_every_channel_is_noticed() {
    let floor = Floor::start(&[]);
    let of = |channels| Target { channels, ..floor.target.clone() };
    let without_consumer = flow::run(&of(3), steady(), TIMING);
    assert!(matches!(without_consumer, Err(Error::Unfit(_))), "{without_consumer:?}");
    let flow = flow::run(&of(2), steady(), TIMING);
    assert!(matches!(flow, Err(Error::Stalled(_))), "{flow:?}");
}

#[test]
fn a_broker_that_repeats_messages_is_noticed() {
    let floor = Floor::start(&["--repeat-every=1000"]);
    let flow = flow::run(&floor.target, steady(), TIMING);
    assert!(matches!(flow, Err(Error::Miscount(_))), "{flow:?}");
}

#[test]
fn a_broker_that_loses_messages_is_noticed() {
    let floor = Floor::start(&["--lose-every=1000"]);
    let drained = drain(&floor.target, 100);
    assert!(matches!(drained, Err(Error::Stalled(_))), "{drained:?}");
}

fn perf(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_perf")).args(arguments).output().unwrap()
}

#[test]
fn a_whole_comparison_prints_its_table_and_writes_its_lines() {
    let folder = std::env::temp_dir().join(format!("perf-test-{}", std::process::id()));
    let results = format!("--results={}", folder.display());
    let output = perf(&[
        "--without-shoal",
        "--floor",
        "--rounds=2",
        "--seconds=0.1",
        "--rows=mpub,sub,flow-mpub,rdy1,http",
        "--driver-core=0",
        "--warm-memory=64",
        &results,
    ]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("| MPUB of 200, backlog growing | – | – | – | 0."), "{text}");
    let file = std::fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path();
    let lines = std::fs::read_to_string(file).unwrap();
    assert_eq!(lines.lines().count(), 1 + 2 * 5, "{lines}");
    assert!(lines.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()));
    assert_eq!(lines.matches(r#""reserve_mib":64"#).count(), 2 * 5, "{lines}");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_broker_that_cannot_be_started_is_an_error_and_not_an_empty_table() {
    let output = perf(&["--shoal=/nonexistent/shoal", "--no-results"]);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("/nonexistent/shoal"));
    assert!(!perf(&["--rows=nothing"]).status.success());
}
