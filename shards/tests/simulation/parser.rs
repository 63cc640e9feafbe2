//! The parser under bytes that come in any pieces, and under bytes that make no sense.

use proptest::prelude::*;
use shards::limits::Options;
use shards::wire::command::{Command, Context, Partial, Progress, Step, parse};
use shards::wire::names::Name;

/// Small, so that sizes at the limits are tried often.
fn options() -> Options {
    Options { max_msg_bytes: 64, max_body_bytes: 200, ..Options::default() }
}

/// What a stream comes to: commands in words with the place where they end, then perhaps the error
/// that ends it and the topic that is made all the same.
#[derive(Debug, Default, PartialEq)]
struct Reading {
    commands: Vec<(String, usize)>,
    end: Option<(Option<String>, Option<String>)>,
    /// The error for a client that sends no more, when the stream stops in a command.
    missing: Option<Option<String>>,
}

/// Reads a stream that arrives in pieces that end at `cuts`.
fn read(stream: &[u8], fresh: bool, cuts: &[usize]) -> Reading {
    let options = options();
    let last_topic = Name::parse(b"ab");
    let context = Context { fresh, last_topic: last_topic.as_ref(), options: &options };
    let (mut reading, mut progress) = (Reading::default(), Progress::default());
    let (mut start, mut needs) = (0, 0);
    for end in cuts.iter().copied().chain([stream.len()]) {
        let mut missing = None;
        // Before that many bytes have come the answer cannot change.
        while start < end && end - start >= needs {
            match parse(&stream[start..end], context, &mut progress) {
                Step::Whole(command, length) => {
                    assert!(length > 0 && start + length <= end, "a command is made of input");
                    start += length;
                    reading.commands.push((format!("{command:?}"), start));
                    (progress, needs) = (Progress::default(), 0);
                }
                Step::Partial(Partial { needs: more, likely, missing: what }) => {
                    assert!(likely >= more && more > end - start, "more is needed than there is");
                    needs = more;
                    missing = Some(what.refusal().map(|r| format!("{r:?}")));
                }
                Step::Refused(refused) => {
                    let refusal = refused.refusal.map(|refusal| format!("{refusal:?}"));
                    reading.end = Some((refusal, refused.creates.map(|name| name.to_string())));
                    reading.missing = None;
                    return reading;
                }
            }
        }
        if end == stream.len() && start < end && missing.is_none() {
            let step = parse(&stream[start..], context, &mut progress);
            let Step::Partial(partial) = step else { unreachable!("it asked for more: {step:?}") };
            missing = Some(partial.missing.refusal().map(|r| format!("{r:?}")));
        }
        reading.missing = missing;
    }
    reading
}

fn sized(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes()[..], bytes].concat()
}

/// A size that is right, or lies.
fn lie(size: usize) -> impl Strategy<Value = u32> {
    let size = size as u32;
    prop_oneof![
        6 => Just(size),
        1 => Just(size.wrapping_add(1)),
        1 => Just(size.saturating_sub(1)),
        1 => prop_oneof![Just(0), Just(64), Just(65), Just(200), Just(201), Just(u32::MAX)],
        1 => Just(1 << 31),
    ]
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z]{1,3}", "[a-z]{1,3}#ephemeral", "[a-z$ ]{0,3}", "[a-z]{64,65}"]
}

fn multi_publish() -> impl Strategy<Value = Vec<u8>> {
    let bodies = prop::collection::vec(prop::collection::vec(any::<u8>(), 0..70), 0..5);
    (name(), bodies)
        .prop_flat_map(|(topic, bodies)| {
            let whole = 4 + bodies.iter().map(|body| body.len() + 4).sum::<usize>();
            let sizes: Vec<_> = bodies.iter().map(|body| lie(body.len())).collect();
            (Just(topic), lie(whole), lie(bodies.len()), sizes, Just(bodies))
        })
        .prop_map(|(topic, whole, count, sizes, bodies)| {
            let mut bytes = format!("MPUB {topic}\n").into_bytes();
            bytes.extend(whole.to_be_bytes());
            bytes.extend(count.to_be_bytes());
            for (size, body) in sizes.iter().zip(&bodies) {
                bytes.extend(size.to_be_bytes());
                bytes.extend(body);
            }
            bytes
        })
}

