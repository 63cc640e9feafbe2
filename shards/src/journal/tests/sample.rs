//! A file as it is written, what must be found in it when it is damaged, and what is found.

use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range as Span;

use crate::disk::{Place, Role};
use crate::journal::entry::{self, At, Run};
use crate::journal::file::FileHeader;
use crate::journal::scan::{Entry, Found, Scan};
use crate::journal::state::{ChannelPart, ChannelState, Outstanding, Range, TopicState};
use crate::log::record::{self, Salt};
use crate::wire::frame::message_header;
use crate::wire::names::Name;

pub(super) const NONCE: u64 = 0x0123_4567_89ab_cdef;
pub(super) const HEADER: FileHeader = FileHeader {
    role: Role::Journal,
    number: 7,
    generation: 1,
    shard: 0,
    nonce: NONCE,
    sequence_floor: 0,
};

/// A file as it is written, and what must be found in it.
pub(super) struct File {
    nonce: u64,
    pub(super) bytes: Vec<u8>,
    pub(super) pieces: Vec<Piece>,
}

/// One entry and where its parts are in the file.
pub(super) struct Piece {
    pub(super) entry: Entry,
    pub(super) head: Span<usize>,
    /// Without padding.
    pub(super) payload: Span<usize>,
    pub(super) records: Vec<Span<usize>>,
    pub(super) trailer: Option<Span<usize>>,
}

pub(super) fn name(text: &str) -> Name {
    Name::parse(text.as_bytes()).unwrap()
}

fn record(sequence: u64, delay_ms: u64, body: &[u8]) -> Vec<u8> {
    let id = crate::id::encode(sequence, 7);
    let kind: u64 = if delay_ms == 0 { 1 } else { 2 };
    let mut record = (kind << 32).to_le_bytes().to_vec();
    if delay_ms > 0 {
        record.extend_from_slice(&delay_ms.to_le_bytes());
    }
    record.extend_from_slice(&message_header(body.len() as u32, 1_800_000_000_000_000_000, &id));
    record.extend_from_slice(body);
    record::seal(&mut record, Salt::default());
    record
}

impl File {
    pub(super) fn new(nonce: u64) -> File {
        let header = FileHeader { nonce, ..HEADER };
        File { nonce, bytes: header.encode().to_vec(), pieces: Vec::new() }
    }

    /// Appends a run of records with these delays and lengths of bodies.
    pub(super) fn run(&mut self, topic: &str, first: u64, messages: &[(u64, usize)]) {
        let numbered = (first..).zip(messages);
        let list: Vec<Vec<u8>> = numbered
            .map(|(sequence, &(delay, length))| record(sequence, delay, &vec![b'b'; length]))
            .collect();
        let run = Run {
            topic: name(topic),
            count: list.len() as u32,
            first,
            last: first + list.len() as u64 - 1,
            bytes: list.concat().len() as u32,
            deferred: messages.iter().any(|message| message.0 > 0),
        };
        let start = self.bytes.len();
        let at = At { nonce: self.nonce, offset: start as u64 };
        entry::run_start(&mut self.bytes, at, &run);
        let head = start..self.bytes.len();
        let mut records = Vec::new();
        for record in &list {
            let at = self.bytes.len();
            self.bytes.extend_from_slice(record);
            records.push(at..self.bytes.len());
        }
        let payload = head.end..self.bytes.len();
        entry::run_end(&mut self.bytes, at, &run);
        assert!(self.bytes.len() - start - run.bytes as usize <= entry::run_overhead_max());
        let trailer = (run.count > 1).then(|| self.bytes.len() - head.len()..self.bytes.len());
        let place = Place { file: 7, offset: head.end as u32, bytes: run.bytes };
        let entry = Entry::Run(run, place);
        self.pieces.push(Piece { entry, head, payload, records, trailer });
        assert_eq!(self.bytes.len() % 8, 0);
    }

    /// Appends any entry but a run.
    pub(super) fn state(&mut self, entry: Entry) {
        let (start, out) = (self.bytes.len(), &mut self.bytes);
        let names = match &entry {
            Entry::Run(..) => panic!("a run has records"),
            Entry::Channel { topic, channel, state, parts } => {
                assert_eq!(*parts, 0);
                entry::channel(out, topic, channel, state);
                [Some(topic), Some(channel)]
            }
            Entry::ChannelPart { topic, channel, number, part } => {
                let ChannelPart::Outstanding(list) = part else { panic!("not in this sample") };
                entry::channel_part(out, (topic, channel), *number, list);
                [Some(topic), Some(channel)]
            }
            Entry::Index { topic } => {
                entry::index(out, topic, b"whatever it is");
                [Some(topic), None]
            }
            Entry::Topic { topic, state } => {
                entry::topic(out, topic, state);
                [Some(topic), None]
            }
            Entry::Delivered { topic, channel, cursor } => {
                entry::delivered(out, topic, channel, *cursor);
                [Some(topic), Some(channel)]
            }
            Entry::Finished { topic, channel, ranges } => {
                entry::finished(out, topic, channel, ranges);
                [Some(topic), Some(channel)]
            }
            Entry::Requeued { topic, channel, list } => {
                entry::requeued(out, topic, channel, list);
                [Some(topic), Some(channel)]
            }
            Entry::ChannelDeleted { topic, channel } => {
                entry::channel_deleted(out, topic, channel);
                [Some(topic), Some(channel)]
            }
            Entry::TopicDeleted { topic, floor } => {
                entry::topic_deleted(out, topic, *floor);
                [Some(topic), None]
            }
        };
        let names: usize = names.into_iter().flatten().map(|name| name.as_bytes().len()).sum();
        let head = start..start + 32 + names.next_multiple_of(8);
        let claimed = u32::from_le_bytes(*out[start + 8..].first_chunk().unwrap());
        let payload = head.end..head.end + claimed as usize;
        assert_eq!(payload.end.next_multiple_of(8), out.len());
        entry::seal(&mut out[start..], At { nonce: self.nonce, offset: start as u64 });
        self.pieces.push(Piece { entry, head, payload, records: Vec::new(), trailer: None });
    }

