//! The original's disk queue: file names, meta file and records, byte for byte.
//!
//! A queue is a topic (`<topic>`) or a channel (`<topic>:<channel>`). Its files lie in the data
//! path: `<queue>.diskqueue.<number, six digits or more>.dat` with the messages, oldest in the
//! lowest number, and `<queue>.diskqueue.meta.dat`, three lines of text:
//!
//! ```text
//! depth \n read file , read position \n write file , write position \n
//! ```
//! A record is a length (i32, big-endian) and so many bytes: timestamp (i64 ns), attempts (u16),
//! id (16 hex characters), body; all big-endian. Records have no checksum, and the original writes
//! the meta file only every so often, so whoever reads a queue goes on to the end of its files.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::wire::names::Name;

/// Bytes of a record before the body, its length field not counted.
pub const MESSAGE_HEADER_BYTES: usize = 8 + 2 + ID_BYTES;
/// Bytes of the length in front of a record.
pub const LENGTH_BYTES: usize = 4;
/// The longest body that is read or written: a frame's size field has to hold it.
pub const BODY_BYTES_MAX: usize = 1 << 30;

const ID_BYTES: usize = 16;
const SEPARATOR: &str = ".diskqueue.";
const ENDING: &str = ".dat";
/// Digits of a file number in a name; larger numbers have more.
const NUMBER_DIGITS: usize = 6;

/// A message in a disk queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// When it was published, nanoseconds since the Unix epoch.
    pub timestamp_ns: i64,
    /// How often it was delivered.
    pub attempts: u16,
    /// Its id as clients see it.
    pub id: [u8; ID_BYTES],
    /// Its body.
    pub body: &'a [u8],
}

/// What stands at a position of a data file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// A message, and how many bytes its record has.
    Message(Message<'a>, usize),
    /// Nothing: the file ends here.
    End,
    /// So many bytes from here on are needed to tell; the file has them.
    More(usize),
    /// No record. Nobody knows where the next one would begin.
    Damage(Damage),
}

/// Why the rest of a file cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// The file ends within a record.
    Torn {
        /// Bytes that the record should have, its length field included.
        claimed: u64,
        /// Bytes that there are.
        there: u64,
    },
    /// The length is one that no record has.
    Length(i32),
    /// The record is larger than any message may be, and what stands in it is no message either.
    NoMessage(i32),
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Damage::Torn { claimed, there } => {
                write!(f, "the file ends within a record: {there} bytes of {claimed}")
            }
            Damage::Length(length) => write!(f, "no record has a length of {length}"),
            Damage::NoMessage(length) => {
                write!(f, "a length of {length} is above --max-msg-size, and no message id follows")
            }
        }
    }
}

/// Reads the record at a position. `bytes` begins there and may end anywhere, `rest` is how many
/// bytes the file has from there on.
///
/// A body of at most `body_bytes_max` is taken as it is, as the original does. A larger one, for
/// which that limit was once higher, is a message when its id looks like one: the original would
/// throw the rest of the file away.
#[must_use]
pub fn read(bytes: &[u8], rest: u64, body_bytes_max: usize) -> Found<'_> {
    if rest == 0 {
        return Found::End;
    }
    if rest < LENGTH_BYTES as u64 {
        return Found::Damage(Damage::Torn { claimed: LENGTH_BYTES as u64, there: rest });
    }
    let Some(length) = bytes.first_chunk().map(|raw| i32::from_be_bytes(*raw)) else {
        return Found::More(LENGTH_BYTES);
    };
    let payload = usize::try_from(length).unwrap_or(0);
    if !(MESSAGE_HEADER_BYTES..=MESSAGE_HEADER_BYTES + BODY_BYTES_MAX).contains(&payload) {
        return Found::Damage(Damage::Length(length));
    }
    let claimed = LENGTH_BYTES + payload;
    if claimed as u64 > rest {
        return Found::Damage(Damage::Torn { claimed: claimed as u64, there: rest });
    }
    let Some(header) = bytes.get(LENGTH_BYTES..LENGTH_BYTES + MESSAGE_HEADER_BYTES) else {
        return Found::More(LENGTH_BYTES + MESSAGE_HEADER_BYTES);
    };
    // Before anybody makes room for a body of this length.
    if payload - MESSAGE_HEADER_BYTES > body_bytes_max && !is_id(&header[10..]) {
        return Found::Damage(Damage::NoMessage(length));
    }
    let Some(body) = bytes.get(LENGTH_BYTES + MESSAGE_HEADER_BYTES..claimed) else {
        return Found::More(claimed);
    };
    let mut id = [0; ID_BYTES];
    id.copy_from_slice(&header[10..]);
    let timestamp_ns = header.first_chunk().map_or(0, |raw| i64::from_be_bytes(*raw));
    let attempts = u16::from_be_bytes([header[8], header[9]]);
    Found::Message(Message { timestamp_ns, attempts, id, body }, claimed)
}

