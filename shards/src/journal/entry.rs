//! One entry of a file: a head and its payload.
//!
//! ```text
//! 0   u32  CRC-32 of the file's nonce (8 bytes), the head's offset in the file (8 bytes), the
//!          rest of the head, and the names
//! 4   u8   kind: 1 run, 2 channel, 3 topic, 4 finished, 5 requeued, 6 channel deleted,
//!          7 topic deleted, 8 part of the channel behind, 9 index of deferred messages, of no
//!          use after a restart, 10 how far a channel has delivered
//! 5   u8   length of the topic's name          6  u8  of the channel's; 0 for none
//! 7   u8   flags: 1 a trailer is behind the payload, 2 this is one, 4 some records are deferred
//! 8   u32  bytes of the payload
//! 12  u32  records in the run; in other kinds the CRC-32 of the payload
//! 16  u64  first and
//! 24  u64  last sequence number in the run; in other kinds 0
//! 32       the names, with zeros up to a multiple of 8
//! then     the payload, with zeros up to a multiple of 8; the trailer
//! ```
//! Little-endian; heads are at multiples of 8. The payload of a run is its records, which have
//! checksums of their own. A trailer is the head again with flag 2 in place of 1, so that a
//! damaged head does not cost a whole run; a run of one record has none.
//!
//! What a disk has written to a wrong place is no entry there: it would hide what it covers, and
//! what it says would come at a wrong time.
//!
//! Everything here appends to `out`, and pads by what it appends, not by how long `out` is: the
//! records between [`run_start`] and [`run_end`] may be somewhere else. Entries of state have no
//! checksum before [`seal`] gives it to them.

use alloc::vec::Vec;

use super::file::{u32_at, u64_at};
use super::state::{self, ChannelState, Outstanding, Range, TopicState};
use crate::wire::names::{NAME_BYTES_MAX, Name};

const HEAD_BYTES: usize = 32;
/// The longest head, names included.
pub(super) const HEAD_BYTES_MAX: usize = HEAD_BYTES + 2 * NAME_BYTES_MAX;
/// What entries are aligned to.
pub(crate) const ALIGN: usize = 8;
const CRC_BYTES: usize = 4;
/// Where in a head its kind is.
pub(super) const KIND_OFFSET: usize = 4;

const HAS_TRAILER: u8 = 1;
const IS_TRAILER: u8 = 2;
const DEFERRED: u8 = 4;

/// Where an entry starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    /// The nonce of its file.
    pub nonce: u64,
    /// Bytes of the file in front of it.
    pub offset: u64,
}

impl At {
    /// So many bytes further on.
    fn behind(self, bytes: usize) -> At {
        At { offset: self.offset + bytes as u64, ..self }
    }
}

/// Records of one topic, one behind the other.
///
/// When such an entry is read back, its records may be damaged, or those of an earlier use of the
/// file where a batch was torn: only sequence numbers from `first` to `last` are its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Whose.
    pub topic: Name,
    /// How many records, at least one.
    pub count: u32,
    /// Sequence number of the first.
    pub first: u64,
    /// Sequence number of the last.
    pub last: u64,
    /// Bytes of all of them.
    pub bytes: u32,
    /// Some of them have a delay.
    pub deferred: bool,
}

/// Appends what stands in front of a run's records. The run's entry starts at `at`.
pub fn run_start(out: &mut Vec<u8>, at: At, run: &Run) {
    Head::of_run(run).append(out, at);
}

/// Appends what stands behind a run's records. The run's entry starts at `at`.
pub fn run_end(out: &mut Vec<u8>, at: At, run: &Run) {
    pad(out, run.bytes as usize);
    let head = Head::of_run(run);
    if head.flags & HAS_TRAILER != 0 {
        let at = at.behind(head.length() + head.padded() as usize);
        Head { flags: head.flags & !HAS_TRAILER | IS_TRAILER, ..head }.append(out, at);
    }
}