    /// What must be found in the file when it has become `bytes`, and where the good records are.
    pub(super) fn expected(&self, bytes: &[u8]) -> (Vec<Entry>, Vec<usize>) {
        let same = |span: &Span<usize>| bytes.get(span.clone()) == Some(&self.bytes[span.clone()]);
        let (mut entries, mut records) = (Vec::new(), Vec::new());
        for piece in &self.pieces {
            if !same(&piece.head) && !piece.trailer.as_ref().is_some_and(same) {
                continue;
            }
            let mut entry = piece.entry.clone();
            match &mut entry {
                Entry::Run(_, place) => {
                    let left = bytes.len().saturating_sub(piece.head.end);
                    place.bytes = place.bytes.min(left as u32);
                    if left == 0 {
                        continue;
                    }
                }
                _ if !same(&piece.payload) => continue,
                _ => {}
            }
            entries.push(entry);
            let good = piece.records.iter().filter(|record| same(record));
            records.extend(good.map(|record| record.start));
        }
        (entries, records)
    }

    pub(super) fn check(&self, bytes: &[u8]) {
        assert_eq!(recovered(bytes), self.expected(bytes));
    }
}

pub(super) fn scan(bytes: &[u8]) -> Vec<Found> {
    Scan::new(&bytes, &HEADER).collect()
}

/// What is found in a file, and where the good records are.
pub(super) fn recovered(bytes: &[u8]) -> (Vec<Entry>, Vec<usize>) {
    let (mut entries, mut records) = (Vec::new(), Vec::new());
    for found in scan(bytes) {
        let Found::Entry(entry) = found else { continue };
        if let Entry::Run(_, place) = &entry {
            let run = &bytes[place.offset as usize..][..place.bytes as usize];
            let good = record::walk(run, Salt::default()).flatten();
            records.extend(good.map(|(at, _)| place.offset as usize + at as usize));
        }
        entries.push(entry);
    }
    (entries, records)
}

/// Entries of every kind.
pub(super) fn sample(nonce: u64) -> File {
    let mut file = File::new(nonce);
    let (topic, other, channel) = (name("orders"), name("a"), name("billing.eu"));
    file.state(Entry::Topic { topic, state: TopicState { handed: None, head: 5000 } });
    let state = ChannelState {
        cursor: 5000,
        skips: vec![Range { first: 5002, last: 5003 }],
        outstanding: vec![
            Outstanding { sequence: 4990, attempts: 3, due_ms: 0 },
            Outstanding { sequence: 5001, attempts: 0, due_ms: 1_800_000_000_000 },
        ],
        ..ChannelState::default()
    };
    file.state(Entry::Channel { topic, channel, state, parts: 0 });
    file.run("orders", 5000, &[(0, 5)]);
    file.run("orders", 5001, &[(250, 2)]);
    file.run("a", 90, &[(0, 5), (0, 0), (0, 11)]);
    file.run("orders", 5002, &[(0, 1), (60_000, 8), (0, 3)]);
    let ranges = vec![Range { first: 4990, last: 4990 }, Range { first: 5000, last: 5003 }];
    file.state(Entry::Finished { topic, channel, ranges });
    let list = vec![Outstanding { sequence: 5004, attempts: 1, due_ms: 1_800_000_000_500 }];
    file.state(Entry::Requeued { topic, channel, list });
    file.state(Entry::ChannelDeleted { topic, channel });
    file.state(Entry::TopicDeleted { topic: other, floor: 93 });
    file.state(Entry::Topic { topic, state: TopicState { handed: Some(5002), head: 5005 } });
    let list = vec![Outstanding { sequence: 4990, attempts: 3, due_ms: 0 }];
    let part = ChannelPart::Outstanding(list);
    file.state(Entry::ChannelPart { topic, channel, number: 3, part });
    file.state(Entry::Index { topic });
    file.state(Entry::Channel { topic, channel, state: ChannelState::default(), parts: 0 });
    file.run("orders", 5005, &[(0, 2), (1, 2)]);
    file.state(Entry::Finished { topic, channel, ranges: Vec::new() });
    file
}