fn is_id(text: &[u8]) -> bool {
    text.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Bytes that a message takes in a data file.
#[must_use]
pub fn record_bytes(body_bytes: usize) -> usize {
    LENGTH_BYTES + MESSAGE_HEADER_BYTES + body_bytes
}

/// Appends a record.
///
/// # Panics
/// When the body is longer than [`BODY_BYTES_MAX`].
pub fn write(out: &mut Vec<u8>, message: &Message<'_>) {
    assert!(message.body.len() <= BODY_BYTES_MAX, "messages are bounded when they are published");
    let length = (MESSAGE_HEADER_BYTES + message.body.len()) as u32;
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&message.timestamp_ns.to_be_bytes());
    out.extend_from_slice(&message.attempts.to_be_bytes());
    out.extend_from_slice(&message.id);
    out.extend_from_slice(message.body);
}

/// A position in a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Number of the data file.
    pub file: u64,
    /// Bytes from its start.
    pub offset: u64,
}

/// What a meta file says. It may be older than the data files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// Messages not read yet; sometimes wrong, even negative.
    pub depth: i64,
    /// The next message to read.
    pub read: Position,
    /// Where the next one is written.
    pub write: Position,
}

impl Meta {
    /// Reads a meta file as the original does; `None` when it makes no sense.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Meta> {
        let text = core::str::from_utf8(bytes).ok()?;
        let mut lines = text.split('\n');
        let depth = lines.next()?.trim().parse().ok()?;
        let mut position = || {
            let (file, offset) = lines.next()?.trim().split_once(',')?;
            Some(Position { file: file.trim().parse().ok()?, offset: offset.trim().parse().ok()? })
        };
        Some(Meta { depth, read: position()?, write: position()? })
    }

    /// The meta file's text.
    #[must_use]
    pub fn text(&self) -> String {
        let Meta { depth, read, write } = self;
        format!("{depth}\n{},{}\n{},{}\n", read.file, read.offset, write.file, write.offset)
    }

    /// Where to begin to read. The two positions are the wrong way round after damage only: what
    /// lies between them may not have been read.
    #[must_use]
    pub fn start(&self) -> Position {
        self.read.min(self.write)
    }
}

/// Whose messages a queue holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Queue {
    /// The topic.
    pub topic: Name,
    /// The channel; `None` for the topic's own queue, of what no channel has got yet.
    pub channel: Option<Name>,
}

/// What one file of a queue is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Messages; the number of the file.
    Data(u64),
    /// The positions.
    Meta,
    /// A meta file whose writing was never finished.
    MetaUnfinished,
    /// A data file that the original could not read, and put aside.
    Bad(u64),
}

impl Queue {
    /// The queue, and which of its files has this name; `None` for any other name.
    #[must_use]
    pub fn of_file(name: &str) -> Option<(Queue, Part)> {
        // A topic may be called `a.diskqueue.b`.
        let (queue, rest) = name.rsplit_once(SEPARATOR)?;
        Some((Queue::parse(queue)?, part(rest)?))
    }

    fn parse(text: &str) -> Option<Queue> {
        // A colon is in no name.
        let (topic, channel) = match text.split_once(':') {
            Some((topic, channel)) => (topic, Some(Name::parse(channel.as_bytes())?)),
            None => (text, None),
        };
        Some(Queue { topic: Name::parse(topic.as_bytes())?, channel })
    }

    /// Whether nothing of it outlives a restart of the original.
    #[must_use]
    pub fn is_ephemeral(&self) -> bool {
        self.topic.is_ephemeral() || self.channel.is_some_and(|channel| channel.is_ephemeral())
    }

    /// The name of a data file.
    #[must_use]
    pub fn data_file(&self, number: u64) -> String {
        format!("{self}{SEPARATOR}{number:0NUMBER_DIGITS$}{ENDING}")
    }

    /// The name of the meta file.
    #[must_use]
    pub fn meta_file(&self) -> String {
        format!("{self}{SEPARATOR}meta{ENDING}")
    }
}

impl fmt::Display for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.topic.as_str())?;
        match self.channel {
            Some(channel) => write!(f, ":{}", channel.as_str()),
            None => Ok(()),
        }
    }
}

