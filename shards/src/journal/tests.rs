//! Whole files: written, damaged in every way, and read back.

mod sample;

use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range as Span;

use proptest::prelude::*;

use self::sample::{File, HEADER, NONCE, Piece, name, recovered, sample, scan};
use super::entry::{self, At, Run};
use super::file::{FILE_HEADER_BYTES, FileHeader};
use super::scan::{Entry, Found, ReadAt, Scan};
use super::state::{ChannelPart, ChannelState, Outstanding, Range, TopicState};
use crate::disk::{DiskError, Role};
use crate::page_buffer::PAGE_BYTES;

#[test]
fn the_format_never_changes() {
    let topic = name("t");
    let mut out = Vec::new();
    let range = Range { first: 3, last: 5 };
    entry::finished(&mut out, &topic, &name("channel9"), &[range]);
    let at = At { nonce: NONCE, offset: 4096 };
    entry::seal(&mut out, at);
    let finished = b"\x40\xc6\xe6\x63\x04\x01\x08\0\x03\0\0\0\x8f\x75\xd7\x46\0\0\0\0\0\0\0\0\
        \0\0\0\0\0\0\0\0tchannel9\0\0\0\0\0\0\0\x01\x06\x02\0\0\0\0\0";
    assert_eq!(out, finished);

    let mut run = Run { topic, count: 1, first: 0x102, last: 0x102, bytes: 51, deferred: true };
    out.clear();
    entry::run_start(&mut out, at, &run);
    let start = b"\xde\x98\xd4\x79\x01\x01\0\x04\x33\0\0\0\x01\0\0\0\x02\x01\0\0\0\0\0\0\
        \x02\x01\0\0\0\0\0\0t\0\0\0\0\0\0\0";
    assert_eq!(out, start);
    out.clear();
    entry::run_end(&mut out, at, &run);
    assert_eq!(out, [0; 5]);

    (run.count, run.last, run.deferred) = (2, 0x103, false);
    out.clear();
    entry::run_end(&mut out, at, &run);
    let end = b"\0\0\0\0\0\xcb\x4c\xbd\xac\x01\x01\0\x02\x33\0\0\0\x02\0\0\0\x02\x01\0\0\0\0\0\0\
        \x03\x01\0\0\0\0\0\0t\0\0\0\0\0\0\0";
    assert_eq!(out, end);

    let file = sample(NONCE);
    assert_eq!((file.bytes.len(), crc32fast::hash(&file.bytes)), (5520, 0x068c_c2e2));
}

#[test]
fn what_is_written_is_found() {
    let file = sample(NONCE);
    let entries: Vec<Found> =
        file.pieces.iter().map(|piece| Found::Entry(piece.entry.clone())).collect();
    assert_eq!(scan(&file.bytes), entries);
    file.check(&file.bytes);
    assert_eq!(recovered(&file.bytes).1.len(), 10);
}

#[test]
fn a_store_goes_on_at_the_next_page() {
    let mut file = File::new(NONCE);
    for piece in sample(NONCE).pieces {
        match piece.entry {
            Entry::Run(Run { topic, first, count, .. }, _) => {
                let topic = topic.to_string();
                file.run(&topic, first, &vec![(0, 5); count as usize]);
            }
            state => file.state(state),
        }
        let page = file.bytes.len().next_multiple_of(PAGE_BYTES);
        file.bytes.resize(page, 0);
    }
    let store = FileHeader { role: Role::Store, ..HEADER };
    let mut bytes = file.bytes;
    let expected: Vec<Found> =
        file.pieces.into_iter().map(|piece| Found::Entry(piece.entry)).collect();
    let found: Vec<Found> = Scan::new(&&bytes[..], &store).collect();
    assert_eq!(found, expected);
    // Anything but zeros there is damage.
    let gap = FILE_HEADER_BYTES + PAGE_BYTES - 1;
    bytes[gap] = 1;
    let found: Vec<Found> = Scan::new(&&bytes[..], &store).collect();
    assert!(matches!(found[1], Found::Damage { .. }), "{:?}", found[1]);
    assert_eq!([&found[..1], &found[2..]].concat(), expected);
}

