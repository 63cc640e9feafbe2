//! Looking at messages of a channel without taking any.
//!
//! Which messages those are the channel knows at once; they are read a few in a turn. What is not
//! in memory is read beside the log: no segment comes into memory for it, and none has to leave.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use hashbrown::HashMap;

use super::Shard;
use crate::disk::{DiskError, DiskRequest};
use crate::limits::{
    PEEK_BODY_BYTES_MAX, PEEK_BYTES_MAX, PEEK_INDEX_MAX, PEEK_MESSAGES_MAX, PEEK_MESSAGES_PER_TURN,
    PEEK_RECORDS_MAX, PEEK_RECORDS_PER_TURN, PEEKS_MAX,
};
use crate::log::{Cold, Position, Record, record};
use crate::page_buffer::PageBuffer;
use crate::policy::Note;
use crate::request::{Peek, PeekState, Reply, Seen, SeenMessage};
use crate::slots::Key;
use crate::wire::frame::MESSAGE_HEADER_BYTES;

/// Where in a frame the timestamp is, and the id.
const TIMESTAMP: core::ops::Range<usize> = 8..16;
const ID: core::ops::Range<usize> = 18..34;

/// All looks under way.
#[derive(Debug, Default)]
pub(super) struct Peeks {
    jobs: Vec<Job>,
}

impl Peeks {
    /// How many are under way.
    pub(super) fn count(&self) -> usize {
        self.jobs.len()
    }

    /// Whether none of them can go on now.
    pub(super) fn is_idle(&self) -> bool {
        self.jobs.iter().all(|job| job.reading.is_some())
    }
}

/// One look.
#[derive(Debug)]
struct Job {
    /// Who asked.
    to: u16,
    ticket: u64,
    topic: Key,
    /// Messages to be shown, as far as they are known.
    wanted: VecDeque<Wanted>,
    /// Then those of this channel from this message on.
    ahead: Option<(Key, u64)>,
    /// Only dead letters are shown.
    only_dead: bool,
    /// Messages that may still be shown, and bytes of their bodies.
    messages_left: usize,
    bytes_left: usize,
    /// Records that may still be looked at.
    records_left: usize,
    seen: Seen,
    /// The segment that is being read from the disk.
    reading: Option<Reading>,
}

#[derive(Clone, Copy, Debug)]
struct Wanted {
    sequence: u64,
    at: Position,
    attempts: Option<u16>,
    due_in_ms: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Reading {
    ticket: u32,
    first: u64,
    last: u64,
}

/// What came of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// A message was shown.
    Shown,
    /// Something was passed over.
    Passed,
    /// The disk reads.
    Waits,
    /// Nothing is left to look at.
    Done,
}

impl Shard {
    /// Begins to look at messages; the reply comes later, unless there is nothing to look at.
    pub(super) fn begin_peek(&mut self, to: u16, ticket: u64, peek: &Peek) -> Option<Reply> {
        let Some(&topic) = self.names.get(&peek.topic) else { return Some(Reply::TopicNotFound) };
        self.hand_over(topic);
        let Some(key) = self.find_channel(topic, &peek.channel) else {
            return Some(Reply::ChannelNotFound);
        };
        if self.peeks.jobs.len() >= PEEKS_MAX {
            return Some(Reply::Refused("too many looks at messages at a time".into()));
        }
        let limit = peek.limit.clamp(1, PEEK_MESSAGES_MAX);
        let ahead = self.channels.get(key).map(|channel| (key, channel.cursor));
        self.peeks.jobs.push(Job {
            to,
            ticket,
            topic,
            wanted: self.peek_wanted(key, peek.state, limit),
            ahead: ahead.filter(|_| matches!(peek.state, PeekState::Ready | PeekState::Dead)),
            only_dead: peek.state == PeekState::Dead,
            messages_left: limit,
            bytes_left: PEEK_BYTES_MAX,
            records_left: PEEK_RECORDS_MAX,
            seen: Seen::default(),
            reading: None,
        });
        None
    }