/// What a file is, from what follows [`SEPARATOR`] in its name.
fn part(rest: &str) -> Option<Part> {
    if let Some(data) = rest.strip_suffix(".bad") {
        return Some(Part::Bad(number(data.strip_suffix(ENDING)?)?));
    }
    if let Some(unfinished) = rest.strip_suffix(".tmp") {
        let random = unfinished.strip_prefix("meta.dat.")?;
        let digits = !random.is_empty() && random.bytes().all(|byte| byte.is_ascii_digit());
        return digits.then_some(Part::MetaUnfinished);
    }
    let stem = rest.strip_suffix(ENDING)?;
    if stem == "meta" { Some(Part::Meta) } else { Some(Part::Data(number(stem)?)) }
}

/// A file number: six digits, or more without zeros in front.
fn number(digits: &str) -> Option<u64> {
    let plain =
        digits.len() == NUMBER_DIGITS || digits.len() > NUMBER_DIGITS && !digits.starts_with('0');
    let all_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
    if plain && all_digits { digits.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::{Damage, Found, Message, Meta, Part, Position, Queue, read, record_bytes, write};
    use alloc::string::ToString;
    use alloc::vec;
    use alloc::vec::Vec;
    use proptest::collection::vec as vec_of;
    use proptest::prelude::*;

    const ID: [u8; 16] = *b"0d1c2b3a4f5e6789";
    const LIMIT: usize = 100;

    fn message(body: &[u8]) -> Message<'_> {
        Message { timestamp_ns: 1_234_567_890_123_456_789, attempts: 3, id: ID, body }
    }

    fn record(body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out, &message(body));
        out
    }

    #[test]
    fn the_bytes_are_the_originals() {
        let wanted = b"\0\0\0\x1f\x11\x22\x10\xf4\x7d\xe9\x81\x15\0\x030d1c2b3a4f5e6789hello";
        assert_eq!(record(b"hello"), wanted);
        assert_eq!(record_bytes(5), wanted.len());
    }

    #[test]
    fn every_kind_of_damage_is_told() {
        let check = |bytes: &[u8], wanted: Found<'_>| {
            assert_eq!(read(bytes, bytes.len() as u64, LIMIT), wanted, "{bytes:?}");
        };
        check(b"", Found::End);
        let whole = record(b"hello");
        check(&whole, Found::Message(message(b"hello"), 35));
        for there in 1..4 {
            let damage = Damage::Torn { claimed: 4, there: there as u64 };
            check(&whole[..there], Found::Damage(damage));
        }
        for there in 4..whole.len() {
            let damage = Damage::Torn { claimed: 35, there: there as u64 };
            check(&whole[..there], Found::Damage(damage));
        }
        for length in [0, 25, -1, i32::MIN, i32::MAX] {
            let bytes = [&length.to_be_bytes()[..], &whole[4..]].concat();
            check(&bytes, Found::Damage(Damage::Length(length)));
        }
        assert_eq!(
            Damage::Torn { claimed: 35, there: 7 }.to_string(),
            "the file ends within a record: 7 bytes of 35"
        );
    }

    #[test]
    fn a_larger_message_than_allowed_is_one_if_it_looks_so() {
        let body = [7; LIMIT + 1];
        let mut bytes = record(&body);
        let rest = bytes.len() as u64;
        assert_eq!(read(&bytes, rest, LIMIT), Found::Message(message(&body), bytes.len()));
        bytes[14] = b'X';
        let damage = Found::Damage(Damage::NoMessage(26 + 101));
        assert_eq!(read(&bytes, rest, LIMIT), damage);
        assert_eq!(read(&bytes[..30], rest, LIMIT), damage, "before the body is there");
        // The original does not look at ids.
        assert!(matches!(read(&bytes, rest, LIMIT + 1), Found::Message(..)));
    }

    #[test]
    fn more_is_asked_for_and_never_too_much() {
        let whole = record(b"hello");
        let rest = whole.len() as u64 + 1000;
        assert_eq!(read(&whole[..3], rest, LIMIT), Found::More(4));
        assert_eq!(read(&whole[..29], rest, LIMIT), Found::More(30));
        assert_eq!(read(&whole[..34], rest, LIMIT), Found::More(35));
    }

    #[test]
    fn meta_files() {
        let position = |file, offset| Position { file, offset };
        let meta = Meta { depth: 5, read: position(0, 0), write: position(12, 167) };
        assert_eq!(meta.text(), "5\n0,0\n12,167\n");
        assert_eq!(Meta::parse(b"5\n0,0\n12,167\n"), Some(meta));
        assert_eq!(Meta::parse(b"5\n0,0\n12,167"), Some(meta));
        let wrong = Meta::parse(b"-2\n3,9\n3,4\n").unwrap();
        assert_eq!((wrong.depth, wrong.start()), (-2, position(3, 4)));
        for bad in
            ["", "5", "5\n0,0\n", "5\n0,0\n1\n", "x\n0,0\n1,1\n", "5\n-1,0\n1,1\n", "\u{fffd}"]
        {
            assert_eq!(Meta::parse(bad.as_bytes()), None, "{bad:?}");
        }
    }

    #[test]
    fn names_of_files() {
        let check = |name: &str, queue: &str, part: Part| {
            let (found, found_part) = Queue::of_file(name).unwrap();
            assert_eq!((found.to_string().as_str(), found_part), (queue, part), "{name}");
            match part {
                Part::Data(number) => assert_eq!(found.data_file(number), name),
                Part::Meta => assert_eq!(found.meta_file(), name),
                Part::MetaUnfinished | Part::Bad(_) => {}
            }
        };
        check("t.diskqueue.000000.dat", "t", Part::Data(0));
        check("a.b:c.d.diskqueue.1000000.dat", "a.b:c.d", Part::Data(1_000_000));
        check("t.diskqueue.x.diskqueue.meta.dat", "t.diskqueue.x", Part::Meta);
        check("t:c.diskqueue.meta.dat", "t:c", Part::Meta);
        check("t:c.diskqueue.meta.dat.8674665223082153551.tmp", "t:c", Part::MetaUnfinished);
        check("t:c.diskqueue.000012.dat.bad", "t:c", Part::Bad(12));
        check("t#ephemeral:c.diskqueue.000012.dat", "t#ephemeral:c", Part::Data(12));
        for other in [
            "nsqd.dat",
            "t.diskqueue.0.dat",
            "t.diskqueue.0000001.dat",
            "t.diskqueue.00000a.dat",
            "t.diskqueue.+00001.dat",
            "t.diskqueue.meta.dat.tmp",
            "t.diskqueue.meta.dat~",
            "t.diskqueue.000001.dat.old",
            "t!.diskqueue.000001.dat",
            "t:.diskqueue.000001.dat",
            ".diskqueue.000001.dat",
            "t:c:d.diskqueue.000001.dat",
            "t.diskqueue.99999999999999999999.dat",
        ] {
            assert_eq!(Queue::of_file(other), None, "{other}");
        }
        let ephemeral = |name| Queue::of_file(name).unwrap().0.is_ephemeral();
        assert!(ephemeral("t#ephemeral:c.diskqueue.meta.dat"));
        assert!(ephemeral("t:c#ephemeral.diskqueue.meta.dat"));
        assert!(!ephemeral("t:c.diskqueue.meta.dat"));
    }

    proptest! {
        #[test]
        fn messages_come_back(
            messages in vec_of(
                (any::<i64>(), any::<u16>(), any::<[u8; 16]>(), vec_of(any::<u8>(), 0..99)),
                0..20,
            ),
        ) {
            let mut file = Vec::new();
            for (timestamp_ns, attempts, id, body) in &messages {
                let (timestamp_ns, attempts, id) = (*timestamp_ns, *attempts, *id);
                write(&mut file, &Message { timestamp_ns, attempts, id, body });
            }
            let mut found = Vec::new();
            let mut rest = &file[..];
            while let Found::Message(message, bytes) = read(rest, rest.len() as u64, LIMIT) {
                let Message { timestamp_ns, attempts, id, body } = message;
                found.push((timestamp_ns, attempts, id, body.to_vec()));
                rest = &rest[bytes..];
            }
            prop_assert!(rest.is_empty());
            prop_assert_eq!(found, messages);
        }

        #[test]
        fn any_bytes_are_read_to_an_end(
            bytes in vec_of(any::<u8>(), 0..200),
            more in 0_u64..1000,
        ) {
            let rest = bytes.len() as u64 + more;
            match read(&bytes, rest, LIMIT) {
                Found::Message(message, length) => {
                    prop_assert!(length <= bytes.len());
                    prop_assert_eq!(message.body, &bytes[30..length]);
                }
                Found::More(needed) => {
                    prop_assert!(needed > bytes.len() && needed as u64 <= rest);
                }
                Found::End => prop_assert_eq!(rest, 0),
                Found::Damage(_) => {}
            }
            // It never panics.
            let _ = Meta::parse(&bytes);
        }

        #[test]
        fn positions_come_back(depth in any::<i64>(), at in any::<[u64; 4]>()) {
            let meta = Meta {
                depth,
                read: Position { file: at[0], offset: at[1] },
                write: Position { file: at[2], offset: at[3] },
            };
            prop_assert_eq!(Meta::parse(meta.text().as_bytes()), Some(meta));
        }
    }

    #[test]
    fn a_length_that_is_half_there_is_waited_for() {
        let bytes = vec![0; 2];
        assert_eq!(read(&bytes, 4, LIMIT), Found::More(4));
    }
}