/// What a disk wrote to a wrong place is no entry there, wherever that is: not its head, nor its
/// trailer, nor an entry of state.
#[test]
fn what_came_to_a_wrong_place_hides_nothing() {
    let file = sample(NONCE);
    for role in [Role::Journal, Role::Store] {
        let header = FileHeader { role, ..HEADER };
        let found = |bytes: &[u8]| {
            let entries = Scan::new(&bytes, &header).filter_map(|found| match found {
                Found::Entry(entry) => Some(entry),
                Found::Damage { .. } => None,
            });
            entries.collect::<Vec<Entry>>()
        };
        for piece in &file.pieces {
            let end = piece.trailer.as_ref().map_or(piece.payload.end, |trailer| trailer.end);
            let misplaced = &file.bytes[piece.head.start..end];
            for at in (FILE_HEADER_BYTES..file.bytes.len()).step_by(8) {
                let mut bytes = file.bytes.clone();
                bytes.resize(bytes.len().max(at + misplaced.len()), 0);
                bytes[at..at + misplaced.len()].copy_from_slice(misplaced);
                assert_eq!(found(&bytes), file.expected(&bytes).0, "{role:?}, {at}");
            }
        }
    }
}

#[test]
fn a_run_whose_head_is_zeros_is_found_by_its_trailer() {
    let mut file = File::new(NONCE);
    file.run("orders", 10, &[(0, 700), (0, 10)]);
    file.run("orders", 20, &[(0, 9000), (0, 10)]);
    let lost = file.pieces[1].head.start..FILE_HEADER_BYTES + PAGE_BYTES;
    file.bytes[lost.clone()].fill(0);
    for role in [Role::Journal, Role::Store] {
        let found: Vec<Found> =
            Scan::new(&&file.bytes[..], &FileHeader { role, ..HEADER }).collect();
        let entries = file.pieces.iter().map(|piece| Found::Entry(piece.entry.clone()));
        let mut expected: Vec<Found> = entries.collect();
        let (from, to) = (lost.start as u64, file.pieces[1].payload.start as u64);
        expected.insert(1, Found::Damage { from, to });
        assert_eq!(found, expected, "{role:?}");
    }
}

#[test]
fn one_flipped_bit_costs_one_entry_or_one_record_of_a_run() {
    let file = sample(NONCE);
    let whole = recovered(&file.bytes);
    for (index, piece) in file.pieces.iter().enumerate() {
        let next = file.pieces.get(index + 1).map(|next| next.head.start);
        let end = next.unwrap_or(file.bytes.len());
        for bit in piece.head.start * 8..end * 8 {
            let mut bytes = file.bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            file.check(&bytes);
            let (entries, records) = recovered(&bytes);
            let in_head = piece.head.contains(&(bit / 8));
            let in_payload = piece.payload.contains(&(bit / 8));
            let is_run = !piece.records.is_empty();
            let lost = in_head && piece.trailer.is_none() || in_payload && !is_run;
            assert_eq!(whole.0.len() - entries.len(), usize::from(lost), "bit {bit}");
            let records_lost = if in_payload { usize::from(is_run) } else { 0 };
            let records_lost = if lost { piece.records.len() } else { records_lost };
            assert_eq!(whole.1.len() - records.len(), records_lost, "bit {bit}");

            // Behind the last entry nothing good comes, so that its damage is not told apart
            // from an append that was cut off.
            let damage =
                scan(&bytes).into_iter().filter(|found| matches!(found, Found::Damage { .. }));
            let to = if lost { next } else { in_head.then_some(piece.head.end) };
            let expected = to.map(|to| (piece.head.start as u64, to as u64));
            let expected = expected.map(|(from, to)| Found::Damage { from, to });
            assert_eq!(damage.collect::<Vec<_>>(), Vec::from_iter(expected), "bit {bit}");
        }
    }
}