/// Gives entries of state, one behind the other, their checksums: now it is known where the first
/// one starts.
pub fn seal(mut entries: &mut [u8], mut at: At) {
    while let Some(names) = entries.get(5..7) {
        let names = usize::from(names[0]) + usize::from(names[1]);
        let (head, bytes) = (HEAD_BYTES + names.next_multiple_of(ALIGN), u32_at(entries, 8));
        seal_head(&mut entries[..head], at);
        let length = head + (bytes as usize).next_multiple_of(ALIGN);
        (entries, at) = (&mut entries[length..], at.behind(length));
    }
}

/// The run whose trailer starts here; no trailer is longer than [`run_end_bytes_max`].
#[must_use]
pub(crate) fn ended_run(bytes: &[u8], at: At) -> Option<Run> {
    Head::read(bytes, at).filter(Head::is_trailer).map(|trailer| trailer.run())
}

/// Bytes that stand in front of a run's records.
#[must_use]
pub fn run_start_bytes(topic: &Name) -> usize {
    HEAD_BYTES + topic.as_bytes().len().next_multiple_of(ALIGN)
}

/// The most that stands behind a run's records.
#[must_use]
pub const fn run_end_bytes_max() -> usize {
    ALIGN + HEAD_BYTES + NAME_BYTES_MAX
}

/// The most that a run takes besides its records.
#[must_use]
pub const fn run_overhead_max() -> usize {
    HEAD_BYTES + NAME_BYTES_MAX + run_end_bytes_max()
}

/// Appends all of a channel's state: what does not fit into an entry of bounded size comes in
/// front of it, in entries of its own.
pub fn channel(out: &mut Vec<u8>, topic: &Name, channel: &Name, state: &ChannelState) {
    let mut parts = 0;
    state.split(|part| {
        let head = Head::of_state(Kind::ChannelPart, topic, Some(channel));
        append_state(out, head, |out| part.encode(parts, out));
        parts += 1;
    });
    let head = Head::of_state(Kind::Channel, topic, Some(channel));
    append_state(out, head, |out| state.encode(parts, out));
}

/// Appends one part of a channel's state.
#[cfg(test)]
pub(super) fn channel_part(
    out: &mut Vec<u8>,
    (topic, channel): (&Name, &Name),
    number: u64,
    list: &[Outstanding],
) {
    let head = Head::of_state(Kind::ChannelPart, topic, Some(channel));
    append_state(out, head, |out| state::PartOf::Outstanding(list).encode(number, out));
}

/// Appends a part of an index of deferred messages, which nobody reads after a restart.
pub fn index(out: &mut Vec<u8>, topic: &Name, part: &[u8]) {
    let head = Head::of_state(Kind::Index, topic, None);
    append_state(out, head, |out| out.extend_from_slice(part));
}

/// Appends all of a topic's state.
pub fn topic(out: &mut Vec<u8>, topic: &Name, state: &TopicState) {
    append_state(out, Head::of_state(Kind::Topic, topic, None), |out| state.encode(out));
}

/// Appends which messages a channel has finished.
pub fn finished(out: &mut Vec<u8>, topic: &Name, channel: &Name, ranges: &[Range]) {
    let head = Head::of_state(Kind::Finished, topic, Some(channel));
    append_state(out, head, |out| state::encode_ranges(out, ranges));
}

/// Appends which messages a channel has taken back, to deliver them again.
pub fn requeued(out: &mut Vec<u8>, topic: &Name, channel: &Name, list: &[Outstanding]) {
    let head = Head::of_state(Kind::Requeued, topic, Some(channel));
    append_state(out, head, |out| state::encode_outstanding(out, list));
}

/// Appends that a channel has delivered what is below `cursor`, as far as it was there to be
/// delivered: where attempts are counted.
pub fn delivered(out: &mut Vec<u8>, topic: &Name, channel: &Name, cursor: u64) {
    let head = Head::of_state(Kind::Delivered, topic, Some(channel));
    append_state(out, head, |out| state::put(out, cursor));
}

