//! The load generator against real brokers: whatever it verifies has to hold there, over plain
//! connections and over wrapped ones.

#[cfg(test)]
mod wrapped;

use std::sync::Arc;
use std::time::Duration;

use ::loadtest::body::{Bodies, Sizes};
use ::loadtest::connections::{self, Connections};
use ::loadtest::exchange::{self, Consuming, Exchange, Pace, Publishing};
use ::loadtest::producer::Request;
use ::loadtest::report::Ending;
use ::loadtest::watch::Nobody;
use ::loadtest::{Report, Target, Timing, broker_stats, consumer, setup};

use crate::harness::{Broker, Peer, on_each_peer};

/// Short: nothing is measured here.
const TIMING: Timing = Timing { warmup: Duration::ZERO, window: Duration::from_millis(300) };

const OPEN: Pace = Pace::Rate { per_second: 2000.0, spin: false };

const CLOSED: Pace = Pace::Closed { in_flight: 16, outstanding_max: 1000 };

fn target(broker: &Broker) -> Target {
    let plain = Target::plain(broker.tcp, broker.http, "load");
    Target { broker_pid: Some(broker.pid()), ..plain }
}

fn publishing(request: Request, pace: Pace) -> Publishing {
    Publishing { request, connections: 2, pace }
}

fn consuming(connections: usize) -> Consuming {
    Consuming { connections, rdy: 50, requeue_every: None, renew_every: None }
}

fn exchange(publish: Publishing, consume: Option<Consuming>) -> Exchange {
    let bodies = Arc::new(Bodies::new(Sizes::Range(24, 2000), true).unwrap());
    let publish = Some(publish);
    Exchange { publish, consume, bodies, backlog: 0, timing: TIMING, count: 5000 }
}

/// Runs it; everything has to come, once, and as it was sent.
#[track_caller]
fn run(target: &Target, shape: &Exchange) -> Report {
    let report = exchange::run("test", target, shape, &mut Nobody).unwrap();
    assert_eq!(report.ending, Ending::Complete, "{report}");
    assert!(report.is_sound(), "{report}");
    if let Some(publish) = shape.publish {
        let least = publish.request.messages();
        assert!(report.total_published >= least, "{report}");
    }
    if let Some(found) = report.verification {
        let copies = target.channels as u64;
        assert_eq!(found.expected, (report.total_published + shape.backlog) * copies, "{report}");
    }
    report
}

#[test]
fn everything_comes_once_on_each_channel() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        let target = Target { channels: 3, ..target(&broker) };
        for request in [Request::Pub, Request::Mpub(7), Request::Http] {
            for pace in [OPEN, CLOSED] {
                let report = run(&target, &exchange(publishing(request, pace), Some(consuming(4))));
                let latency = report.latency.unwrap();
                assert!(latency.count > 0 && latency.max_us > 0.0, "{report}");
                assert_eq!(report.open_loop, report.late.is_some() && report.rate_asked.is_some());
            }
        }
    });
}

#[test]
fn many_topics_are_consumed_side_by_side() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        let target = Target { topics: 20, channels: 2, ..target(&broker) };
        setup::create_channels(&target).unwrap();
        let report = run(&target, &exchange(publishing(Request::Pub, CLOSED), Some(consuming(40))));
        let stats = broker_stats::totals(&target).unwrap();
        assert_eq!(stats.message_count, report.total_published);
    });
}

#[test]
fn a_backlog_is_drained_to_the_last_message() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        let target = target(&broker);
        consumer::create_channel(&target).unwrap();
        let bodies = Arc::new(Bodies::new(Sizes::Fixed(200), true).unwrap());
        let backlog = exchange::fill(&target, &bodies, 4321, &mut Nobody).unwrap();
        assert!(backlog >= 4321);
        broker_stats::wait_for_depth(&target, backlog).unwrap();
        let timing = Timing { warmup: Duration::ZERO, window: Duration::from_secs(60) };
        let consume = Some(consuming(2));
        let shape = Exchange { publish: None, consume, bodies, backlog, timing, count: 0 };
        run(&target, &shape);
        let stats = broker_stats::totals(&target).unwrap();
        let left = stats.channel_depth + stats.in_flight + stats.depth;
        assert_eq!((stats.message_count, left), (backlog, 0), "{stats:?}");
    });
}

#[test]
fn requeues_and_reconnects_lose_and_repeat_nothing() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        let tormented = Consuming {
            requeue_every: Some(10),
            renew_every: Some(Duration::from_millis(40)),
            ..consuming(3)
        };
        let report =
            run(&target(&broker), &exchange(publishing(Request::Pub, OPEN), Some(tormented)));
        let found = report.verification.unwrap();
        assert!(found.redelivered >= report.total_published / 10, "{report}");
        assert!(report.reconnects > 0, "{report}");
    });
}

#[test]
fn idle_connections_stay_open_and_are_weighed() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        for subscribe in [false, true] {
            let shape = Connections { count: 300, subscribe };
            let report = connections::run(&target(&broker), shape, TIMING, &mut Nobody).unwrap();
            let idle = report.idle.unwrap();
            assert_eq!((idle.opened, idle.closed), (300, 0), "{idle:?}");
            assert!(idle.rss_bytes.is_some() && idle.cpu_share.is_some(), "{idle:?}");
        }
    });
}

/// The broker says no in the middle of a run: that is reported, with what came before it.
#[test]
fn a_body_that_is_too_large_ends_the_run_with_the_brokers_words() {
    on_each_peer(|peer: Peer| {
        let broker = Broker::start(peer, &["--max-msg-size=1024"]);
        let shape = exchange(publishing(Request::Pub, OPEN), None);
        let report = exchange::run("test", &target(&broker), &shape, &mut Nobody).unwrap();
        let Ending::Failed(text) = &report.ending else { panic!("{report}") };
        assert!(text.contains("E_BAD_MESSAGE"), "{text}");
        assert!(!report.is_sound());
    });
}
