//! Conversations as bytes: golden ones, in pieces of every size, and garbage.

use super::{Context, Session, SessionSettings};
use crate::nsqlookupd::registry::{Now, Registry, RegistrySettings};

const IDENTIFY: &str =
    r#"{"broadcast_address":"b","hostname":"h","http_port":2,"tcp_port":1,"version":"v"}"#;
const ABOUT: &str = r#"{"tcp_port":4160}"#;

/// A session, what it registers in, and what was said.
struct Talk {
    session: Session,
    registry: Registry,
    input: Vec<u8>,
    output: Vec<u8>,
    settings: SessionSettings,
}

impl Talk {
    fn new() -> Talk {
        let settings =
            RegistrySettings { inactive_after_ns: 1, tombstone_ns: 1, registrations_max: 4 };
        Talk {
            session: Session::new("10.0.0.1:5".to_owned()),
            registry: Registry::new(settings, 1),
            input: Vec::new(),
            output: Vec::new(),
            settings: SessionSettings { about: ABOUT.to_owned(), body_bytes_max: 1000 },
        }
    }

    fn say(&mut self, bytes: &[u8]) -> &mut Talk {
        self.input.extend_from_slice(bytes);
        let Talk { session, registry, input, output, settings } = self;
        let mut cx = Context { registry, settings, now: Now::default() };
        let taken = session.take(input, &mut cx, output);
        input.drain(..taken);
        self
    }

    /// The answers so far.
    fn heard(&self) -> Vec<String> {
        let mut answers = Vec::new();
        let mut rest = self.output.as_slice();
        while let Some((size, after)) = rest.split_first_chunk::<4>() {
            let (text, after) = after.split_at(u32::from_be_bytes(*size) as usize);
            answers.push(String::from_utf8_lossy(text).into_owned());
            rest = after;
        }
        answers
    }
}

fn identify(body: &[u8]) -> Vec<u8> {
    [b"IDENTIFY\n", (body.len() as u32).to_be_bytes().as_slice(), body].concat()
}

/// What a new connection, identified or not, answers to these bytes; the last one is the end.
#[track_caller]
fn check(identified: bool, bytes: &[u8], expected: &[&str], closed: bool) {
    let mut talk = Talk::new();
    talk.say(b"  V1");
    if identified {
        talk.say(&identify(IDENTIFY.as_bytes()));
    }
    talk.output.clear();
    talk.say(bytes);
    assert_eq!(talk.heard(), expected);
    assert_eq!(talk.session.is_closed(), closed);
}

#[test]
fn a_whole_conversation_in_pieces_of_every_size() {
    let commands = b"REGISTER t c\nREGISTER t\r\nPING\n UNREGISTER t c extra \nPING x\n";
    let all = [b"  V1PING\n".as_slice(), &identify(IDENTIFY.as_bytes()), commands].concat();
    for size in 1..all.len() {
        let mut talk = Talk::new();
        all.chunks(size).for_each(|piece| _ = talk.say(piece));
        assert_eq!(talk.heard(), ["OK", ABOUT, "OK", "OK", "OK", "OK", "OK"], "by {size}");
        assert!(talk.input.is_empty() && !talk.session.is_closed());
        let found = talk.registry.lookup("t", Now::default()).unwrap();
        let expected = concat!(
            r#"{"channels":["c"],"producers":[{"remote_address":"10.0.0.1:5","hostname":"h","#,
            r#""broadcast_address":"b","tcp_port":1,"http_port":2,"version":"v","#,
            r#""topology_zone":"","topology_region":""}]}"#
        );
        assert_eq!(found, expected);
        let Talk { session, registry, .. } = &mut talk;
        session.disconnect(registry);
        assert_eq!(registry.counts().producers, 0);
    }
}

#[test]
fn another_magic_is_the_end() {
    for magic in ["  V2", "    ", "GET ", "V1  ", "\n\n\n\n"] {
        let mut talk = Talk::new();
        talk.say(magic.as_bytes()).say(b"PING\n");
        assert_eq!(talk.heard(), ["E_BAD_PROTOCOL"], "{magic:?}");
        assert!(talk.session.is_closed());
    }
    let mut talk = Talk::new();
    talk.say(b"  V").session.end(&mut Vec::new());
    assert!(talk.session.is_closed() && talk.output.is_empty());
}