    /// The messages that the channel can name.
    fn peek_wanted(&self, key: Key, state: PeekState, limit: usize) -> VecDeque<Wanted> {
        let Some(channel) = self.channels.get(key) else { return VecDeque::new() };
        let outstanding = &channel.outstanding;
        let wanted = |sequence, at, attempts| Wanted {
            sequence,
            at,
            attempts: Some(attempts),
            due_in_ms: None,
        };
        match state {
            PeekState::Ready | PeekState::Dead => {
                let requeued = outstanding.first_requeued(limit).into_iter();
                requeued.map(|found| wanted(found.sequence, found.at, found.attempts)).collect()
            }
            PeekState::InFlight => {
                let first = outstanding.first_in_flight(limit).into_iter();
                first.map(|(sequence, found)| wanted(sequence, found.at, found.attempts)).collect()
            }
            PeekState::Deferred => self.peek_deferred(key, limit),
        }
    }

    /// What is kept back; when and how often it was delivered where that is in memory and is found
    /// soon.
    fn peek_deferred(&self, key: Key, limit: usize) -> VecDeque<Wanted> {
        let Some(channel) = self.channels.get(key) else { return VecDeque::new() };
        let (published, put_off) = (&channel.outstanding.published, &channel.outstanding.put_off);
        let mut found: Vec<Wanted> = Vec::new();
        for deferrals in [published, put_off] {
            let mut dues = HashMap::new();
            if deferrals.members().len() <= PEEK_INDEX_MAX {
                deferrals.each(|entry| {
                    dues.insert(entry.sequence, (entry.attempts, entry.due_ms));
                });
            }
            found.extend(deferrals.members().from(0).take(limit).map(|sequence| {
                let due = dues.get(&sequence);
                let due_in_ms = due.map(|&(_, due_ms)| due_ms.saturating_sub(self.now.mono_ms));
                let attempts = due.map(|&(attempts, _)| attempts);
                Wanted { sequence, at: Position::UNKNOWN, attempts, due_in_ms }
            }));
        }
        found.sort_unstable_by_key(|wanted| wanted.sequence);
        found.truncate(limit);
        found.into()
    }

    /// One turn's work on all looks.
    pub(super) fn step_peeks(&mut self) {
        for mut job in core::mem::take(&mut self.peeks.jobs) {
            let done = job.reading.is_none() && self.step_peek(&mut job);
            if done {
                self.send_reply(job.to, job.ticket, Reply::Seen(job.seen));
            } else {
                self.peeks.jobs.push(job);
            }
        }
    }

    /// True when there is nothing left to do.
    fn step_peek(&mut self, job: &mut Job) -> bool {
        let mut shown = 0;
        for _ in 0..PEEK_RECORDS_PER_TURN {
            if job.is_full() {
                return true;
            }
            match self.peek_one(job) {
                Step::Done => return true,
                Step::Waits => return false,
                Step::Passed => job.records_left = job.records_left.saturating_sub(1),
                Step::Shown => shown += 1,
            }
            // Each may have been the first of its segment, which takes longer.
            if shown >= PEEK_MESSAGES_PER_TURN {
                return false;
            }
        }
        false
    }

    fn peek_one(&mut self, job: &mut Job) -> Step {
        let Some(topic) = self.topics.get_mut(job.topic) else { return Step::Done };
        let Some(&wanted) = job.wanted.front() else { return self.peek_ahead(job) };
        let at = topic.log.place(wanted.sequence, wanted.at);
        if let Some(cold) = topic.log.cold(wanted.sequence, at) {
            return self.read_for_peek(job, cold);
        }
        job.wanted.pop_front();
        if let Some(record) = topic.log.record(wanted.sequence, at) {
            job.show(&record, wanted.attempts, wanted.due_in_ms);
        }
        // Else it is finished meanwhile; looking for it took as long.
        Step::Shown
    }

    /// The next message that was never delivered.
    fn peek_ahead(&mut self, job: &mut Job) -> Step {
        let Some((key, next)) = job.ahead else { return Step::Done };
        let Some(topic) = self.topics.get_mut(job.topic) else { return Step::Done };
        let Some(channel) = self.channels.get(key) else { return Step::Done };
        // Whatever the cursor has passed meanwhile is not ready any more.
        let next = channel.behind_skips(next.max(channel.cursor));
        if next >= topic.handed {
            return Step::Done;
        }
        let place = match topic.log.settle(next, topic.log.locate(next)) {
            Ok(place) => place,
            Err(cold) => {
                job.ahead = Some((key, next));
                return self.read_for_peek(job, cold);
            }
        };
        let Some(record) = topic.log.record_at(place) else { return Step::Done };
        let sequence = record.sequence();
        job.ahead = Some((key, sequence + 1));
        if sequence >= topic.handed {
            return Step::Done;
        }
        if record.delay_ms > 0 || channel.behind_skips(sequence) != sequence {
            return Step::Passed;
        }
        job.show(&record, Some(0), None);
        Step::Shown
    }

