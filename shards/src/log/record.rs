//! One message in a segment, in the format that it also has on disk.
//!
//! ```text
//! 0   u32  CRC-32 of the rest; 0 while the record is in memory only
//! 4   u8   kind: 1 message, 2 deferred message
//! 5   3    zero
//! 8   u64  delay in milliseconds, only in kind 2; little-endian like the CRC
//! then the message frame as consumers get it: size, type, timestamp, attempts (0), id, body
//! ```
//! The frame is kept whole, so that a delivery is one copy and two patched bytes.

use super::{Message, Position};
use crate::wire::frame::MESSAGE_HEADER_BYTES;

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
    /// When it was published, nanoseconds since the Unix epoch.
    #[must_use]
    pub fn timestamp_ns(&self) -> i64 {
        self.frame[8..].first_chunk().map_or(0, |bytes| i64::from_be_bytes(*bytes))
    }
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
    use super::{bytes, read, write};
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
