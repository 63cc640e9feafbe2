//! TOUCH: a new window from now on, but never beyond the longest that is allowed.

use std::time::{Duration, Instant};

use super::with_timeout;
use crate::harness::{Broker, Frame, Peer, assert_due, at_once, on_each_peer};

const SECOND: Duration = Duration::from_secs(1);

/// Touched in time, a message stays; untouched, it comes back a whole timeout later.
fn keeps(broker: &Broker, peer: Peer) {
    let mut client = with_timeout(broker, 3000, "kept c", 1);
    client.publish("kept", b"x");
    let id = client.delivery("x", 1);
    let mut last = Instant::now();
    for _ in 0..5 {
        client.silent(SECOND);
        last = Instant::now();
        client.touch(&id);
    }
    assert_eq!(broker.channel("kept", "c")["timeout_count"], 0);
    let again = client.message_within(SECOND * 3 + peer.late());
    assert_due(last, SECOND * 3, peer.late());
    assert_eq!((again.attempts, again.id), (2, id));
}

/// `--max-msg-timeout` after its delivery it comes back, touched or not.
fn capped(broker: &Broker, peer: Peer) {
    let mut client = with_timeout(broker, 2000, "capped c", 1);
    let start = Instant::now();
    client.publish("capped", b"x");
    let id = client.delivery("x", 1);
    loop {
        client.touch(&id);
        match client.next(Duration::from_millis(200)) {
            Ok(Frame::Message(message)) => {
                assert_eq!((message.attempts, message.id), (2, id));
                return assert_due(start, SECOND * 4, peer.late());
            }
            // Between the timeout and the next delivery nobody has it.
            Ok(Frame::Error(error)) => assert!(error.starts_with(b"E_TOUCH_FAILED")),
            Ok(frame) => panic!("{frame:?}"),
            Err(_) => assert!(start.elapsed() < SECOND * 4 + peer.late()),
        }
    }
}

/// Touching early does not shorten the time that is left.
fn early(broker: &Broker, peer: Peer) {
    let mut client = with_timeout(broker, 3000, "early c", 1);
    client.publish("early", b"x");
    let id = client.delivery("x", 1);
    let touched = Instant::now();
    for _ in 0..50 {
        client.touch(&id);
    }
    client.message_within(SECOND * 3 + peer.late());
    assert_due(touched, SECOND * 3, peer.late());
}

#[test]
fn touch() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &["--max-msg-timeout=4s"]);
        // A message in flight for longer than 4 s in all would fall to the cap.
        let uncapped = Broker::start(peer, &[]);
        at_once(&[&|| keeps(&uncapped, peer), &|| capped(&broker, peer), &|| early(&broker, peer)]);
    });
}
