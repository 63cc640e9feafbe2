//! Heartbeats and read deadlines: sent on time, never early; silence ends the connection.

use std::time::{Duration, Instant};

use crate::harness::{Broker, Client, End, Frame, at_once, bytes, identify, on_each_peer};

const SECOND: Duration = Duration::from_secs(1);
/// Timers may be late on a busy machine, but must not be early by more than their rounding.
const ROUNDING: Duration = Duration::from_millis(30);
const SLACK: Duration = Duration::from_secs(3);

fn connect(broker: &Broker, json: &str) -> (Client, Instant) {
    let mut client = Client::new(broker);
    let start = Instant::now();
    client.send(&identify(json));
    client.ok();
    (client, start)
}

fn is_heartbeat(frame: &Frame) -> bool {
    *frame == Frame::Response(b"_heartbeat_".to_vec())
}

#[track_caller]
fn assert_between(elapsed: Duration, from: Duration, to: Duration) {
    assert!(elapsed + ROUNDING >= from && elapsed <= to, "{elapsed:?} not in {from:?}..{to:?}");
}

/// One heartbeat a second, closed after two seconds of silence.
fn mute_client(broker: &Broker) {
    let (mut client, start) = connect(broker, r#"{"heartbeat_interval":1000}"#);
    assert!(is_heartbeat(&client.frame()));
    assert_between(start.elapsed(), SECOND, SECOND + SLACK);
    loop {
        match client.next(SLACK * 2) {
            Ok(frame) => assert!(is_heartbeat(&frame), "{frame:?}"),
            Err(end) => {
                assert_eq!(end, End::Closed);
                break;
            }
        }
    }
    assert_between(start.elapsed(), SECOND * 2, SECOND * 2 + SLACK);
}

/// Any command is a sign of life, and heartbeats come whatever else is sent.
fn talking_client(broker: &Broker, command: &[u8], answered: bool) {
    let (mut client, start) = connect(broker, r#"{"heartbeat_interval":1000}"#);
    let mut beats = Vec::new();
    let mut last_sent = start;
    while start.elapsed() < SECOND * 5 {
        if last_sent.elapsed() > SECOND {
            client.send(command);
            last_sent = Instant::now();
        }
        match client.next(Duration::from_millis(100)) {
            Ok(frame) if is_heartbeat(&frame) => beats.push(start.elapsed()),
            Ok(frame) => assert!(answered, "{frame:?}"),
            Err(end) => assert_eq!(end, End::Silent),
        }
    }
    assert!((3..=5).contains(&beats.len()), "heartbeats at {beats:?}");
    for (number, beat) in (1..).zip(&beats) {
        assert!(*beat + ROUNDING >= SECOND * number, "heartbeat {number} early: {beats:?}");
    }
}

/// A body that does not come is an error after two intervals.
fn stalled_body(broker: &Broker, part: &str, error: &str) {
    let (mut client, start) = connect(broker, r#"{"heartbeat_interval":1000}"#);
    client.send(&bytes(part));
    let frame = loop {
        let frame = client.next(SLACK * 3).unwrap();
        if !is_heartbeat(&frame) {
            break frame;
        }
    };
    assert_eq!(frame.describe(), format!("error: {error}"));
    // The second heartbeat is due at the same moment.
    while let Ok(frame) = client.next(SLACK) {
        assert!(is_heartbeat(&frame), "{frame:?}");
    }
    assert_between(start.elapsed(), SECOND * 2, SECOND * 2 + SLACK);
}

/// A line that is never ended does not hold the connection open either, but is no error.
fn stalled_line(broker: &Broker) {
    let (mut client, start) = connect(broker, r#"{"heartbeat_interval":1000}"#);
    client.send(b"PUB stalled");
    while let Ok(frame) = client.next(SLACK * 3) {
        assert!(is_heartbeat(&frame), "{frame:?}");
    }
    assert_between(start.elapsed(), SECOND * 2, SECOND * 2 + SLACK);
}

/// Bytes that trickle in do not extend the deadline of their command.
fn trickling_body(broker: &Broker) {
    let (mut client, start) = connect(broker, r#"{"heartbeat_interval":1000}"#);
    client.send(&bytes("PUB trickle\n<00000064>"));
    while client.try_send(b"x") {
        assert!(start.elapsed() < SECOND * 2 + SLACK, "still open after {:?}", start.elapsed());
        match client.next(Duration::from_millis(200)) {
            Ok(Frame::Error(_)) | Err(End::Closed) => break,
            Ok(_) | Err(End::Silent) => {}
        }
    }
    assert_between(start.elapsed(), SECOND * 2, SECOND * 2 + SLACK);
}

/// Off means off: no heartbeats, no deadline.
fn heartbeats_off(broker: &Broker) {
    let (mut client, _) = connect(broker, r#"{"heartbeat_interval":-1}"#);
    client.silent(SECOND * 4);
    client.alive();
    client.command("SUB t c");
    client.expect("error: E_INVALID cannot SUB with heartbeats disabled");
    client.closed();
}

/// The default is thirty seconds: nothing before, and a client that never says anything but its
/// magic stays connected.
fn default_interval(broker: &Broker) {
    let mut client = Client::new(broker);
    let start = Instant::now();
    let beat = client.next(SECOND * 30 + SLACK).unwrap();
    assert!(is_heartbeat(&beat), "{beat:?}");
    assert_between(start.elapsed(), SECOND * 30, SECOND * 30 + SLACK);
    client.alive();
}

/// Consumers get them too, and a consumer that finishes messages needs no NOP.
fn consumer(broker: &Broker) {
    let (mut client, start) = connect(broker, r#"{"heartbeat_interval":1000}"#);
    client.subscribe("beating", "c");
    client.command("RDY 1");
    Client::new(broker).publish("beating", b"x");
    let mut id = client.message().id;
    let mut attempts = 1;
    while start.elapsed() < SECOND * 4 {
        let frame = client.frame();
        assert!(is_heartbeat(&frame), "{frame:?}");
        client.req(&id, 0);
        attempts += 1;
        id = client.delivery("x", attempts);
    }
    assert!(attempts >= 4, "{attempts} attempts, one for each heartbeat");
}

#[test]
fn on_time() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        at_once(&[
            &|| mute_client(&broker),
            &|| talking_client(&broker, b"NOP\n", false),
            &|| talking_client(&broker, b"PUB t\n\0\0\0\x01x", true),
            &|| stalled_body(&broker, "PUB t\n", PUB_SIZE),
            &|| stalled_body(&broker, "PUB t\n<00000005>hel", PUB_BODY),
            &|| stalled_body(&broker, "MPUB t\n<0000000900000001>", MPUB_SIZE),
            &|| stalled_body(&broker, "IDENTIFY\n<00000009>{", IDENTIFY_BODY),
            &|| stalled_line(&broker),
            &|| trickling_body(&broker),
            &|| heartbeats_off(&broker),
            &|| default_interval(&broker),
            &|| consumer(&broker),
        ]);
    });
}

const PUB_SIZE: &str = "E_BAD_MESSAGE PUB failed to read message body size";
const PUB_BODY: &str = "E_BAD_MESSAGE PUB failed to read message body";
const MPUB_SIZE: &str = "E_BAD_MESSAGE MPUB failed to read message(0) body size";
const IDENTIFY_BODY: &str = "E_BAD_BODY IDENTIFY failed to read body";
