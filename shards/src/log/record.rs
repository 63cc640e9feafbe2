//! One message in a segment, in the format that it also has on disk.
//!
//! ```text
//! 0   u32  CRC-32 of the topic's name and the rest; 0 in a topic that is only kept in memory
//! 4   u8   kind: 1 message, 2 deferred message
//! 5   3    zero
//! 8   u64  delay in milliseconds, only in kind 2; little-endian like the CRC
//! then the message frame as consumers get it: size, type, timestamp, attempts (0), id, body
//! ```
//! The frame is kept whole, so that a delivery is one copy and two patched bytes.

use alloc::vec::Vec;
use core::ops::Range;

use super::{Message, Position};
use crate::id;
use crate::wire::frame::MESSAGE_HEADER_BYTES;
use crate::wire::names::Name;

/// The most that a record has besides its message's body.
pub const RECORD_BYTES_MAX: usize = PREFIX_BYTES + DELAY_BYTES + MESSAGE_HEADER_BYTES;
const CRC_BYTES: usize = 4;
/// Where in a frame the id is: behind size, type, timestamp and attempts.
const ID_OFFSET: usize = MESSAGE_HEADER_BYTES - 16;
/// Frame type of a message, as it stands in each frame.
const FRAME_TYPE: [u8; 4] = [0, 0, 0, 2];

const PREFIX_BYTES: usize = 8;
const DELAY_BYTES: usize = 8;
const MESSAGE: u8 = 1;
const DEFERRED: u8 = 2;

/// A message read in place.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The whole message frame, attempts 0.
    pub frame: &'a [u8],
    /// How long each channel keeps it back; 0 for not at all.
    pub delay_ms: u64,
    /// Where the record behind it would be.
    pub next: Position,
}

impl Record<'_> {
    /// Its message's sequence number.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        let id = self.frame[ID_OFFSET..].first_chunk().and_then(id::parse);
        id::any_sequence(id.expect("ids in memory are ours"))
    }

    /// When it was published, nanoseconds since the Unix epoch.
    #[must_use]
    pub fn timestamp_ns(&self) -> i64 {
        self.frame[8..].first_chunk().map_or(0, |bytes| i64::from_be_bytes(*bytes))
    }
}

/// A record whose checksum is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checked {
    /// Its whole length.
    pub bytes: usize,
    /// Its message's sequence number.
    pub sequence: u64,
    /// How long each channel keeps it back; 0 for not at all.
    pub delay_ms: u64,
    /// When it was published, nanoseconds since the Unix epoch.
    pub timestamp_ns: i64,
}

/// What the checksums of a topic's records start with: where an append was torn in a file that is
/// used again, records of other topics lie behind it, and must not be taken for the topic's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Salt(u32);

impl Salt {
    /// Of a topic.
    #[must_use]
    pub fn of(topic: &Name) -> Salt {
        Salt(crc32fast::hash(topic.as_bytes()))
    }

    fn checksum(self, record: &[u8]) -> u32 {
        let mut hasher = crc32fast::Hasher::new_with_initial(self.0);
        hasher.update(&record[CRC_BYTES..]);
        hasher.finalize()
    }
}

/// Writes the checksum into a whole record.
pub fn seal(record: &mut [u8], salt: Salt) {
    let crc = salt.checksum(record);
    record[..CRC_BYTES].copy_from_slice(&crc.to_le_bytes());
}

/// Writes the checksums into all records of a run that is known to be good.
pub fn seal_all(mut run: &mut [u8], salt: Salt) {
    while let Some(length) = claimed_bytes(run) {
        let (record, rest) = run.split_at_mut(length);
        seal(record, salt);
        run = rest;
    }
}

/// The records of a run that is known to be good, their checksums not looked at.
pub fn walk_trusted(run: &[u8]) -> impl Iterator<Item = (u32, Checked)> {
    let mut at = Position::default();
    core::iter::from_fn(move || {
        let start = at.offset;
        if start as usize >= run.len() {
            return None;
        }
        let found = read(run, at);
        at = found.next;
        let checked = Checked {
            bytes: (at.offset - start) as usize,
            sequence: found.sequence(),
            delay_ms: found.delay_ms,
            timestamp_ns: found.timestamp_ns(),
        };
        Some((start, checked))
    })
}

