//! The TCP side in bytes: what is answered, and what ends the connection.

use super::process::{identify, identity};
use super::{Kind, Lookupd, Producer, on_each_lookupd};
use crate::harness::{SOON, bytes, eventually};

/// Bytes after the magic and IDENTIFY, in the notation of `harness::bytes`, and the last answer;
/// the connection ends after it.
const FATAL: [(&str, &str); 14] = [
    ("\n", "E_INVALID invalid command "),
    ("register t\n", "E_INVALID invalid command register"),
    ("NOPE a b\nPING\n", "E_INVALID invalid command NOPE"),
    ("SUB t c\n", "E_INVALID invalid command SUB"),
    ("REGISTER\n", "E_INVALID REGISTER insufficient number of params"),
    ("UNREGISTER\r\n", "E_INVALID UNREGISTER insufficient number of params"),
    ("REGISTER a$b c\n", "E_BAD_TOPIC REGISTER topic name 'a$b' is not valid"),
    ("REGISTER  c\n", "E_BAD_TOPIC REGISTER topic name '' is not valid"),
    ("UNREGISTER *\n", "E_BAD_TOPIC UNREGISTER topic name '*' is not valid"),
    ("REGISTER <ff>\n", "E_BAD_TOPIC REGISTER topic name '<ff>' is not valid"),
    ("REGISTER t #ephemeral\n", "E_BAD_CHANNEL REGISTER channel name '#ephemeral' is not valid"),
    ("UNREGISTER t a$b\n", "E_BAD_CHANNEL UNREGISTER channel name 'a$b' is not valid"),
    ("IDENTIFY\n", "E_INVALID cannot IDENTIFY again"),
    ("IDENTIFY\n<00000002>{}", "E_INVALID cannot IDENTIFY again"),
];

#[test]
fn errors_end_the_connection() {
    on_each_lookupd(|kind| {
        let lookupd = Lookupd::start(kind, &[]);
        for (send, last) in FATAL {
            let mut producer = Producer::identified(&lookupd, 1);
            producer.say(&bytes(send));
            assert_eq!(producer.answers(), [last], "{kind:?} {send:?}");
        }
    });
}

/// The same before IDENTIFY.
#[test]
fn errors_before_identify() {
    on_each_lookupd(|kind| {
        let lookupd = Lookupd::start(kind, &[]);
        for (send, answers) in [
            ("PING\nREGISTER t\n", ["OK", "E_INVALID client must IDENTIFY"].as_slice()),
            ("REGISTER\n", &["E_INVALID client must IDENTIFY"]),
            ("UNREGISTER a$b\n", &["E_INVALID client must IDENTIFY"]),
            ("IDENTIFY\n<00000000>", &["E_BAD_BODY IDENTIFY failed to decode JSON body"]),
            ("IDENTIFY\n<00000002>[]", &["E_BAD_BODY IDENTIFY failed to decode JSON body"]),
            ("IDENTIFY x\n<00000004>null", &["E_BAD_BODY IDENTIFY missing fields"]),
            ("IDENTIFY\n<00000002>{}", &["E_BAD_BODY IDENTIFY missing fields"]),
            (
                "IDENTIFY\n<0000000e>{\"tcp_port\":\"\"}",
                &["E_BAD_BODY IDENTIFY failed to decode JSON body"],
            ),
        ] {
            let mut producer = Producer::connect(&lookupd);
            producer.say(b"  V1");
            producer.say(&bytes(send));
            assert_eq!(producer.answers(), answers, "{kind:?} {send:?}");
        }
        assert!(lookupd.ports("/nodes").is_empty());
    });
}

#[test]
fn another_magic() {
    on_each_lookupd(|kind| {
        let lookupd = Lookupd::start(kind, &[]);
        for magic in ["  V2", "GET / HTTP/1.0\r\n\r\n", "<00000000>", "V1  "] {
            let mut producer = Producer::connect(&lookupd);
            producer.say(&bytes(magic));
            assert_eq!(producer.answers(), ["E_BAD_PROTOCOL"], "{kind:?} {magic:?}");
        }
    });
}

/// What a client leaves unfinished when it says no more.
#[test]
fn ends_too_early() {
    on_each_lookupd(|kind| {
        let lookupd = Lookupd::start(kind, &[]);
        for (send, answers) in [
            ("", [].as_slice()),
            ("  V", &[]),
            ("  V1PING", &[]),
            ("  V1PING\n", &["OK"]),
            ("  V1IDENTIFY\n", &["E_BAD_BODY IDENTIFY failed to read body size"]),
            ("  V1IDENTIFY\n<000000>", &["E_BAD_BODY IDENTIFY failed to read body size"]),
            ("  V1IDENTIFY\n<00000005>{}", &["E_BAD_BODY IDENTIFY failed to read body"]),
        ] {
            let mut producer = Producer::connect(&lookupd);
            producer.say(&bytes(send));
            producer.end();
            assert_eq!(producer.answers(), answers, "{kind:?} {send:?}");
        }
    });
}