#[test]
fn an_append_cut_off_anywhere_costs_nothing_before() {
    let file = sample(NONCE);
    // What the file held in an earlier use: the same entries, so that they fit exactly.
    let stale = sample(NONCE ^ 1).bytes;
    for length in FILE_HEADER_BYTES..=file.bytes.len() {
        let kept = &file.bytes[..length];
        file.check(kept);
        let whole = file.pieces.iter().filter(|piece| piece.payload.end <= length).count();
        assert!(recovered(kept).0.len() >= whole);
        let damage = |found: &Found| matches!(found, Found::Damage { .. });
        assert!(!scan(kept).iter().any(damage), "{length} bytes");

        let preallocated = [kept, &vec![0; 20_000]].concat();
        file.check(&preallocated);
        assert!(!scan(&preallocated).iter().any(damage), "{length} bytes and zeros");
        let used_before = [kept, &stale[length..], &stale[FILE_HEADER_BYTES..]].concat();
        file.check(&used_before);
        assert!(!scan(&used_before).iter().any(damage), "{length} bytes and stale ones");
    }
    for length in 0..FILE_HEADER_BYTES {
        assert_eq!(scan(&file.bytes[..length]), []);
    }
}

#[test]
fn what_another_use_of_the_file_left_is_never_found() {
    for bit in 0..64 {
        assert_eq!(scan(&sample(NONCE ^ 1 << bit).bytes), []);
    }
}

#[test]
fn a_trailer_without_its_run_yields_nothing() {
    let file = sample(NONCE);
    let last = file.pieces.iter().rfind(|piece| piece.trailer.is_some()).unwrap();
    let mut kept = file.bytes[..last.head.start].to_vec();
    let entries = file.pieces.iter().filter(|piece| piece.head.end <= kept.len());
    let entries: Vec<Found> = entries.map(|piece| Found::Entry(piece.entry.clone())).collect();
    kept.resize(kept.len() + 64, 0xee);
    // By its length, the run would reach into the entries in front, or in front of the file.
    for bytes in [last.payload.len() as u32, kept.len() as u32, u32::MAX] {
        let trailer = forged_head(kept.len(), 1, [6, 0, 2], [7, 8], [bytes, 2]);
        let found = scan(&[&kept, &trailer[..], &[0; 100]].concat());
        assert_eq!(found, entries, "{bytes} bytes");
    }
    // It does where there is room for it.
    let trailer = forged_head(kept.len(), 1, [6, 0, 2], [7, 8], [8, 2]);
    assert_eq!(scan(&[&kept[..], &trailer].concat()).len(), entries.len() + 2);
}

#[test]
fn unused_rests_are_passed_over() {
    let mut file = sample(NONCE);
    file.bytes.resize(16 << 20, 0);
    file.check(&file.bytes);
    assert_eq!(scan(&vec![0; 16 << 20]), []);
    // Every place looks like an entry until its checksum is computed.
    let tempting = [0, 0, 0, 0, 1, 64, 0, 1].repeat(1 << 17);
    assert_eq!(scan(&tempting), []);
}

/// Long enough that entries lie across the ends of the scan's buffer, one larger than that.
fn long_file() -> File {
    let mut file = File::new(NONCE);
    let (topic, channel) = (name("orders"), name("c"));
    let list = |count| {
        (0..count).map(|sequence| Outstanding { sequence, attempts: 1, due_ms: 1 + sequence * 90 })
    };
    let mut random = 1_u32;
    for index in 0..500 {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let length = random as usize >> 19;
        match index % 5 {
            0 => file.run("orders", index * 10, &[(0, length)]),
            1 => file.run("orders", index * 10, &[(0, 3), (9, length / 4), (0, length)]),
            2 => file.state(Entry::Requeued {
                topic,
                channel,
                list: list(length as u64 / 8).collect(),
            }),
            3 => file.state(Entry::ChannelDeleted { topic, channel }),
            _ => file.run("a", index * 10, &[(0, length / 2); 2]),
        }
        if index == 250 {
            file.state(Entry::Requeued { topic, channel, list: list(100_000).collect() });
        }
    }
    file
}

#[test]
fn entries_lie_across_what_is_read_at_once() {
    let file = long_file();
    assert!(file.bytes.len() > 4 * (256 << 10));
    let largest = file.pieces.iter().map(|piece| piece.payload.len()).max();
    assert!(largest > Some(256 << 10));
    file.check(&file.bytes);
    for at in (FILE_HEADER_BYTES..file.bytes.len()).step_by(40_009) {
        let mut bytes = file.bytes.clone();
        bytes[at] ^= 1;
        file.check(&bytes);
        let end = (at + 30_000).min(bytes.len());
        bytes[at..end].fill(1);
        file.check(&bytes);
        file.check(&bytes[..at]);
    }
}