/// Bytes that the record at the start of `bytes` claims to have, right or wrong; `None` when it
/// is no record.
#[must_use]
pub fn claimed_bytes(bytes: &[u8]) -> Option<usize> {
    let start = match *bytes.get(CRC_BYTES..PREFIX_BYTES)? {
        [MESSAGE, 0, 0, 0] => PREFIX_BYTES,
        [DEFERRED, 0, 0, 0] => PREFIX_BYTES + DELAY_BYTES,
        _ => return None,
    };
    let size = u32::from_be_bytes(*bytes.get(start..)?.first_chunk()?) as usize;
    let frame_type = bytes.get(start + 4..start + 8)?;
    (size + 4 >= MESSAGE_HEADER_BYTES && frame_type == FRAME_TYPE).then_some(start + 4 + size)
}

/// Checks the record at the start of `bytes`; `None` when it is damaged or not whole.
#[must_use]
pub fn check(bytes: &[u8], salt: Salt) -> Option<Checked> {
    let length = claimed_bytes(bytes)?;
    let record = bytes.get(..length)?;
    let crc = u32::from_le_bytes(*record.first_chunk()?);
    if salt.checksum(record) != crc {
        return None;
    }
    let found = read(record, Position::default());
    let id = id::parse(found.frame[ID_OFFSET..].first_chunk()?)?;
    let (sequence, timestamp_ns) = (id::any_sequence(id), found.timestamp_ns());
    Some(Checked { bytes: length, sequence, delay_ms: found.delay_ms, timestamp_ns })
}

/// The records of a run: where each good one is, or which bytes are damaged. Behind damage it
/// goes on where the damaged record claims to end, or else at the next good record.
pub fn walk(run: &[u8], salt: Salt) -> impl Iterator<Item = Result<(u32, Checked), Range<u32>>> {
    let mut offset = 0;
    core::iter::from_fn(move || {
        let rest = run.get(offset..).filter(|rest| !rest.is_empty())?;
        let start = offset;
        if let Some(checked) = check(rest, salt) {
            offset += checked.bytes;
            return Some(Ok((start as u32, checked)));
        }
        let claimed = claimed_bytes(rest).filter(|&end| end <= rest.len());
        let good = |&at: &usize| at == rest.len() || check(&rest[at..], salt).is_some();
        let next = claimed.filter(good).or_else(|| (1..rest.len()).find(good));
        offset += next.unwrap_or(rest.len());
        Some(Err(start as u32..offset as u32))
    })
}

/// Appends a whole record, its checksum included.
pub fn append(out: &mut Vec<u8>, message: &Message<'_>, salt: Salt) {
    let start = out.len();
    out.resize(start + bytes(message), 0);
    write(&mut out[start..], message);
    seal(&mut out[start..], salt);
}

/// The message frame in a record that is good.
#[must_use]
pub fn frame(record: &[u8]) -> &[u8] {
    let delay = if record[CRC_BYTES] == DEFERRED { DELAY_BYTES } else { 0 };
    &record[PREFIX_BYTES + delay..]
}

/// Bytes that a message takes in a segment.
pub(super) fn bytes(message: &Message<'_>) -> usize {
    let delay = if message.delay_ms == 0 { 0 } else { DELAY_BYTES };
    PREFIX_BYTES + delay + MESSAGE_HEADER_BYTES + message.body.len()
}

/// Writes a record; `to` is exactly as long as [`bytes`] says.
pub(super) fn write(to: &mut [u8], message: &Message<'_>) {
    let kind = if message.delay_ms == 0 { MESSAGE } else { DEFERRED };
    let (prefix, mut rest) = to.split_at_mut(PREFIX_BYTES);
    prefix.copy_from_slice(&u64::to_le_bytes(u64::from(kind) << 32));
    if kind == DEFERRED {
        let (delay, behind) = rest.split_at_mut(DELAY_BYTES);
        delay.copy_from_slice(&message.delay_ms.to_le_bytes());
        rest = behind;
    }
    let (header, body) = rest.split_at_mut(MESSAGE_HEADER_BYTES);
    header.copy_from_slice(message.header);
    body.copy_from_slice(message.body);
}