/// The whole of a conversation, byte by byte and in one go.
#[test]
fn golden() {
    let commands = "REGISTER orders metrics\nREGISTER orders\n  PING \nREGISTER  orders\n";
    on_each_lookupd(|kind| {
        let lookupd = Lookupd::start(kind, &[]);
        let (tcp, http) = (lookupd.process.tcp.port(), lookupd.process.http.port());
        let all = [b"  V1".to_vec(), identify(&identity(4151)), bytes(commands)].concat();
        for size in [1, all.len()] {
            let mut producer = Producer::connect(&lookupd);
            all.chunks(size).for_each(|piece| producer.say(piece));
            let about = producer.answer().unwrap();
            let hostname = about.split("\"hostname\":").nth(1).unwrap();
            let hostname = hostname.split(',').next().unwrap();
            let expected = format!(
                "{{\"broadcast_address\":\"lookup.example\",\"hostname\":{hostname},\
                 \"http_port\":{http},\"tcp_port\":{tcp},\"version\":\"1.3.0\"}}"
            );
            assert_eq!(about, expected);
            let last = "E_BAD_TOPIC REGISTER topic name '' is not valid";
            assert_eq!(producer.answers(), ["OK", "OK", "OK", last], "{kind:?} by {size}");
        }
    });
}

/// One producer's registrations, as others see them.
#[test]
fn registrations_come_and_go() {
    on_each_lookupd(|kind| {
        let lookupd = Lookupd::start(kind, &[]);
        let mut one = Producer::identified(&lookupd, 1);
        let mut two = Producer::identified(&lookupd, 2);
        one.command("REGISTER t c");
        one.command("REGISTER t c");
        two.command("REGISTER t ");
        two.command("REGISTER t e#ephemeral");
        assert_eq!(lookupd.ports("/lookup?topic=t"), [1, 2]);
        assert_eq!(lookupd.names("/channels?topic=t", "channels"), ["c", "e#ephemeral"]);
        one.command("UNREGISTER t c");
        one.command("UNREGISTER t c more");
        one.command("UNREGISTER nope");
        assert_eq!(lookupd.names("/channels?topic=t", "channels"), ["c", "e#ephemeral"]);
        two.command("UNREGISTER t e#ephemeral");
        assert_eq!(lookupd.names("/channels?topic=t", "channels"), ["c"]);
        two.command("UNREGISTER t");
        assert_eq!(lookupd.ports("/lookup?topic=t"), [1]);
        one.command("REGISTER e#ephemeral x");
        one.command("UNREGISTER e#ephemeral");
        assert_eq!(lookupd.request("GET", "/lookup?topic=e%23ephemeral").status, 404);
        assert_eq!(lookupd.names("/topics", "topics"), ["t"]);
        drop(one);
        eventually("the producer is gone", SOON, || lookupd.ports("/lookup?topic=t").is_empty());
        assert_eq!(lookupd.names("/lookup?topic=t", "channels"), ["c"]);
        assert_eq!(lookupd.ports("/nodes"), [2]);
    });
}

/// A size below zero ends the original's process.
#[test]
fn malformed_sizes_and_garbage_harm_nobody() {
    on_each_lookupd(|kind| {
        if kind == Kind::Original {
            eprintln!("only for Shoal: the original panics");
            return;
        }
        let lookupd = Lookupd::start(kind, &[]);
        let mut honest = Producer::identified(&lookupd, 1);
        for (send, answer) in [
            ("  V1IDENTIFY\n<ffffffff>", "E_BAD_BODY IDENTIFY invalid body size -1"),
            ("  V1IDENTIFY\n<80000000>", "E_BAD_BODY IDENTIFY invalid body size -2147483648"),
            ("  V1IDENTIFY\n<7fffffff>{", "E_BAD_BODY IDENTIFY body too big 2147483647 > 16384"),
            ("  V1IDENTIFY\n<00004001>{", "E_BAD_BODY IDENTIFY body too big 16385 > 16384"),
        ] {
            let mut producer = Producer::connect(&lookupd);
            producer.say(&bytes(send));
            assert_eq!(producer.answers(), [answer], "{send:?}");
        }
        let mut state = 7_u32;
        for _ in 0..50 {
            let mut producer = Producer::connect(&lookupd);
            let garbage: Vec<u8> = std::iter::repeat_with(|| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .take(5000)
            .collect();
            producer.say(b"  V1");
            producer.say(&garbage);
            producer.end();
            assert!(producer.answers().iter().all(|answer| answer.starts_with("E_INVALID")));
        }
        let mut endless = Producer::connect(&lookupd);
        endless.say(b"  V1");
        endless.say(&[b'x'; 100_000]);
        assert_eq!(endless.answers(), ["E_INVALID command line too long"]);
        honest.command("PING");
        assert_eq!(lookupd.ports("/nodes"), [1]);
    });
}