fn command() -> impl Strategy<Value = Vec<u8>> {
    let body = prop::collection::vec(any::<u8>(), 0..70);
    let publish =
        (name(), body, 0_u64..5_000_000, any::<bool>()).prop_map(|(t, b, ms, deferred)| {
            let line = if deferred { format!("DPUB {t} {ms}\n") } else { format!("PUB {t}\n") };
            [line.into_bytes(), sized(&b)].concat()
        });
    let id = prop_oneof!["[0-9a-f]{16}", "[0-9a-fA-F ]{15,17}"];
    let verb = prop_oneof![Just("FIN"), Just("REQ"), Just("TOUCH")];
    let answer = (verb, id, prop_oneof![Just(""), Just(" 10"), Just("\r")]);
    let answer = answer.prop_map(|(verb, id, rest)| format!("{verb} {id}{rest}\n").into_bytes());
    let line = prop_oneof!["NOP\r?", "CLS", "RDY( [0-9a-]{0,25})?", "SUB [a-z]{1,3} [a-z]{1,3}"];
    let json = "[{}a-z\":,0-9]{0,30}";
    prop_oneof![
        4 => publish,
        4 => multi_publish(),
        4 => answer,
        2 => line.prop_map(|line| format!("{line}\n").into_bytes()),
        1 => json.prop_map(|json| [b"IDENTIFY\n".to_vec(), sized(json.as_bytes())].concat()),
        1 => Just([b"AUTH\n".to_vec(), sized(b"secret")].concat()),
    ]
}

/// A stream, and the places where it is cut into pieces.
fn stream() -> impl Strategy<Value = (Vec<u8>, Vec<usize>)> {
    let commands = || prop::collection::vec(command(), 1..8).prop_map(|all| all.concat());
    let noise = prop::collection::vec(any::<u8>(), 0..300);
    let damage = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4);
    let damaged = (commands(), damage).prop_map(|(mut bytes, damage)| {
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes
    });
    let cut_off = (commands(), any::<prop::sample::Index>()).prop_map(|(mut bytes, at)| {
        bytes.truncate(at.index(bytes.len()));
        bytes
    });
    let bytes = prop_oneof![4 => commands(), 2 => damaged, 2 => cut_off, 1 => noise];
    bytes.prop_flat_map(|bytes| {
        let cuts = prop::collection::vec(0..=bytes.len(), 0..12);
        let sorted = cuts.prop_map(|mut cuts| {
            cuts.sort_unstable();
            cuts
        });
        (Just(bytes), sorted)
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2000,
        failure_persistence: None,
        ..Default::default()
    })]

    /// Also that nothing panics, whatever comes.
    #[test]
    fn a_stream_means_the_same_in_whatever_pieces_it_comes(
        (bytes, cuts) in stream(),
        fresh in any::<bool>(),
    ) {
        let whole = read(&bytes, fresh, &[]);
        prop_assert_eq!(&read(&bytes, fresh, &cuts), &whole);
        let each: Vec<usize> = (0..bytes.len()).collect();
        prop_assert_eq!(&read(&bytes, fresh, &each), &whole);
    }

    #[test]
    fn an_mpub_is_within_its_limits_or_refused(bytes in multi_publish()) {
        let mut progress = Progress::default();
        let options = options();
        let context = Context { fresh: true, last_topic: None, options: &options };
        if let Step::Whole(command, length) = parse(&bytes, context, &mut progress) {
            prop_assert!(length as i64 <= options.max_body_bytes + 100, "{}", length);
            let Command::Publish(publish) = command else {
                unreachable!("an MPUB is a publish");
            };
            let bodies: Vec<&[u8]> = publish.messages.collect();
            prop_assert_eq!(bodies.len(), publish.messages.count as usize);
            prop_assert!(bodies.iter().all(|body| (1..=64).contains(&body.len())));
            let bytes: usize = bodies.iter().map(|body| body.len() + 4).sum();
            prop_assert_eq!(bytes, publish.messages.bytes.len());
        }
    }
}

#[test]
fn a_line_without_end_is_refused_at_its_limit() {
    for (bytes, refused) in [(16 * 1024 - 1, false), (16 * 1024, true)] {
        let reading = read(&vec![b'x'; bytes], true, &[5, 1000, 16_000]);
        assert_eq!(reading.end.is_some(), refused, "{bytes} bytes");
        assert!(reading.commands.is_empty());
    }
}