/// Appends that a channel is gone.
pub fn channel_deleted(out: &mut Vec<u8>, topic: &Name, channel: &Name) {
    append_state(out, Head::of_state(Kind::ChannelDeleted, topic, Some(channel)), |_| ());
}

/// Appends that a topic is gone, with its messages below `floor`.
pub fn topic_deleted(out: &mut Vec<u8>, topic: &Name, floor: u64) {
    let head = Head::of_state(Kind::TopicDeleted, topic, None);
    append_state(out, head, |out| state::put(out, floor));
}

/// Without a checksum: [`seal`] puts that in.
fn append_state(out: &mut Vec<u8>, head: Head, payload: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.resize(start + head.length(), 0);
    payload(out);
    let (to, payload) = out[start..].split_at_mut(head.length());
    let bytes = u32::try_from(payload.len()).expect("the state of one channel is below 4 GiB");
    Head { bytes, count_or_crc: crc32fast::hash(payload), ..head }.write(to);
    pad(out, bytes as usize);
}

/// Appends the zeros behind this many bytes.
fn pad(out: &mut Vec<u8>, bytes: usize) {
    out.resize(out.len() + bytes.next_multiple_of(ALIGN) - bytes, 0);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Run = 1,
    Channel = 2,
    Topic = 3,
    Finished = 4,
    Requeued = 5,
    ChannelDeleted = 6,
    TopicDeleted = 7,
    ChannelPart = 8,
    Index = 9,
    Delivered = 10,
}

impl Kind {
    pub(super) fn parse(raw: u8) -> Option<Kind> {
        Some(match raw {
            1 => Kind::Run,
            2 => Kind::Channel,
            3 => Kind::Topic,
            4 => Kind::Finished,
            5 => Kind::Requeued,
            6 => Kind::ChannelDeleted,
            7 => Kind::TopicDeleted,
            8 => Kind::ChannelPart,
            9 => Kind::Index,
            10 => Kind::Delivered,
            _ => return None,
        })
    }

    fn has_channel(self) -> bool {
        !matches!(self, Kind::Run | Kind::Topic | Kind::TopicDeleted | Kind::Index)
    }
}

/// What stands in front of a payload, or behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) kind: Kind,
    flags: u8,
    pub(super) topic: Name,
    pub(super) channel: Option<Name>,
    /// Of the payload.
    pub(super) bytes: u32,
    /// The number of a run's records, or the checksum of the payload.
    pub(super) count_or_crc: u32,
    first: u64,
    last: u64,
}

impl Head {
    fn of_run(run: &Run) -> Head {
        assert!(has_records(run), "a run has records");
        let trailer = if run.count > 1 { HAS_TRAILER } else { 0 };
        let deferred = if run.deferred { DEFERRED } else { 0 };
        Head {
            kind: Kind::Run,
            flags: trailer | deferred,
            topic: run.topic,
            channel: None,
            bytes: run.bytes,
            count_or_crc: run.count,
            first: run.first,
            last: run.last,
        }
    }

    fn of_state(kind: Kind, topic: &Name, channel: Option<&Name>) -> Head {
        let channel = channel.copied();
        Head {
            kind,
            flags: 0,
            topic: *topic,
            channel,
            bytes: 0,
            count_or_crc: 0,
            first: 0,
            last: 0,
        }
    }

    pub(super) fn run(&self) -> Run {
        Run {
            topic: self.topic,
            count: self.count_or_crc,
            first: self.first,
            last: self.last,
            bytes: self.bytes,
            deferred: self.flags & DEFERRED != 0,
        }
    }

    pub(super) fn is_trailer(&self) -> bool {
        self.flags & IS_TRAILER != 0
    }

    /// Bytes of the head, names and their padding included.
    pub(super) fn length(&self) -> usize {
        let channel = self.channel.as_ref().map_or(0, |name| name.as_bytes().len());
        HEAD_BYTES + (self.topic.as_bytes().len() + channel).next_multiple_of(ALIGN)
    }