/// Reads the record at `at` in the used part of its segment.
pub(super) fn read(segment: &[u8], at: Position) -> Record<'_> {
    let record = &segment[at.offset as usize..];
    let (delay_ms, start) = if record[4] == DEFERRED {
        let delay = record[PREFIX_BYTES..].first_chunk().map_or(0, |raw| u64::from_le_bytes(*raw));
        (delay, PREFIX_BYTES + DELAY_BYTES)
    } else {
        (0, PREFIX_BYTES)
    };
    let frame = &record[start..];
    let size = frame.first_chunk().map_or(0, |raw| u32::from_be_bytes(*raw));
    let frame = &frame[..size as usize + 4];
    let next = Position { segment: at.segment, offset: at.offset + (start + frame.len()) as u32 };
    Record { frame, delay_ms, next }
}

#[cfg(test)]
mod tests {
    use super::super::{Message, Position};
    use super::{Salt, append, bytes, check, frame, read, seal, walk, write};
    use crate::wire::frame::message_header;
    use alloc::vec;
    use alloc::vec::Vec;

    fn record(delay_ms: u64) -> Vec<u8> {
        let header = &message_header(5, 0x18ea_9b0d_2a89_80ef, b"0172cd0dacc80007");
        let message = Message { header, body: b"hello", delay_ms };
        // Stale bytes of another record, as in a segment that is used again.
        let mut record = vec![0xa5; bytes(&message)];
        write(&mut record, &message);
        record
    }

    const FRAME: &[u8] =
        b"\0\0\0\x23\0\0\0\x02\x18\xea\x9b\x0d\x2a\x89\x80\xef\0\x000172cd0dacc80007hello";

    #[test]
    fn the_format_never_changes() {
        assert_eq!(record(0), [b"\0\0\0\0\x01\0\0\0", FRAME].concat());
        let prefix = b"\0\0\0\0\x02\0\0\0\xfa\0\0\0\0\0\0\0";
        assert_eq!(record(250), [prefix, FRAME].concat());
    }

    #[test]
    fn an_appended_record_is_whole() {
        for delay_ms in [0, 250] {
            let mut sealed = record(delay_ms);
            seal(&mut sealed, Salt::default());
            let header = &message_header(5, 0x18ea_9b0d_2a89_80ef, b"0172cd0dacc80007");
            let mut out = b"before".to_vec();
            append(&mut out, &Message { header, body: b"hello", delay_ms }, Salt::default());
            assert_eq!(out, [b"before", &sealed[..]].concat());
            assert_eq!(frame(&sealed), FRAME);
        }
    }

    #[test]
    fn one_flipped_bit_costs_one_record() {
        let mut run = Vec::new();
        let records: Vec<Vec<u8>> = [0, 250, 0].map(record).into();
        let mut bounds = Vec::new();
        for mut record in records {
            seal(&mut record, Salt::default());
            bounds.push(run.len() as u32);
            run.extend_from_slice(&record);
        }
        let offsets = |run: &[u8]| {
            let good =
                walk(run, Salt::default()).filter_map(|found| found.ok().map(|(offset, _)| offset));
            good.collect::<Vec<u32>>()
        };
        assert_eq!(offsets(&run), bounds);
        let first = check(&run, Salt::default()).unwrap();
        assert_eq!((first.sequence, first.delay_ms), (0x0172_cd0d_acc8_0007 >> 10, 0));
        for bit in 0..run.len() * 8 {
            run[bit / 8] ^= 1 << (bit % 8);
            let hit = bounds.partition_point(|&start| start as usize <= bit / 8) - 1;
            let mut left = bounds.clone();
            left.remove(hit);
            assert_eq!(offsets(&run), left, "bit {bit}");
            assert_eq!(walk(&run, Salt::default()).filter(|found| found.is_err()).count(), 1);
            run[bit / 8] ^= 1 << (bit % 8);
        }
        for length in 0..run.len() {
            let ends = bounds.iter().skip(1).map(|&end| end as usize).chain([run.len()]);
            let whole = ends.filter(|&end| end <= length).count();
            assert_eq!(offsets(&run[..length]).len(), whole);
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for delay_ms in [0, 1, 3_600_000] {
            let (first, second) = (record(delay_ms), record(7));
            let segment = [&first[..], &second].concat();
            let found = read(&segment, Position { segment: 3, offset: 0 });
            assert_eq!((found.frame, found.delay_ms), (FRAME, delay_ms));
            assert_eq!(found.timestamp_ns(), 0x18ea_9b0d_2a89_80ef);
            let next = Position { segment: 3, offset: first.len() as u32 };
            assert_eq!(found.next, next);
            assert_eq!(read(&segment, next).delay_ms, 7);
        }
    }
}
