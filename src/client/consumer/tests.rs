//! A consumer against an nsqd played by the test, byte by byte.
//!
//! Why it must stay: what a tool has not done its work with must never be finished, and what is
//! finished must reach the nsqd before the connection ends.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use super::super::{Consumer, ConsumerOptions, Rest, Sources, Step, Subscription};

const ID: &str = "0123456789abcdef";
const LONG: Duration = Duration::from_secs(10);

/// The nsqd's side of one connection.
struct Nsqd {
    stream: BufReader<TcpStream>,
}

impl Nsqd {
    /// Waits for a consumer and greets it, saying `granted` to its IDENTIFY.
    fn accept(listener: &TcpListener, granted: &str) -> Nsqd {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        let mut nsqd = Nsqd { stream: BufReader::new(stream) };
        let mut magic = [0; 4];
        nsqd.stream.read_exact(&mut magic).unwrap();
        assert_eq!(&magic, b"  V2");
        nsqd.expect("IDENTIFY");
        nsqd.body();
        nsqd.send(0, granted.as_bytes());
        nsqd
    }

    fn subscribed(listener: &TcpListener) -> Nsqd {
        let mut nsqd = Nsqd::accept(listener, r#"{"max_rdy_count":2500}"#);
        nsqd.expect("SUB t c");
        nsqd.send(0, b"OK");
        nsqd
    }

    fn expect(&mut self, line: &str) {
        let mut got = String::new();
        self.stream.read_line(&mut got).unwrap();
        assert_eq!(got.trim_end_matches('\n'), line);
    }

    fn expect_end(&mut self) {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).unwrap();
        assert_eq!(rest.escape_ascii().to_string(), "");
    }

    fn body(&mut self) -> Vec<u8> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).unwrap();
        let mut body = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap()];
        self.stream.read_exact(&mut body).unwrap();
        body
    }

    fn send(&mut self, kind: u32, data: &[u8]) {
        let length = u32::try_from(data.len() + 4).unwrap().to_be_bytes();
        let frame = [&length, &kind.to_be_bytes(), data].concat();
        self.stream.get_mut().write_all(&frame).unwrap();
    }

    fn deliver(&mut self, attempts: u16, body: &str) {
        let data = [&[0; 8], &attempts.to_be_bytes()[..], ID.as_bytes(), body.as_bytes()].concat();
        self.send(2, &data);
    }
}

fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

fn start(listeners: &[&TcpListener], change: impl Fn(&mut ConsumerOptions)) -> Consumer {
    let addresses = listeners.iter().map(|one| one.local_addr().unwrap().to_string()).collect();
    let mut options = ConsumerOptions { max_in_flight: 5, ..ConsumerOptions::default() };
    change(&mut options);
    let subscription = Subscription { topic: "t".to_owned(), channel: "c".to_owned() };
    Consumer::start(vec![subscription], &Sources::Nsqds(addresses), options).unwrap()
}

/// Runs the nsqd's part beside the consumer's.
fn play<T: Send>(nsqd: impl FnOnce() -> T + Send, consumer: impl FnOnce()) -> T {
    std::thread::scope(|scope| {
        let nsqd = scope.spawn(nsqd);
        consumer();
        nsqd.join().unwrap()
    })
}

