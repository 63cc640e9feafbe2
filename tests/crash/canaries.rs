//! What the ledger has to catch, so that its silence means something.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use super::ledger::{Answer, Key, Ledger, body, parse};
use super::random::Random;
use super::report::{Report, Rules};
use crate::harness::{Broker, Client, Frame, on_each_peer, publish};

const KEY: Key = Key { producer: 7, sequence: 41 };

/// A ledger of two topics, and a body that was acknowledged on `t`.
fn acknowledged() -> (Ledger, Vec<u8>) {
    let ledger = Ledger::default();
    for (topic, channel) in [("t", "a"), ("t", "b"), ("u", "a")] {
        ledger.channel(topic, channel);
    }
    let body = body(KEY, 20, &mut Random::new(1));
    let key = ledger.sent("t", &body, None);
    ledger.answered(&[key], Answer::Acknowledged);
    (ledger, body)
}

/// It comes out of a channel and is finished.
fn take(ledger: &Ledger, channel: &str, body: &[u8]) {
    let receipt = ledger.delivered("t", channel, 1, body).unwrap();
    ledger.finished(&receipt);
}

/// What is wrong, by the names of the report.
fn wrong(ledger: &Ledger) -> Vec<String> {
    let violations = ledger.report(Rules::STRICT).violations();
    violations.iter().map(|text| text.split(':').next().unwrap().to_string()).collect()
}

#[test]
fn nothing_is_wrong() {
    let (ledger, body) = acknowledged();
    assert_eq!(parse(&body).unwrap().0, KEY);
    take(&ledger, "a", &body);
    // A requeue is a reason to come again, and so is a FIN that the broker did not accept.
    let receipt = ledger.delivered("t", "b", 1, &body).unwrap();
    ledger.requeued(&receipt, Duration::ZERO);
    let receipt = ledger.delivered("t", "b", 2, &body).unwrap();
    ledger.finished(&receipt);
    ledger.void(&receipt);
    take(&ledger, "b", &body);
    let report = ledger.report(Rules::STRICT);
    report.assert_clean();
    assert_eq!((report.acknowledged, report.deliveries, report.redelivered), (1, 4, 2));
}

/// The consumer said FIN when the message had timed out and was on its way to it once more: that
/// FIN ended the second delivery, and what is said of that one is refused.
#[test]
fn a_fin_may_cross_a_delivery() {
    let (ledger, body) = acknowledged();
    take(&ledger, "a", &body);
    take(&ledger, "b", &body);
    let receipt = ledger.delivered("t", "b", 2, &body).unwrap();
    ledger.finished(&receipt);
    assert_eq!(wrong(&ledger), ["1 repeated"], "the second FIN was accepted");
    ledger.void(&receipt);
    assert_eq!(wrong(&ledger), [""; 0]);
}

/// Not when the broker died in between: then it is back, and has to be finished.
#[test]
fn nothing_crosses_a_kill() {
    let (ledger, body) = acknowledged();
    take(&ledger, "a", &body);
    take(&ledger, "b", &body);
    ledger.killed();
    ledger.delivered("t", "b", 2, &body).unwrap();
    assert_eq!(wrong(&ledger), ["1 lost"]);
}

/// An answer that is read when the broker is dead was sent before, and counts as old as that.
#[test]
fn an_answer_may_be_read_after_a_kill() {
    let ledger = Ledger::default();
    ledger.channel("t", "a");
    let key = ledger.sent("t", &body(KEY, 20, &mut Random::new(1)), None);
    ledger.killed();
    ledger.answered(&[key], Answer::Acknowledged);
    let rules = |loses| Rules { loses, ..Rules::STRICT };
    assert!(ledger.report(rules(Some(Duration::from_secs(1)))).violations().is_empty());
    assert_eq!(ledger.report(rules(None)).violations().len(), 1);
}

#[test]
fn a_lost_message() {
    let (ledger, body) = acknowledged();
    take(&ledger, "a", &body);
    assert_eq!(wrong(&ledger), ["1 lost"]);
}

/// It came out once, was not finished, and never came again.
#[test]
fn a_message_lost_in_flight() {
    let (ledger, body) = acknowledged();
    take(&ledger, "a", &body);
    ledger.delivered("t", "b", 1, &body).unwrap();
    ledger.killed();
    assert_eq!(wrong(&ledger), ["1 lost"]);
}

/// What nobody answered for may be lost, and what was refused too.
#[test]
fn unknown_is_not_lost() {
    let (ledger, body) = acknowledged();
    ledger.answered(&[KEY], Answer::Unknown);
    assert!(wrong(&ledger).is_empty());
    ledger.answered(&[KEY], Answer::Refused);
    ledger.delivered("t", "b", 1, &body).unwrap();
    let report = ledger.report(Rules::STRICT);
    report.assert_clean();
    assert_eq!((report.refused, report.refused_delivered), (1, 1));
}

#[test]
fn every_flipped_bit() {
    let (ledger, body) = acknowledged();
    take(&ledger, "a", &body);
    take(&ledger, "b", &body);
    for bit in 0..body.len() * 8 {
        let mut flipped = body.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(ledger.delivered("t", "a", 1, &flipped).is_none(), "bit {bit}");
    }
    assert_eq!(wrong(&ledger), [format!("{} corrupt", body.len() * 8)]);
}

/// As it should be, but not what was sent under that number.
#[test]
fn an_exchanged_body() {
    let (ledger, sent) = acknowledged();
    take(&ledger, "a", &sent);
    take(&ledger, "b", &sent);
    let other = body(KEY, 20, &mut Random::new(2));
    assert!(ledger.delivered("t", "a", 1, &other).is_none());
    assert_eq!(wrong(&ledger), ["1 corrupt"]);
}