/// Gives a few bytes at a time, none of some, and ends before it said it would.
struct BadDisk<'a> {
    bytes: &'a [u8],
    at_once: usize,
    unreadable: Span<u64>,
    claimed: u64,
}

impl ReadAt for BadDisk<'_> {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<usize, DiskError> {
        let bytes = into.len().min(self.at_once);
        if offset < self.unreadable.end && offset + bytes as u64 > self.unreadable.start {
            return Err(DiskError { full: false, text: String::from("input/output error") });
        }
        self.bytes.read_at(offset, &mut into[..bytes])
    }

    fn length(&self) -> u64 {
        self.claimed
    }
}

#[test]
fn short_reads_change_nothing() {
    let file = sample(NONCE);
    for claimed in [file.bytes.len() as u64, file.bytes.len() as u64 + 1, u64::MAX] {
        let disk = BadDisk { bytes: &file.bytes, at_once: 7, unreadable: 0..0, claimed };
        // A length that is a lie ends with the bytes.
        let found: Vec<Found> = Scan::new(&disk, &HEADER).collect();
        assert_eq!(found, scan(&file.bytes));
    }
}

#[test]
fn what_the_disk_does_not_give_is_damage() {
    let file = long_file();
    for from in (FILE_HEADER_BYTES as u64..file.bytes.len() as u64).step_by(50_021) {
        let unreadable = from..from + 6000;
        let claimed = file.bytes.len() as u64;
        let disk = BadDisk { bytes: &file.bytes, at_once: usize::MAX, unreadable, claimed };
        let mut scan = Scan::new(&disk, &HEADER);
        let found: Vec<Found> = scan.by_ref().collect();
        assert_eq!(scan.error().map(|error| error.text.as_str()), Some("input/output error"));
        // Whole pieces of 4 KiB are given up, counted from wherever the buffer started.
        let spared = |piece: &&Piece| {
            let end = piece.payload.end as u64;
            end + 4096 <= from || piece.head.start as u64 >= from + 6000 + 4096
        };
        for piece in file.pieces.iter().filter(spared) {
            assert!(found.contains(&Found::Entry(piece.entry.clone())));
        }
    }
    // Also where nothing good comes behind.
    let bytes = sample(NONCE).bytes;
    let all = 0..u64::MAX;
    let claimed = bytes.len() as u64;
    let disk = BadDisk { bytes: &bytes, at_once: usize::MAX, unreadable: all, claimed };
    let found: Vec<Found> = Scan::new(&disk, &HEADER).collect();
    assert_eq!(found, [Found::Damage { from: FILE_HEADER_BYTES as u64, to: claimed }]);
}

/// A head put together from its documentation, right in nothing but its checksum.
fn forged_head(
    offset: usize,
    kind: u8,
    lengths: [u8; 3],
    numbers: [u64; 2],
    rest: [u32; 2],
) -> Vec<u8> {
    let [topic, channel, flags] = lengths;
    let names = (usize::from(topic) + usize::from(channel)).next_multiple_of(8);
    let mut head = vec![0, 0, 0, 0, kind, topic, channel, flags];
    head.extend(rest.map(u32::to_le_bytes).concat());
    head.extend(numbers.map(u64::to_le_bytes).concat());
    head.extend(vec![b'n'; names]);
    let at = [NONCE.to_le_bytes(), (offset as u64).to_le_bytes()].concat();
    let crc = crc32fast::hash(&[&at, &head[4..]].concat());
    head[..4].copy_from_slice(&crc.to_le_bytes());
    head
}

/// The same, and a payload.
fn forged(offset: usize, kind: u8, lengths: [u8; 3], numbers: [u64; 2], payload: &[u8]) -> Vec<u8> {
    let rest = [payload.len() as u32, crc32fast::hash(payload)];
    let mut entry = forged_head(offset, kind, lengths, numbers, rest);
    entry.extend_from_slice(payload);
    entry.resize(entry.len().next_multiple_of(8), 0);
    entry
}

fn damaged_bytes() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop_oneof![any::<u8>(), 0_u8..8], 0..200)
}