fn body_of(step: Step) -> String {
    match step {
        Step::Message(delivery) => {
            let body = String::from_utf8(delivery.message.body.clone()).unwrap();
            delivery.finish();
            body
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn messages_are_finished_when_the_tool_says_so_and_before_the_connection_ends() {
    let listener = listen();
    let mut consumer = start(&[&listener], |_| {});
    let stopper = consumer.stopper();
    let nsqd = || {
        let mut nsqd = Nsqd::subscribed(&listener);
        nsqd.expect("RDY 5");
        nsqd.send(0, b"_heartbeat_");
        nsqd.expect("NOP");
        nsqd.deliver(1, "one");
        nsqd.expect(&format!("FIN {ID}"));
        stopper.stop();
        nsqd.expect("CLS");
        // A message that was under way when the stop was asked for.
        nsqd.deliver(1, "two");
        nsqd.send(0, b"CLOSE_WAIT");
        nsqd.expect(&format!("FIN {ID}"));
        nsqd.expect_end();
    };
    play(nsqd, || {
        assert_eq!(body_of(consumer.next()), "one");
        assert!(matches!(consumer.next(), Step::Idle));
        consumer.flush();
        assert_eq!(body_of(consumer.next()), "two");
        assert!(matches!(consumer.next(), Step::Idle));
        assert!(matches!(consumer.next(), Step::Stopped));
    });
}

#[test]
fn what_comes_after_the_last_wanted_message_goes_back() {
    let listener = listen();
    let mut consumer = start(&[&listener], |_| {});
    let nsqd = || {
        let mut nsqd = Nsqd::subscribed(&listener);
        nsqd.expect("RDY 5");
        nsqd.deliver(1, "wanted");
        nsqd.deliver(1, "more");
        nsqd.expect(&format!("FIN {ID}"));
        nsqd.expect("CLS");
        nsqd.send(0, b"CLOSE_WAIT");
        nsqd.expect(&format!("REQ {ID} 0"));
        nsqd.expect_end();
    };
    play(nsqd, || {
        assert_eq!(body_of(consumer.next()), "wanted");
        consumer.flush();
        consumer.stop(Rest::HandBack, LONG);
        assert!(matches!(consumer.next(), Step::Idle | Step::Stopped));
        assert!(matches!(consumer.next(), Step::Stopped));
    });
}

#[test]
fn a_message_attempted_too_often_is_finished_unseen() {
    let listener = listen();
    let mut consumer = start(&[&listener], |options| options.max_attempts = 2);
    let nsqd = || {
        let mut nsqd = Nsqd::subscribed(&listener);
        nsqd.expect("RDY 5");
        nsqd.deliver(3, "again and again");
        nsqd.expect(&format!("FIN {ID}"));
        nsqd.deliver(2, "fine");
        nsqd.expect(&format!("FIN {ID}"));
    };
    play(nsqd, || {
        assert_eq!(body_of(consumer.next()), "fine");
        consumer.flush();
    });
}

#[test]
fn the_secret_is_shown_when_the_nsqd_asks_for_it() {
    let listener = listen();
    let mut consumer = start(&[&listener], |options| options.auth_secret = "abc".to_owned());
    let nsqd = || {
        let mut nsqd = Nsqd::accept(&listener, r#"{"max_rdy_count":3,"auth_required":true}"#);
        nsqd.expect("AUTH");
        assert_eq!(nsqd.body(), b"abc");
        nsqd.send(0, b"{}");
        nsqd.expect("SUB t c");
        nsqd.send(0, b"OK");
        nsqd.expect("RDY 3");
        nsqd.deliver(1, "x");
        nsqd
    };
    play(nsqd, || assert_eq!(body_of(consumer.next()), "x"));
}

#[test]
fn without_the_secret_or_with_nobody_there_a_tool_does_not_begin() {
    let listener = listen();
    let mut consumer = start(&[&listener], |_| {});
    let nsqd = || Nsqd::accept(&listener, r#"{"auth_required":true}"#);
    let text = |step| match step {
        Step::Failed(text) => text,
        other => panic!("{other:?}"),
    };
    play(nsqd, || assert_eq!(text(consumer.next()), "Auth Required"));
    let address = listener.local_addr().unwrap();
    drop(listener);
    let subscription = Subscription { topic: "t".to_owned(), channel: "c".to_owned() };
    let sources = Sources::Nsqds(vec![address.to_string()]);
    let mut consumer =
        Consumer::start(vec![subscription], &sources, ConsumerOptions::default()).unwrap();
    let expected = format!("dial tcp {address}: connect: connection refused");
    assert_eq!(text(consumer.next()), expected);
}

#[test]
fn a_lost_nsqd_is_connected_to_again_and_the_others_get_its_share_meanwhile() {
    let (first, second) = (listen(), listen());
    let mut consumer = start(&[&first, &second], |_| {});
    let nsqd = || {
        let (mut one, mut two) = (Nsqd::subscribed(&first), Nsqd::subscribed(&second));
        // Whoever came first had all of it for a moment, or the larger half.
        let mut line = String::new();
        one.stream.read_line(&mut line).unwrap();
        line.clear();
        two.stream.read_line(&mut line).unwrap();
        drop(one);
        while line != "RDY 5\n" {
            line.clear();
            assert_ne!(two.stream.read_line(&mut line).unwrap(), 0);
        }
        let mut one = Nsqd::subscribed(&first);
        one.expect("RDY 3");
        one.deliver(1, "back");
        (one, two)
    };
    play(nsqd, || assert_eq!(body_of(consumer.next()), "back"));
}