#[test]
fn errors_have_the_originals_words_and_are_the_end() {
    for (line, answer) in [
        ("\n", "E_INVALID invalid command "),
        ("ping\n", "E_INVALID invalid command ping"),
        ("NOPE a b\nPING\n", "E_INVALID invalid command NOPE"),
        ("REGISTER\n", "E_INVALID REGISTER insufficient number of params"),
        ("UNREGISTER \n", "E_INVALID UNREGISTER insufficient number of params"),
        ("REGISTER a/b\n", "E_BAD_TOPIC REGISTER topic name 'a/b' is not valid"),
        ("REGISTER  c\n", "E_BAD_TOPIC REGISTER topic name '' is not valid"),
        ("REGISTER *\n", "E_BAD_TOPIC REGISTER topic name '*' is not valid"),
        ("REGISTER a b/c\n", "E_BAD_CHANNEL REGISTER channel name 'b/c' is not valid"),
        ("UNREGISTER a *\n", "E_BAD_CHANNEL UNREGISTER channel name '*' is not valid"),
        ("IDENTIFY\n", "E_INVALID cannot IDENTIFY again"),
    ] {
        check(true, line.as_bytes(), &[answer], true);
    }
    check(
        true,
        b"REGISTER \xff\n",
        &["E_BAD_TOPIC REGISTER topic name '\u{fffd}' is not valid"],
        true,
    );
    for line in ["REGISTER a/b\n", "REGISTER\n", "UNREGISTER a\n"] {
        check(false, line.as_bytes(), &["E_INVALID client must IDENTIFY"], true);
    }
    // An empty channel is none, and one name too many does not matter.
    check(true, b"REGISTER a  b\nREGISTER a \n", &["OK", "OK"], false);
}

#[test]
fn bodies_are_checked_before_they_are_believed() {
    let size = |size: i32| [b"IDENTIFY\n", size.to_be_bytes().as_slice()].concat();
    check(false, &size(-1), &["E_BAD_BODY IDENTIFY invalid body size -1"], true);
    check(false, &size(i32::MIN), &["E_BAD_BODY IDENTIFY invalid body size -2147483648"], true);
    check(false, &size(1001), &["E_BAD_BODY IDENTIFY body too big 1001 > 1000"], true);
    check(false, &size(i32::MAX), &["E_BAD_BODY IDENTIFY body too big 2147483647 > 1000"], true);
    check(false, &size(0), &["E_BAD_BODY IDENTIFY failed to decode JSON body"], true);
    check(false, &size(1000), &[], false);
    for (body, answer) in [
        ("[]", "E_BAD_BODY IDENTIFY failed to decode JSON body"),
        ("{\"tcp_port\":\"1\"}", "E_BAD_BODY IDENTIFY failed to decode JSON body"),
        ("{}", "E_BAD_BODY IDENTIFY missing fields"),
        ("null", "E_BAD_BODY IDENTIFY missing fields"),
    ] {
        check(false, &identify(body.as_bytes()), &[answer], true);
    }
    let body = IDENTIFY.replace("\"tcp_port\":1", "\"tcp_port\":0");
    check(false, &identify(body.as_bytes()), &["E_BAD_BODY IDENTIFY missing fields"], true);
}

#[test]
fn what_ends_too_early_is_answered() {
    for (bytes, expected) in [
        (b"IDENTIFY\n\0\0".as_slice(), vec!["E_BAD_BODY IDENTIFY failed to read body size"]),
        (b"IDENTIFY\n\0\0\0\x05{}", vec!["E_BAD_BODY IDENTIFY failed to read body"]),
        (b"PING", vec![]),
        (b"", vec![]),
    ] {
        let mut talk = Talk::new();
        talk.say(b"  V1").say(bytes);
        let mut output = Vec::new();
        talk.session.end(&mut output);
        talk.output = output;
        assert_eq!(talk.heard(), expected);
        assert!(talk.session.is_closed());
    }
}

#[test]
fn lines_and_registrations_have_a_limit() {
    check(true, &[b'x'; 4096], &[], false);
    check(true, &[b'x'; 4097], &["E_INVALID command line too long"], true);
    let lines = b"REGISTER a b\nREGISTER a b\nREGISTER c\n";
    check(true, lines, &["OK", "OK", "E_INVALID REGISTER too many registrations"], true);
}

#[test]
fn garbage_is_answered_or_waited_for_and_never_more() {
    let mut state = 1_u64;
    for _ in 0..2000 {
        let mut talk = Talk::new();
        talk.say(b"  V1");
        for _ in 0..40 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let byte = [(state >> 40) as u8];
            let words: [&[u8]; 10] = [
                b"IDENTIFY\n",
                b"REGISTER ",
                b"UNREGISTER ",
                b"PING\n",
                b"a",
                b"\n",
                b" ",
                b"\0\0\0\x02",
                b"{}",
                &byte,
            ];
            let word = words[(state >> 33) as usize % words.len()];
            talk.say(word);
        }
        assert!(talk.input.len() <= 1000 || talk.session.is_closed());
        let heard = talk.heard();
        let errors = heard.iter().filter(|text| text.starts_with("E_")).count();
        assert_eq!(errors, usize::from(talk.session.is_closed()));
    }
}
