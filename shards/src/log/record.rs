//! One message in a segment, in the format that it also has on disk.
//!
//! ```text
//! 0   u32  CRC-32 of the topic's name and the rest; 0 in a topic that is only kept in memory
//! 4   u8   kind: 1 message, 2 deferred message, 3 message with a note
//! 5   3    zero
//! 8   u64  delay in milliseconds, only in kinds 2 and 3; little-endian like the CRC
//! 16  u32  bytes of the note, and the note, only in kind 3
//! then the message frame as consumers get it: size, type, timestamp, attempts (0), id, body
//! ```
//! The frame is kept whole, so that a delivery is one copy and two patched bytes.

use alloc::vec::Vec;
use core::ops::Range;

use super::{Message, Position};
use crate::id;
use crate::policy::NOTE_BYTES_MAX;
use crate::wire::frame::MESSAGE_HEADER_BYTES;
use crate::wire::names::Name;

/// The most that a record has besides its message's body.
pub const RECORD_BYTES_MAX: usize =
    PREFIX_BYTES + DELAY_BYTES + LENGTH_BYTES + NOTE_BYTES_MAX + MESSAGE_HEADER_BYTES;
const CRC_BYTES: usize = 4;
/// Where in a frame the id is: behind size, type, timestamp and attempts.
const ID_OFFSET: usize = MESSAGE_HEADER_BYTES - 16;
/// Frame type of a message, as it stands in each frame.
const FRAME_TYPE: [u8; 4] = [0, 0, 0, 2];

const PREFIX_BYTES: usize = 8;
const DELAY_BYTES: usize = 8;
const MESSAGE: u8 = 1;
const DEFERRED: u8 = 2;
const NOTED: u8 = 3;
const LENGTH_BYTES: usize = 4;

/// A message read in place.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The whole message frame, attempts 0.
    pub frame: &'a [u8],
    /// How long each channel keeps it back; 0 for not at all.
    pub delay_ms: u64,
    /// What is noted of it; seldom anything.
    pub note: &'a [u8],
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

    /// When it could be delivered first, nanoseconds since the Unix epoch.
    #[must_use]
    pub fn since_ns(&self) -> i64 {
        let delay_ns = i64::try_from(self.delay_ms.saturating_mul(1_000_000)).unwrap_or(i64::MAX);
        self.timestamp_ns().saturating_add(delay_ns)
    }

    /// What was published.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.frame[MESSAGE_HEADER_BYTES..]
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
        [NOTED, 0, 0, 0] => {
            let note = note_bytes(bytes).filter(|&note| note <= NOTE_BYTES_MAX)?;
            PREFIX_BYTES + DELAY_BYTES + LENGTH_BYTES + note
        }
        _ => return None,
    };
    let size = u32::from_be_bytes(*bytes.get(start..)?.first_chunk()?) as usize;
    let frame_type = bytes.get(start + 4..start + 8)?;
    (size + 4 >= MESSAGE_HEADER_BYTES && frame_type == FRAME_TYPE).then_some(start + 4 + size)
}

/// Bytes of the note in a record that has one.
fn note_bytes(record: &[u8]) -> Option<usize> {
    let length = record.get(PREFIX_BYTES + DELAY_BYTES..)?.first_chunk()?;
    Some(u32::from_le_bytes(*length) as usize)
}

/// Checks the record at the start of `bytes`; `None` when it is damaged or not whole.
#[must_use]
pub fn check(bytes: &[u8], salt: Salt) -> Option<Checked> {
    let record = bytes.get(..claimed_bytes(bytes)?)?;
    if salt.checksum(record) != stored_checksum(record)? {
        return None;
    }
    describe(record)
}

/// The sequence number of the record at the start of `bytes`, and when it was published, though
/// `bytes` may end within its body; `None` when it is no record. Its checksum is not looked at.
#[must_use]
pub fn glance(bytes: &[u8]) -> Option<(u64, i64)> {
    claimed_bytes(bytes)?;
    let header = frame(bytes).get(..MESSAGE_HEADER_BYTES)?;
    let id = id::parse(header[ID_OFFSET..].first_chunk()?)?;
    let timestamp_ns = i64::from_be_bytes(*header[8..].first_chunk()?);
    Some((id::any_sequence(id), timestamp_ns))
}