/// An entry of any kind, or the messages of a run.
fn written() -> impl Strategy<Value = Written> {
    let text = || "[a-zA-Z0-9._-]{1,64}";
    let range = (0_u64..1 << 53, 0_u64..50)
        .prop_map(|(first, length)| Range { first, last: first + length });
    let outstanding = (any::<u64>(), any::<u16>(), any::<u64>())
        .prop_map(|(sequence, attempts, due_ms)| Outstanding { sequence, attempts, due_ms });
    let ranges = prop::collection::vec(range, 0..10);
    let list = prop::collection::vec(outstanding, 0..10);
    let messages = prop::collection::vec((0_u64..2, 0_usize..100), 1..5);
    (0..10, text(), text(), any::<(u32, Option<u64>)>(), (ranges, list, messages)).prop_map(
        |(kind, topic_text, channel, (number, handed), (ranges, list, messages))| {
            let (topic, channel) = (name(&topic_text), name(&channel));
            let cursor = u64::from(number);
            Written::State(match kind {
                0 => return Written::Run(topic_text, cursor, messages),
                1 => {
                    let kept = Default::default();
                    let state = ChannelState { cursor, skips: ranges, outstanding: list, kept };
                    Entry::Channel { topic, channel, state, parts: 0 }
                }
                2 => Entry::Topic { topic, state: TopicState { handed, head: cursor } },
                3 => Entry::Finished { topic, channel, ranges },
                4 => Entry::Requeued { topic, channel, list },
                5 => Entry::ChannelDeleted { topic, channel },
                6 => {
                    let part = ChannelPart::Outstanding(list);
                    Entry::ChannelPart { topic, channel, number: cursor, part }
                }
                7 => Entry::Index { topic },
                8 => Entry::Delivered { topic, channel, cursor },
                _ => Entry::TopicDeleted { topic, floor: cursor },
            })
        },
    )
}

#[derive(Clone, Debug)]
enum Written {
    Run(String, u64, Vec<(u64, usize)>),
    State(Entry),
}

proptest! {
    #[test]
    fn files_come_back(list in prop::collection::vec(written(), 0..30)) {
        let mut file = File::new(NONCE);
        for written in list {
            match written {
                Written::Run(topic, first, messages) => file.run(&topic, first, &messages),
                Written::State(entry) => file.state(entry),
            }
        }
        let entries = file.pieces.iter().map(|piece| Found::Entry(piece.entry.clone()));
        prop_assert_eq!(scan(&file.bytes), Vec::from_iter(entries));
        file.check(&file.bytes);
    }

    #[test]
    fn nonsense_yields_nothing(nonsense in prop::collection::vec(any::<u8>(), 0..2000)) {
        let bytes = [&vec![0; FILE_HEADER_BYTES], &nonsense[..]].concat();
        prop_assert_eq!(scan(&bytes), []);
        FileHeader::decode(&nonsense).unwrap_err();
    }

    #[test]
    fn overwritten_stretches_cost_what_they_hit(
        stretches in prop::collection::vec((any::<prop::sample::Index>(), damaged_bytes()), 1..6),
    ) {
        let file = sample(NONCE);
        let mut bytes = file.bytes.clone();
        for (at, stretch) in stretches {
            let room = &mut bytes[FILE_HEADER_BYTES..];
            let at = at.index(room.len());
            let length = stretch.len().min(room.len() - at);
            room[at..at + length].copy_from_slice(&stretch[..length]);
        }
        file.check(&bytes);
    }

    #[test]
    fn entries_that_only_have_right_checksums_are_read_within_the_file(
        list in prop::collection::vec(
            (0_u8..12, [0_u8..70, 0_u8..70, 0_u8..9], any::<[u64; 2]>(), damaged_bytes()),
            0..8,
        ),
    ) {
        let mut bytes = vec![0; FILE_HEADER_BYTES];
        for (kind, lengths, numbers, payload) in &list {
            let forged = forged(bytes.len(), *kind, *lengths, *numbers, payload);
            bytes.extend(forged);
        }
        let (entries, _) = recovered(&bytes);
        prop_assert!(entries.len() <= list.len());
        for entry in entries {
            if let Entry::Run(run, place) = entry {
                prop_assert!((place.offset + place.bytes) as usize <= bytes.len());
                prop_assert!(place.bytes > 0 && place.bytes <= run.bytes && run.count > 0);
            }
        }
    }
}