#[test]
fn an_invented_message() {
    let (ledger, sent) = acknowledged();
    take(&ledger, "a", &sent);
    take(&ledger, "b", &sent);
    let never = body(Key { sequence: 42, ..KEY }, 20, &mut Random::new(1));
    assert!(ledger.delivered("t", "a", 1, &never).is_none());
    assert_eq!(wrong(&ledger), ["1 invented"]);
}

/// On the wrong topic, on a channel that is not there, and on one channel instead of the other.
#[test]
fn a_crossed_message() {
    let (ledger, body) = acknowledged();
    take(&ledger, "a", &body);
    take(&ledger, "b", &body);
    assert!(ledger.delivered("u", "a", 1, &body).is_none());
    assert!(ledger.delivered("t", "c", 1, &body).is_none());
    assert_eq!(wrong(&ledger), ["2 crossed"]);
    let (ledger, body) = acknowledged();
    take(&ledger, "a", &body);
    take(&ledger, "a", &body);
    assert_eq!(wrong(&ledger), ["1 lost", "1 repeated"]);
}

/// Finished just before a kill it may come again; finished long before, or without a kill, not.
#[test]
fn a_finished_message_again() {
    let rules = Rules { forgets: Duration::from_millis(50), ..Rules::STRICT };
    let again = |wait: Duration, kills: bool| {
        let (ledger, body) = acknowledged();
        take(&ledger, "b", &body);
        take(&ledger, "a", &body);
        thread::sleep(wait);
        if kills {
            ledger.killed();
        }
        take(&ledger, "a", &body);
        ledger.report(rules)
    };
    let count = |report: &Report| (report.forgotten, report.repeated.len());
    assert_eq!(count(&again(Duration::ZERO, true)), (1, 0));
    assert_eq!(count(&again(Duration::ZERO, false)), (0, 1));
    assert_eq!(count(&again(Duration::from_millis(100), true)), (0, 1));
}

/// A FIN on a connection that the broker did not survive reaches nobody.
#[test]
fn a_message_finished_too_late() {
    let (ledger, body) = acknowledged();
    take(&ledger, "b", &body);
    let receipt = ledger.delivered("t", "a", 1, &body).unwrap();
    ledger.killed();
    ledger.finished(&receipt);
    assert_eq!(wrong(&ledger), ["1 lost"]);
    take(&ledger, "a", &body);
    assert!(wrong(&ledger).is_empty());
}

#[test]
fn too_early() {
    let (ledger, first) = acknowledged();
    take(&ledger, "a", &first);
    let receipt = ledger.delivered("t", "b", 1, &first).unwrap();
    ledger.requeued(&receipt, Duration::from_secs(3));
    take(&ledger, "b", &first);
    let deferred = body(Key { sequence: 42, ..KEY }, 20, &mut Random::new(1));
    ledger.sent("u", &deferred, Some(Duration::from_secs(3)));
    ledger.delivered("u", "a", 1, &deferred).unwrap();
    assert_eq!(wrong(&ledger), ["2 early"]);
}

#[test]
fn no_attempts() {
    let (ledger, body) = acknowledged();
    take(&ledger, "a", &body);
    let receipt = ledger.delivered("t", "b", 0, &body).unwrap();
    ledger.finished(&receipt);
    assert_eq!(wrong(&ledger), ["1 attempts 0"]);
}

/// Carries a consumer's connection, and keeps the message number `swallow` to itself: finishes it
/// in the consumer's name, as a broker would that loses messages.
fn proxy(broker: SocketAddr, swallow: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut server = TcpStream::connect(broker).unwrap();
        let (mut from_client, mut to_server) =
            (client.try_clone().unwrap(), server.try_clone().unwrap());
        thread::spawn(move || std::io::copy(&mut from_client, &mut to_server));
        let mut messages = 0;
        let mut head = [0; 4];
        while server.read_exact(&mut head).is_ok() {
            let mut frame = vec![0; u32::from_be_bytes(head) as usize];
            server.read_exact(&mut frame).unwrap();
            if frame[3] == 2 {
                messages += 1;
                if messages == swallow {
                    let id = String::from_utf8_lossy(&frame[14..30]).into_owned();
                    server.write_all(format!("FIN {id}\n").as_bytes()).unwrap();
                    continue;
                }
            }
            if client.write_all(&head).and_then(|()| client.write_all(&frame)).is_err() {
                return;
            }
        }
    });
    address
}

/// Over real sockets: one message that never arrives is one lost message, and which one.
#[test]
fn a_message_swallowed_on_the_way() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        let ledger = Ledger::default();
        ledger.channel("t", "c");
        let mut producer = Client::new(&broker);
        let mut consumer = Client::bare(proxy(broker.tcp, 6));
        consumer.send(b"  V2");
        consumer.subscribe("t", "c");
        consumer.command("RDY 1");
        let mut random = Random::new(3);
        for sequence in 0..10 {
            let body = body(Key { producer: 1, sequence }, 100, &mut random);
            let key = ledger.sent("t", &body, None);
            producer.send(&publish("t", &body));
            producer.ok();
            ledger.answered(&[key], Answer::Acknowledged);
        }
        while let Ok(Frame::Message(message)) = consumer.next(Duration::from_millis(500)) {
            let receipt = ledger.delivered("t", "c", message.attempts, &message.body).unwrap();
            ledger.finished(&receipt);
            consumer.fin(&message.id);
        }
        let lost = ledger.report(Rules::STRICT).lost;
        assert_eq!(lost.len(), 1, "{lost:?}");
        assert!(lost[0].contains("sequence: 5"), "{lost:?}");
    });
}