    /// Has a segment read for a look alone.
    fn read_for_peek(&mut self, job: &mut Job, cold: Cold) -> Step {
        let topic = self.topics.get_mut(job.topic);
        let Some(segment) = topic.and_then(|topic| topic.log.by_first(cold.first)) else {
            return Step::Done;
        };
        let Some(place) = segment.home else { return Step::Done };
        let (first, last) = (segment.first, segment.last);
        let ticket = self.tiers.next_ticket();
        job.reading = Some(Reading { ticket, first, last });
        self.space.requests.push_back(DiskRequest::Read { ticket, place });
        Step::Waits
    }

    /// A segment was read, if it was for a look.
    pub(super) fn peek_read(
        &mut self,
        ticket: u32,
        result: Result<PageBuffer, DiskError>,
    ) -> Option<Result<PageBuffer, DiskError>> {
        let reads = |job: &Job| job.reading.is_some_and(|reading| reading.ticket == ticket);
        let Some(index) = self.peeks.jobs.iter().position(reads) else { return Some(result) };
        let mut job = self.peeks.jobs.swap_remove(index);
        if let Some(reading) = job.reading.take() {
            match result {
                Ok(bytes) => self.show_read(&mut job, reading, &bytes),
                Err(_) => job.pass_unreadable(reading),
            }
        }
        self.peeks.jobs.push(job);
        None
    }

    /// Shows what is wanted of a segment's records. They may be damaged, or another's by now: their
    /// checksums tell.
    fn show_read(&self, job: &mut Job, reading: Reading, bytes: &[u8]) {
        let Some(topic) = self.topics.get(job.topic) else { return };
        let (wanted, later) = core::mem::take(&mut job.wanted)
            .into_iter()
            .partition::<VecDeque<Wanted>, _>(|wanted| reading.holds(wanted.sequence));
        job.wanted = later;
        let wanted: HashMap<u64, Wanted> =
            wanted.into_iter().map(|wanted| (wanted.sequence, wanted)).collect();
        let ahead = job.ahead.filter(|&(_, next)| wanted.is_empty() && reading.holds(next));
        let channel = ahead.and_then(|(key, next)| Some((self.channels.get(key)?, next)));
        let mut shown = 0;
        for (offset, found) in record::walk(bytes, topic.log.salt).flatten() {
            if !reading.holds(found.sequence) || job.is_full() {
                continue;
            }
            let at = Position { segment: 0, offset };
            let record = record::read(bytes, at);
            if let Some(wanted) = wanted.get(&found.sequence) {
                shown += 1;
                job.show(&record, wanted.attempts, wanted.due_in_ms);
            }
            let is_ready = channel.is_some_and(|(channel, next)| {
                (next..topic.handed).contains(&found.sequence)
                    && found.delay_ms == 0
                    && channel.behind_skips(found.sequence) == found.sequence
            });
            if is_ready {
                job.show(&record, Some(0), None);
            }
        }
        if !job.is_full() {
            job.seen.unreadable += wanted.len() as u64 - shown;
        }
        if let Some((key, _)) = ahead {
            job.ahead = Some((key, reading.last + 1));
        }
    }
}

impl Reading {
    fn holds(&self, sequence: u64) -> bool {
        (self.first..=self.last).contains(&sequence)
    }
}

impl Job {
    fn is_full(&self) -> bool {
        self.messages_left == 0 || self.bytes_left == 0 || self.records_left == 0
    }

    fn show(&mut self, record: &Record<'_>, attempts: Option<u16>, due_in_ms: Option<u64>) {
        let note = Note::decode(record.note);
        if self.only_dead && note.is_none() {
            self.records_left = self.records_left.saturating_sub(1);
            return;
        }
        let frame = record.frame;
        let body = &frame[MESSAGE_HEADER_BYTES..];
        let shown = &body[..body.len().min(PEEK_BODY_BYTES_MAX).min(self.bytes_left)];
        let timestamp = frame[TIMESTAMP].first_chunk().copied().unwrap_or_default();
        self.messages_left -= 1;
        self.bytes_left -= shown.len();
        self.seen.messages.push(SeenMessage {
            id: frame[ID].first_chunk().copied().unwrap_or_default(),
            timestamp_ns: i64::from_be_bytes(timestamp),
            attempts,
            due_in_ms,
            body: shown.to_vec(),
            size: body.len(),
            note,
        });
    }