fn stored_checksum(record: &[u8]) -> Option<u32> {
    record.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

/// What a record with the right checksum is; `None` when its id is none.
fn describe(record: &[u8]) -> Option<Checked> {
    let found = read(record, Position::default());
    let id = id::parse(found.frame[ID_OFFSET..].first_chunk()?)?;
    let (sequence, timestamp_ns) = (id::any_sequence(id), found.timestamp_ns());
    Some(Checked { bytes: record.len(), sequence, delay_ms: found.delay_ms, timestamp_ns })
}

/// The records of a run: where each good one is, or which bytes are damaged. Behind damage it
/// goes on where the damaged record claims to end, or else at the next good record. That takes
/// time in proportion to the run, whatever bodies look like.
pub fn walk(run: &[u8], salt: Salt) -> impl Iterator<Item = Result<(u32, Checked), Range<u32>>> {
    let mut offset = 0;
    // All good records, once something is damaged.
    let mut good: Option<Vec<(u32, Checked)>> = None;
    core::iter::from_fn(move || {
        let rest = run.get(offset..).filter(|rest| !rest.is_empty())?;
        let start = offset as u32;
        let found = match &good {
            None => check(rest, salt),
            Some(good) => find(good, start),
        };
        if let Some(checked) = found {
            offset += checked.bytes;
            return Some(Ok((start, checked)));
        }
        let good = good.get_or_insert_with(|| all_good(run, offset, salt));
        let end = claimed_bytes(rest).and_then(|bytes| offset.checked_add(bytes));
        let is_good =
            |&end: &usize| end == run.len() || end < run.len() && find(good, end as u32).is_some();
        let behind = &good[good.partition_point(|&(at, _)| at <= start)..];
        let next = behind.first().map_or(run.len(), |&(at, _)| at as usize);
        offset = end.filter(is_good).unwrap_or(next);
        Some(Err(start..offset as u32))
    })
}

fn find(good: &[(u32, Checked)], start: u32) -> Option<Checked> {
    let at = good.binary_search_by_key(&start, |&(at, _)| at).ok()?;
    Some(good[at].1)
}

/// Every good record from a place on, also one that lies within another. Whoever publishes can
/// fill a body with what looks like the starts of long records: their checksums are worked out
/// from those of the stretches between starts and ends, so that no byte is looked at twice.
fn all_good(run: &[u8], from: usize, salt: Salt) -> Vec<(u32, Checked)> {
    let whole = |start: usize| {
        let end = claimed_bytes(&run[start..]).and_then(|bytes| start.checked_add(bytes))?;
        (end <= run.len()).then_some(start..end)
    };
    let claims: Vec<Range<usize>> = (from..run.len()).filter_map(whole).collect();
    let bounds = claims.iter().flat_map(|claim| [claim.start + CRC_BYTES, claim.end]);
    let mut bounds: Vec<usize> = bounds.collect();
    bounds.sort_unstable();
    bounds.dedup();
    let (mut hasher, mut at) = (crc32fast::Hasher::new(), from);
    let mut sums = Vec::with_capacity(bounds.len());
    for &bound in &bounds {
        hasher.update(&run[at..bound]);
        at = bound;
        sums.push(hasher.clone().finalize());
    }
    let sum_to = |bound: usize| bounds.binary_search(&bound).map_or(0, |index| sums[index]);
    let is_good = |claim: &Range<usize>| {
        let hashed = claim.start + CRC_BYTES..claim.end;
        let before = crc32fast::Hasher::new_with_initial(salt.0 ^ sum_to(hashed.start));
        let behind =
            crc32fast::Hasher::new_with_initial_len(sum_to(hashed.end), hashed.len() as u64);
        let mut hasher = before;
        hasher.combine(&behind);
        Some(hasher.finalize()) == stored_checksum(&run[claim.clone()])
    };
    let good = claims.into_iter().filter(is_good);
    good.filter_map(|claim| Some((claim.start as u32, describe(&run[claim])?))).collect()
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
    let more = match record[CRC_BYTES] {
        MESSAGE => 0,
        NOTED => DELAY_BYTES + LENGTH_BYTES + note_bytes(record).unwrap_or(0),
        _ => DELAY_BYTES,
    };
    &record[PREFIX_BYTES + more..]
}

/// Bytes that a message takes in a segment.
pub(super) fn bytes(message: &Message<'_>) -> usize {
    let more = match kind(message) {
        MESSAGE => 0,
        NOTED => DELAY_BYTES + LENGTH_BYTES + message.note.len(),
        _ => DELAY_BYTES,
    };
    PREFIX_BYTES + more + MESSAGE_HEADER_BYTES + message.body.len()
}

fn kind(message: &Message<'_>) -> u8 {
    match (message.note.is_empty(), message.delay_ms) {
        (true, 0) => MESSAGE,
        (true, _) => DEFERRED,
        (false, _) => NOTED,
    }
}

/// Writes a record; `to` is exactly as long as [`bytes`] says.
pub(super) fn write(to: &mut [u8], message: &Message<'_>) {
    let kind = kind(message);
    let (prefix, mut rest) = to.split_at_mut(PREFIX_BYTES);
    prefix.copy_from_slice(&u64::to_le_bytes(u64::from(kind) << 32));
    if kind != MESSAGE {
        let (delay, behind) = rest.split_at_mut(DELAY_BYTES);
        delay.copy_from_slice(&message.delay_ms.to_le_bytes());
        rest = behind;
    }
    if kind == NOTED {
        assert!(message.note.len() <= NOTE_BYTES_MAX, "what is noted of a message has a bound");
        let (length, behind) = rest.split_at_mut(LENGTH_BYTES);
        length.copy_from_slice(&(message.note.len() as u32).to_le_bytes());
        let (note, behind) = behind.split_at_mut(message.note.len());
        note.copy_from_slice(message.note);
        rest = behind;
    }
    let (header, body) = rest.split_at_mut(MESSAGE_HEADER_BYTES);
    header.copy_from_slice(message.header);
    body.copy_from_slice(message.body);
}

/// Reads the record at `at` in the used part of its segment.
pub(crate) fn read(segment: &[u8], at: Position) -> Record<'_> {
    let record = &segment[at.offset as usize..];
    let (mut delay_ms, mut note, mut start) = (0, &[][..], PREFIX_BYTES);
    if record[CRC_BYTES] != MESSAGE {
        delay_ms = record[start..].first_chunk().map_or(0, |raw| u64::from_le_bytes(*raw));
        start += DELAY_BYTES;
        if record[CRC_BYTES] == NOTED {
            start += LENGTH_BYTES;
            note = &record[start..][..note_bytes(record).unwrap_or(0)];
            start += note.len();
        }
    }
    let frame = &record[start..];
    let size = frame.first_chunk().map_or(0, |raw| u32::from_be_bytes(*raw));
    let frame = &frame[..size as usize + 4];
    let next = Position { segment: at.segment, offset: at.offset + (start + frame.len()) as u32 };
    Record { frame, delay_ms, note, next }
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
        let message = Message { header, body: b"hello", delay_ms, note: b"" };
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
    fn a_note_stands_in_front_of_the_frame() {
        let header = &message_header(5, 0x18ea_9b0d_2a89_80ef, b"0172cd0dacc80007");
        for delay_ms in [0, 250] {
            let message = Message { header, body: b"hello", delay_ms, note: b"why" };
            let mut out = Vec::new();
            append(&mut out, &message, Salt::default());
            let prefix = [&b"\x03\0\0\0"[..], &[delay_ms as u8], &[0; 7], b"\x03\0\0\0why"];
            assert_eq!(out[4..], [&prefix.concat(), FRAME].concat());
            assert_eq!((out.len(), frame(&out)), (bytes(&message), FRAME));
            let found = read(&out, Position::default());
            assert_eq!((found.frame, found.delay_ms, found.note), (FRAME, delay_ms, &b"why"[..]));
            assert_eq!(check(&out, Salt::default()).unwrap().bytes, out.len());
            out[16] = 0xff;
            assert_eq!(super::claimed_bytes(&out), None, "no note is so long");
        }
    }

    #[test]
    fn an_appended_record_is_whole() {
        for delay_ms in [0, 250] {
            let mut sealed = record(delay_ms);
            seal(&mut sealed, Salt::default());
            let header = &message_header(5, 0x18ea_9b0d_2a89_80ef, b"0172cd0dacc80007");
            let mut out = b"before".to_vec();
            append(
                &mut out,
                &Message { header, body: b"hello", delay_ms, note: b"" },
                Salt::default(),
            );
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

    /// The next good record is found as trying every place would find it, also in bodies that
    /// look like many records.
    #[test]
    fn damage_is_searched_as_if_every_place_was_tried() {
        let salt = Salt(0x1234_5678);
        let header = |bytes| message_header(bytes, 5, b"0172cd0dacc80007");
        let mut inner = Vec::new();
        append(
            &mut inner,
            &Message { header: &header(5), body: b"hello", delay_ms: 3, note: b"" },
            salt,
        );
        let mut fake = inner.clone();
        fake[0] ^= 1;
        let body = [&inner[..], &fake, b"xx", &inner].concat();
        let mut run = Vec::new();
        for delay_ms in [0, 250, 0] {
            let header = &header(body.len() as u32);
            append(&mut run, &Message { header, body: &body, delay_ms, note: b"" }, salt);
        }
        for byte in 0..run.len() {
            run[byte] ^= 0x10;
            let mut at = 0;
            for found in walk(&run, salt) {
                match found {
                    Ok((start, checked)) => {
                        assert_eq!((start as usize, check(&run[at..], salt)), (at, Some(checked)));
                        at += checked.bytes;
                    }
                    Err(bad) => {
                        assert_eq!(bad.start as usize, at);
                        assert_eq!(check(&run[at..], salt), None);
                        let good = |at: usize| at == run.len() || check(&run[at..], salt).is_some();
                        let claimed = super::claimed_bytes(&run[at..]).map(|bytes| at + bytes);
                        let claimed = claimed.filter(|&end| end <= run.len() && good(end));
                        let next = claimed.or_else(|| (at + 1..=run.len()).find(|&at| good(at)));
                        assert_eq!(Some(bad.end as usize), next, "byte {byte}");
                        at = bad.end as usize;
                    }
                }
            }
            assert_eq!(at, run.len());
            run[byte] ^= 0x10;
        }
    }

    /// A body full of starts of records that claim to be long, in a record that is damaged.
    #[test]
    fn crafted_damage_costs_no_more_than_other_damage() {
        let bytes = 8 << 20;
        let mut body = Vec::with_capacity(bytes);
        while body.len() < bytes {
            let claims = (bytes - body.len() + 20) as u32;
            body.extend_from_slice(&[0, 0, 0, 0, 1, 0, 0, 0]);
            body.extend_from_slice(&claims.to_be_bytes());
            body.extend_from_slice(&[0, 0, 0, 2]);
        }
        let header = &message_header(body.len() as u32, 5, b"0172cd0dacc80007");
        let (mut run, salt) = (Vec::new(), Salt::default());
        append(&mut run, &Message { header, body: &body, delay_ms: 0, note: b"" }, salt);
        let small = &message_header(5, 6, b"0172cd0dacc80407");
        append(&mut run, &Message { header: small, body: b"hello", delay_ms: 0, note: b"" }, salt);
        run[4] ^= 0x40;
        let began = std::time::Instant::now();
        let found: Vec<_> = walk(&run, salt).collect();
        // Trying each of half a million claims would take hours.
        assert!(began.elapsed() < std::time::Duration::from_secs(60));
        assert!(matches!(&found[..], [Err(_), Ok((_, good))] if good.bytes == 47));
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