    /// Bytes of the payload, its padding included.
    pub(super) fn padded(&self) -> u64 {
        u64::from(self.bytes).next_multiple_of(ALIGN as u64)
    }

    /// Bytes of the whole entry that starts with this head.
    pub(super) fn entry_bytes(&self) -> u64 {
        let trailer = if self.flags & HAS_TRAILER == 0 { 0 } else { self.length() as u64 };
        self.length() as u64 + self.padded() + trailer
    }

    fn append(&self, out: &mut Vec<u8>, at: At) {
        let start = out.len();
        out.resize(start + self.length(), 0);
        self.write(&mut out[start..]);
        seal_head(&mut out[start..], at);
    }

    /// Writes the head to zeroed bytes that are exactly as long, without its checksum.
    fn write(&self, to: &mut [u8]) {
        let topic = self.topic.as_bytes();
        let channel = self.channel.as_ref().map_or(&[][..], Name::as_bytes);
        to[KIND_OFFSET..8].copy_from_slice(&[
            self.kind as u8,
            topic.len() as u8,
            channel.len() as u8,
            self.flags,
        ]);
        to[8..12].copy_from_slice(&self.bytes.to_le_bytes());
        to[12..16].copy_from_slice(&self.count_or_crc.to_le_bytes());
        to[16..24].copy_from_slice(&self.first.to_le_bytes());
        to[24..32].copy_from_slice(&self.last.to_le_bytes());
        let (topic_to, rest) = to[HEAD_BYTES..].split_at_mut(topic.len());
        topic_to.copy_from_slice(topic);
        rest[..channel.len()].copy_from_slice(channel);
    }

    /// The head at the start of `bytes`, which are here; `None` when there is none that belongs
    /// here. What fails most often comes first: this is asked at every eighth byte behind damage.
    pub(super) fn read(bytes: &[u8], at: At) -> Option<Head> {
        let fixed: &[u8; HEAD_BYTES] = bytes.first_chunk()?;
        let [raw_kind, topic_bytes, channel_bytes, flags] = *fixed[KIND_OFFSET..].first_chunk()?;
        let kind = Kind::parse(raw_kind)?;
        let (topic_bytes, channel_bytes) = (usize::from(topic_bytes), usize::from(channel_bytes));
        if topic_bytes.max(channel_bytes) > NAME_BYTES_MAX
            || kind.has_channel() != (channel_bytes > 0)
            || !flags_are_possible(kind, flags)
        {
            return None;
        }
        let names_end = HEAD_BYTES + topic_bytes + channel_bytes;
        let head = bytes.get(..names_end.next_multiple_of(ALIGN))?;
        if checksum(at, &head[CRC_BYTES..]) != u32_at(head, 0) {
            return None;
        }
        let (topic, channel) = head[HEAD_BYTES..names_end].split_at(topic_bytes);
        let channel = if channel.is_empty() { None } else { Some(Name::parse(channel)?) };
        let read = Head {
            kind,
            flags,
            topic: Name::parse(topic)?,
            channel,
            bytes: u32_at(head, 8),
            count_or_crc: u32_at(head, 12),
            first: u64_at(head, 16),
            last: u64_at(head, 24),
        };
        (kind != Kind::Run || has_records(&read.run())).then_some(read)
    }
}

fn has_records(run: &Run) -> bool {
    run.count > 0 && run.bytes > 0 && run.first <= run.last
}

fn flags_are_possible(kind: Kind, flags: u8) -> bool {
    match flags & !DEFERRED {
        0 => kind == Kind::Run || flags == 0,
        HAS_TRAILER | IS_TRAILER => kind == Kind::Run,
        _ => false,
    }
}

/// Gives a head its checksum.
fn seal_head(head: &mut [u8], at: At) {
    let crc = checksum(at, &head[CRC_BYTES..]);
    head[..CRC_BYTES].copy_from_slice(&crc.to_le_bytes());
}

fn checksum(at: At, head: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&at.nonce.to_le_bytes());
    hasher.update(&at.offset.to_le_bytes());
    hasher.update(head);
    hasher.finalize()
}
