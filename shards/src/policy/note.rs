//! What a dead letter carries beside its body, in its record's own header: why it is one, and where
//! it came from.
//!
//! ```text
//! 0   u8   reason: 1 attempts, 2 age, 3 full
//! 1   u8   bytes of the topic's name      2  u8  of the channel's; 0 for the topic itself
//! 3   u8   zero
//! 4   u16  how often it was delivered     6  u16 zero
//! 8   u64  its id there, as a number
//! 16  i64  when it was published there, nanoseconds since the Unix epoch
//! 24       the names
//! ```
//! Little-endian.

use alloc::vec::Vec;

use crate::wire::names::{NAME_BYTES_MAX, Name};

/// The longest note.
pub const NOTE_BYTES_MAX: usize = FIXED_BYTES + 2 * NAME_BYTES_MAX;

const FIXED_BYTES: usize = 24;

/// Why a message is a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It was delivered as often as its channel allows.
    Attempts = 1,
    /// It was older than its topic or channel allows.
    Age = 2,
    /// Its topic or channel was full.
    Full = 3,
}

impl Reason {
    /// In a word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Attempts => "attempts",
            Reason::Age => "age",
            Reason::Full => "full",
        }
    }

    fn parse(raw: u8) -> Option<Reason> {
        [Reason::Attempts, Reason::Age, Reason::Full].into_iter().find(|&known| known as u8 == raw)
    }
}

/// Messages that were given up, by the reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fates {
    /// See [`Reason::Attempts`].
    pub attempts: u64,
    /// See [`Reason::Age`].
    pub age: u64,
    /// See [`Reason::Full`].
    pub full: u64,
}

impl Fates {
    /// So many more.
    pub fn add(&mut self, reason: Reason, count: u64) {
        *match reason {
            Reason::Attempts => &mut self.attempts,
            Reason::Age => &mut self.age,
            Reason::Full => &mut self.full,
        } += count;
    }

    /// All together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.attempts + self.age + self.full
    }
}

/// Where a message came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Its topic.
    pub topic: Name,
    /// The channel that gave it up; `None`: no channel had been given it.
    pub channel: Option<Name>,
    /// Its id there, as a number.
    pub id: u64,
    /// When it was published there, nanoseconds since the Unix epoch.
    pub timestamp_ns: i64,
}

/// See the module's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note {
    /// Why it is a dead letter.
    pub reason: Reason,
    /// How often it was delivered.
    pub attempts: u16,
    /// Where it came from.
    pub origin: Origin,
}

impl Note {
    /// Appends it as bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let Origin { topic, channel, id, timestamp_ns } = &self.origin;
        let channel = channel.as_ref().map_or(&[][..], Name::as_bytes);
        let lengths = [self.reason as u8, topic.as_bytes().len() as u8, channel.len() as u8, 0];
        out.extend_from_slice(&lengths);
        out.extend_from_slice(&u32::from(self.attempts).to_le_bytes());
        out.extend_from_slice(&id.to_le_bytes());
        out.extend_from_slice(&timestamp_ns.to_le_bytes());
        out.extend_from_slice(topic.as_bytes());
        out.extend_from_slice(channel);
    }

    /// Reads a whole note; `None` when it is none.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Note> {
        let (fixed, names) = bytes.split_at_checked(FIXED_BYTES)?;
        let [reason, topic_bytes, channel_bytes, 0] = *fixed.first_chunk()? else { return None };
        let attempts = u32::from_le_bytes(*fixed[4..].first_chunk()?);
        let id = u64::from_le_bytes(*fixed[8..].first_chunk()?);
        let timestamp_ns = i64::from_le_bytes(*fixed[16..].first_chunk()?);
        let (topic, channel) = names.split_at_checked(usize::from(topic_bytes))?;
        if channel.len() != usize::from(channel_bytes) {
            return None;
        }
        let topic = Name::parse(topic)?;
        let channel = if channel.is_empty() { None } else { Some(Name::parse(channel)?) };
        Some(Note {
            reason: Reason::parse(reason)?,
            attempts: u16::try_from(attempts).ok()?,
            origin: Origin { topic, channel, id, timestamp_ns },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{NOTE_BYTES_MAX, Note, Origin, Reason};
    use crate::wire::names::Name;
    use alloc::vec::Vec;

    fn note(topic: &[u8], channel: Option<&[u8]>) -> Note {
        let topic = Name::parse(topic).unwrap();
        let channel = channel.map(|name| Name::parse(name).unwrap());
        let origin = Origin { topic, channel, id: 0x0172_cd0d_acc8_0007, timestamp_ns: 0x18ea };
        Note { reason: Reason::Attempts, attempts: 300, origin }
    }

    fn encoded(note: &Note) -> Vec<u8> {
        let mut out = Vec::new();
        note.encode(&mut out);
        out
    }

    #[test]
    fn the_format_never_changes() {
        let bytes =
            b"\x01\x02\x01\0\x2c\x01\0\0\x07\0\xc8\xac\x0d\xcd\x72\x01\xea\x18\0\0\0\0\0\0toc";
        assert_eq!(encoded(&note(b"to", Some(b"c"))), bytes);
        let longest = encoded(&note(&[b'x'; 64], Some(&[b'y'; 64])));
        assert_eq!(longest.len(), NOTE_BYTES_MAX);
    }

    #[test]
    fn what_is_written_is_read_and_nothing_else() {
        for note in [note(b"t", Some(b"c#ephemeral")), note(b"t", None)] {
            let bytes = encoded(&note);
            assert_eq!(Note::decode(&bytes), Some(note));
            for length in 0..bytes.len() {
                assert_eq!(Note::decode(&bytes[..length]), None, "{length}");
            }
            assert_eq!(Note::decode(&[&bytes[..], b"x"].concat()), None);
            for wrong in [0, 4] {
                let mut bytes = bytes.clone();
                bytes[0] = wrong;
                assert_eq!(Note::decode(&bytes), None);
            }
        }
    }
}