    /// A segment cannot be read: what is in it is not shown.
    fn pass_unreadable(&mut self, reading: Reading) {
        let before = self.wanted.len();
        self.wanted.retain(|wanted| !reading.holds(wanted.sequence));
        self.seen.unreadable += (before - self.wanted.len()) as u64;
        if let Some((key, next)) = self.ahead.filter(|&(_, next)| reading.holds(next)) {
            self.seen.unreadable += reading.last + 1 - next;
            self.ahead = Some((key, reading.last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::boxed::Box;
    use alloc::string::String;
    use alloc::vec::Vec;
    use std::format;

    use crate::client::Peer;
    use crate::limits::{Options, PEEK_BODY_BYTES_MAX, PEEK_MESSAGES_MAX, PEEKS_MAX};
    use crate::log::pool::CHUNK_BYTES;
    use crate::placement::Placement;
    use crate::request::{ChannelAction, Peek, PeekState, Reply, Request, Seen};
    use crate::shard::{Now, Parts, Shard, Socket};
    use crate::slots::Key;
    use crate::wire::names::Name;

    fn name(text: &str) -> Name {
        Name::parse(text.as_bytes()).unwrap()
    }

    fn shard() -> Shard {
        let placement = Placement::new(0, 1, &[]);
        let options = Options::default();
        let parts =
            Parts { options, placement, workers: 1, now: Now::default(), seed: 1, disk: false };
        Shard::new(parts, Box::new(|| Some(Vec::leak(alloc::vec![0; CHUNK_BYTES]))))
    }

    fn client(shard: &mut Shard, commands: &str) -> Key {
        let client = shard.connect(Socket(7), Peer::default());
        shard.received(client, format!("  V2{commands}").as_bytes());
        shard.finish_turn();
        client
    }

    fn publish(shard: &mut Shard, bodies: &[&str]) {
        let command = |body: &&str| {
            let length = u32::try_from(body.len()).unwrap().to_be_bytes();
            [&b"PUB t\n"[..], &length, body.as_bytes()].concat()
        };
        let client = client(shard, "");
        shard.received(client, &bodies.iter().flat_map(command).collect::<Vec<u8>>());
        shard.finish_turn();
    }

    fn ask(shard: &mut Shard, state: PeekState, limit: usize) -> Reply {
        let peek = Peek { topic: name("t"), channel: name("c"), state, limit };
        shard.ask(0, 1, Request::Peek(peek));
        for _ in 0..1000 {
            if let Some((1, reply)) = shard.take_reply() {
                return reply;
            }
            assert!(shard.has_work(), "a look goes on by itself");
            shard.finish_turn();
        }
        panic!("no reply");
    }

    fn seen(shard: &mut Shard, state: PeekState, limit: usize) -> Seen {
        match ask(shard, state, limit) {
            Reply::Seen(seen) => seen,
            other => panic!("{other:?}"),
        }
    }

    /// Bodies, each with its attempts.
    fn look(shard: &mut Shard, state: PeekState) -> Vec<String> {
        let shown = |message: &crate::request::SeenMessage| {
            let attempts = message.attempts.map_or("?".into(), |attempts| format!("{attempts}"));
            format!("{} {attempts}", String::from_utf8_lossy(&message.body))
        };
        seen(shard, state, 50).messages.iter().map(shown).collect()
    }

    /// Ids of the messages that a consumer was sent.
    fn ids(shard: &mut Shard, consumer: Key) -> Vec<String> {
        let output = shard.output(consumer)[10..].to_vec();
        let (mut rest, mut ids) = (&output[..], Vec::new());
        while let Some(size) = rest.first_chunk().map(|bytes| u32::from_be_bytes(*bytes)) {
            let (frame, behind) = rest.split_at(size as usize + 4);
            ids.push(String::from_utf8(frame[18..34].to_vec()).unwrap());
            rest = behind;
        }
        ids
    }

    #[test]
    fn each_message_is_seen_in_its_state_and_stays_there() {
        let mut shard = shard();
        let consumer = client(&mut shard, "SUB t c\n");
        publish(&mut shard, &["a", "b", "c", "d", "e"]);
        let deferred = client(&mut shard, "");
        shard.received(deferred, b"DPUB t 5000\n\0\0\0\x01z");
        publish(&mut shard, &["f"]);
        assert_eq!(look(&mut shard, PeekState::Ready), ["a 0", "b 0", "c 0", "d 0", "e 0", "f 0"]);
        shard.received(consumer, b"RDY 4\n");
        shard.finish_turn();
        assert_eq!(look(&mut shard, PeekState::InFlight), ["a 1", "b 1", "c 1", "d 1"]);
        let ids = ids(&mut shard, consumer);
        let answers = format!("RDY 0\nFIN {}\nREQ {} 0\nREQ {} 900\n", ids[0], ids[1], ids[2]);
        shard.received(consumer, answers.as_bytes());
        shard.finish_turn();
        for _ in 0..2 {
            assert_eq!(look(&mut shard, PeekState::InFlight), ["d 1"]);
            assert_eq!(look(&mut shard, PeekState::Ready), ["b 1", "e 0", "f 0"]);
            assert_eq!(look(&mut shard, PeekState::Deferred), ["c 1", "z 0"]);
        }
        let messages = seen(&mut shard, PeekState::Deferred, 9).messages;
        assert_eq!(messages[0].id.to_vec(), ids[2].as_bytes());
        let due: Vec<u64> = messages.iter().map(|message| message.due_in_ms.unwrap()).collect();
        assert_eq!(due, [901, 5001]);
        assert_eq!(shard.remaining().in_flight, 1);
    }

    #[test]
    fn looks_are_bounded() {
        let mut shard = shard();
        client(&mut shard, "SUB t c\n");
        let long = "x".repeat(PEEK_BODY_BYTES_MAX + 5);
        publish(&mut shard, &[&long]);
        let shown = seen(&mut shard, PeekState::Ready, 1).messages;
        assert_eq!((shown[0].body.len(), shown[0].size), (PEEK_BODY_BYTES_MAX, long.len()));
        publish(&mut shard, &alloc::vec!["y"; 300]);
        assert_eq!(seen(&mut shard, PeekState::Ready, 7).messages.len(), 7);
        let all = seen(&mut shard, PeekState::Ready, usize::MAX).messages.len();
        assert_eq!(all, PEEK_MESSAGES_MAX);
        assert_eq!(seen(&mut shard, PeekState::Ready, 0).messages.len(), 1);
        let peek = Peek { topic: name("t"), channel: name("c"), state: PeekState::Ready, limit: 9 };
        for ticket in 0..=PEEKS_MAX as u64 {
            shard.ask(0, ticket, Request::Peek(peek));
        }
        let refused = shard.take_reply();
        assert!(matches!(&refused, Some((4, Reply::Refused(_)))), "{refused:?}");
    }

    #[test]
    fn what_is_not_there_is_said() {
        let mut shard = shard();
        assert!(matches!(ask(&mut shard, PeekState::Ready, 1), Reply::TopicNotFound));
        publish(&mut shard, &["a", "b"]);
        assert!(matches!(ask(&mut shard, PeekState::Ready, 1), Reply::ChannelNotFound));
        client(&mut shard, "SUB t c\n");
        let Reply::Seen(seen) = ask(&mut shard, PeekState::Dead, 1) else { panic!() };
        assert!(seen.messages.is_empty(), "none of these is a dead letter");
        let empty = Request::Channel(name("t"), name("c"), ChannelAction::Empty);
        shard.ask(0, 9, empty);
        shard.finish_turn();
        assert!(shard.take_reply().is_some());
        for state in [PeekState::Ready, PeekState::InFlight, PeekState::Deferred] {
            assert!(look(&mut shard, state).is_empty());
        }
        let peek = Peek { topic: name("t"), channel: name("c"), state: PeekState::Ready, limit: 9 };
        publish(&mut shard, &alloc::vec!["x"; 20]);
        shard.ask(0, 3, Request::Peek(peek));
        let gone = Request::Channel(name("t"), name("c"), ChannelAction::Delete);
        shard.ask(0, 4, gone);
        shard.finish_turn();
        let replies: Vec<u64> = core::iter::from_fn(|| shard.take_reply()).map(|r| r.0).collect();
        assert_eq!(replies, [4, 3], "a look at what is gone meanwhile ends");
    }
}
