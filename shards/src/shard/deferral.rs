//! What channels keep back: released when it is due, and its index between memory and disk.
//!
//! The index is in the way of nobody: it goes to the disk when memory is short, like segments, and
//! what of it is due soon comes back ahead of its time. It is nothing that has to last: a restart
//! makes it anew from the messages.

use alloc::vec::Vec;
use hashbrown::HashMap;

use super::{Alarm, Shard};
use crate::channel::Channel;
use crate::deferral::{Entry, Next};
use crate::disk::{Content, DiskError, DiskRequest, Place};
use crate::limits::{INDEX_LEAD_MS, JOURNAL_RETRY_MS, TIMERS_PER_TURN_MAX};
use crate::log::Position;
use crate::log::pool::{Block, Pool};
use crate::outstanding::Waiting;
use crate::page_buffer::PageBuffer;
use crate::slots::Key;
use crate::store::Space;
use crate::wheel::{TimerId, Wheel};

/// What of indexes is under way between memory and disk.
#[derive(Debug, Default)]
pub(super) struct Indexes {
    writes: HashMap<u32, (Key, u32, Place)>,
    reads: HashMap<u32, (Key, u32, Block)>,
    /// The channel at which the search for something to store goes on.
    hand: usize,
    /// A read has failed, and is tried again then.
    retry_at_ms: Option<u64>,
    /// More is due than one turn releases.
    more_due: bool,
    reads_done: u64,
}

impl Indexes {
    /// Whether the next turn is due at once.
    pub(super) fn has_more_due(&self) -> bool {
        self.more_due
    }

    /// Whether parts are being stored, which a later turn is told of.
    pub(super) fn are_written(&self) -> bool {
        !self.writes.is_empty()
    }

    /// Parts that were read since the start.
    pub(super) fn reads_done(&self) -> u64 {
        self.reads_done
    }

    /// Whether something goes on only when the disk reads what it did not before.
    pub(super) fn wait_for_disk(&self) -> bool {
        self.retry_at_ms.is_some()
    }
}

impl Channel {
    /// Sets its timer for what it keeps back, and tells the shard what that takes.
    pub(super) fn set_alarm(&mut self, key: Key, wheel: &mut Wheel<Alarm>, space: &mut Space) {
        let kept = &mut self.outstanding;
        kept.published.settle(space);
        kept.put_off.settle(space);
        let put_off = kept.put_off.members().len();
        space.put_off = space.put_off + put_off - self.put_off;
        self.put_off = put_off;
        let published = kept.published.wake_ms(INDEX_LEAD_MS);
        let wake_ms = published.into_iter().chain(kept.put_off.wake_ms(INDEX_LEAD_MS)).min();
        let wake_ms = wake_ms.unwrap_or(u64::MAX);
        if self.alarm != TimerId::NONE && self.alarm_ms == wake_ms {
            return;
        }
        wheel.cancel(self.alarm);
        self.alarm_ms = wake_ms;
        self.alarm = match wake_ms {
            u64::MAX => TimerId::NONE,
            _ => wheel.set(wake_ms, Alarm::Deferred(key)),
        };
    }

    /// It is about to go.
    pub(super) fn cancel_alarms(&self, wheel: &mut Wheel<Alarm>) {
        wheel.cancel(self.alarm);
        wheel.cancel(self.transfer_alarm);
        if let Some(redrive) = &self.redrive {
            wheel.cancel(redrive.alarm);
        }
    }

    /// Tells the pool what its requeued messages take.
    pub(super) fn settle_charge(&mut self, pool: &mut Pool) {
        let bytes = self.outstanding.requeued_bytes();
        if bytes != self.charged_bytes {
            pool.charge(self.charged_bytes, bytes);
            self.charged_bytes = bytes;
        }
    }
}

impl Shard {
    /// Releases what a channel has due, as many messages as there are steps, and reads what is due
    /// soon.
    pub(super) fn release_due(&mut self, key: Key, steps: &mut u32) {
        let now_ms = self.now.mono_ms;
        let Some(channel) = self.channels.get_mut(key) else { return };
        let behind = self.topics.get(channel.topic).map_or(0, |topic| topic.handed);
        let mut released = false;
        for published in [true, false] {
            let kept = &mut channel.outstanding;
            while *steps > 0 {
                let deferrals = if published { &mut kept.published } else { &mut kept.put_off };
                let Next::Due(Entry { sequence, attempts, .. }) =
                    deferrals.pop(now_ms, &mut self.space)
                else {
                    break;
                };
                let at = Position::UNKNOWN;
                kept.requeue(Waiting { sequence, at, attempts, behind });
                (*steps, released) = (*steps - 1, true);
            }
        }
        self.indexes.more_due |= *steps == 0;
        channel.settle_charge(&mut self.space.pool);
        if released {
            self.mark(key);
        }
        self.read_index(key);
    }

    /// Reads what of a channel's index is due soon, and sets the alarm for what comes then.
    fn read_index(&mut self, key: Key) {
        let now_ms = self.now.mono_ms;
        while let Some(channel) = self.channels.get_mut(key) {
            let Some((id, place)) = channel.outstanding.published.load(now_ms, INDEX_LEAD_MS)
            else {
                return channel.set_alarm(key, &mut self.wheel, &mut self.space);
            };
            self.load_index(key, id, place);
        }
    }

    fn load_index(&mut self, key: Key, id: u32, place: Place) {
        let bytes = place.bytes as usize;
        // What is due has to come, be it that the limit is passed for it by a few kilobytes.
        let block = self.take_block(bytes);
        let block = block.unwrap_or_else(|| self.space.pool.take_anyway(bytes));
        let ticket = self.tiers.next_ticket();
        self.indexes.reads.insert(ticket, (key, id, block));
        self.space.requests.push_back(DiskRequest::Read { ticket, place });
    }

    /// A part of an index was read, or could not be.
    pub(super) fn index_read(&mut self, ticket: u32, result: Result<PageBuffer, DiskError>) {
        let Some((key, id, block)) = self.indexes.reads.remove(&ticket) else { return };
        let Shard { channels, space, now, .. } = self;
        let Some(channel) = channels.get_mut(key) else { return space.pool.give_back(block) };
        let bytes = result.ok();
        self.indexes.reads_done += 1;
        let published = &mut channel.outstanding.published;
        if !published.loaded(id, (block, bytes.as_deref()), now.mono_ms, space) {
            self.indexes.retry_at_ms = Some(now.mono_ms + JOURNAL_RETRY_MS);
        }
        self.release_due(key, &mut { TIMERS_PER_TURN_MAX });
    }

    /// Has parts of indexes stored, when memory is short.
    pub(super) fn store_indexes(&mut self) {
        if self.now.mono_ms < self.tiers.retry_at_ms {
            return;
        }
        let slots = self.channels.slots();
        for _ in 0..slots.min(CHANNELS_PER_TURN) {
            let Some(key) = self.channels.key_at(self.indexes.hand % slots) else {
                self.indexes.hand = (self.indexes.hand + 1) % slots;
                continue;
            };
            if !self.store_index(key) {
                return;
            }
            self.indexes.hand = (self.indexes.hand + 1) % slots;
        }
    }

    /// Has a channel's index stored. False when the store takes no more just now.
    fn store_index(&mut self, key: Key) -> bool {
        let Shard { channels, topics, space, tiers, indexes, .. } = self;
        let Some(channel) = channels.get_mut(key) else { return true };
        let Some(topic) = topics.get(channel.topic).filter(|topic| topic.is_kept()) else {
            return true;
        };
        let published = &mut channel.outstanding.published;
        while let Some(id) = published.store(1).pop() {
            let bytes = published.chunk_bytes(id).expect("what is stored is in memory");
            let Some(write) = space.place_index(&topic.name, bytes) else {
                published.not_stored(id);
                return false;
            };
            let (ticket, place) = (tiers.next_ticket(), write.place);
            indexes.writes.insert(ticket, (key, id, place));
            let (file, offset, content) = (place.file, write.offset, write.content);
            space.requests.push_back(DiskRequest::Write { ticket, file, offset, content });
        }
        true
    }

    /// A part of an index was written, or could not be.
    pub(super) fn index_written(
        &mut self,
        ticket: u32,
        content: Content,
        result: Result<(), DiskError>,
    ) {
        let Some((key, id, place)) = self.indexes.writes.remove(&ticket) else { return };
        self.space.written(place.file, content, result.is_ok());
        let kept = self.channels.get_mut(key).map(|channel| &mut channel.outstanding.published);
        let useless = match (kept, &result) {
            (Some(published), Ok(())) => published.stored(id, place),
            (Some(published), Err(_)) => {
                published.not_stored(id);
                Some(place)
            }
            (None, _) => Some(place),
        };
        if let Some(place) = useless {
            self.space.release(place);
        }
        match result {
            Ok(()) => self.tiers.trouble = None,
            Err(error) => self.store_failed(&error),
        }
    }

    /// What indexes have in a store file of which little is wanted goes elsewhere, now or when it
    /// was read.
    pub(super) fn thin_out_indexes(&mut self, file: u32) {
        let keys: Vec<Key> = self.channels.iter().map(|(key, _)| key).collect();
        for key in keys {
            let Some(channel) = self.channels.get_mut(key) else { continue };
            let published = &mut channel.outstanding.published;
            published.leave_file(file, &mut self.space);
            for (id, place) in published.load_from(file) {
                self.load_index(key, id, place);
            }
        }
    }

    /// Fires what is due, as often as a turn's bound allows.
    pub(super) fn begin_releasing(&mut self) {
        self.indexes.more_due = false;
        if self.indexes.retry_at_ms.is_some_and(|at_ms| at_ms <= self.now.mono_ms) {
            self.indexes.retry_at_ms = None;
        }
    }
}

/// Channels looked at in one turn for something to store.
const CHANNELS_PER_TURN: usize = 256;

#[cfg(test)]
mod tests {
    use alloc::boxed::Box;
    use alloc::vec::Vec;
    use std::format;

    use crate::client::Peer;
    use crate::limits::{Options, TIMERS_PER_TURN_MAX};
    use crate::log::pool::CHUNK_BYTES;
    use crate::placement::Placement;
    use crate::request::{ChannelAction, Request, TopicAction};
    use crate::shard::{Now, Parts, Shard, Socket};
    use crate::slots::Key;
    use crate::wire::names::Name;

    /// A shard, and the consumer of its only channel.
    fn shard_of(options: Options) -> (Shard, Key) {
        let placement = Placement::new(0, 1, &[]);
        let now = Now::default();
        let parts = Parts { options, placement, workers: 1, now, seed: 1, disk: false };
        let grow = || Some(Vec::leak(alloc::vec![0; CHUNK_BYTES]));
        let mut shard = Shard::new(parts, Box::new(grow));
        let client = shard.connect(Socket(1), Peer::default());
        shard.received(client, b"  V2SUB t c\n");
        (shard, client)
    }

    /// The same, and a producer.
    fn shard(memory_limit_bytes: usize) -> (Shard, Key) {
        let (mut shard, _) = shard_of(Options { memory_limit_bytes, ..Options::default() });
        let client = shard.connect(Socket(2), Peer::default());
        shard.received(client, b"  V2");
        (shard, client)
    }

    fn turn_at(shard: &mut Shard, mono_ms: u64) {
        shard.finish_turn();
        shard.begin_turn(Now { mono_ms, wall_ns: 0 });
    }

    /// Deferred and requeued messages of the only channel.
    fn counts(shard: &Shard) -> (u64, u64) {
        let (_, channel) = shard.channels.iter().next().unwrap();
        (channel.outstanding.deferred(), channel.outstanding.requeued())
    }

    fn defer(shard: &mut Shard, client: Key, delay_ms: u64, count: usize) {
        shard.received(client, format!("DPUB t {delay_ms}\n\0\0\0\x01x").repeat(count).as_bytes());
    }

    #[test]
    fn what_is_due_at_once_is_released_over_several_turns() {
        let (mut shard, client) = shard(64 << 20);
        let (count, turn) = (40_000, u64::from(TIMERS_PER_TURN_MAX));
        defer(&mut shard, client, 100, count);
        defer(&mut shard, client, 5000, 1);
        turn_at(&mut shard, 1);
        assert_eq!(counts(&shard), (count as u64 + 1, 0));
        turn_at(&mut shard, 100);
        assert_eq!(counts(&shard), (count as u64 + 1, 0), "no message is early");
        let mut left = count as u64;
        while left > 0 {
            turn_at(&mut shard, 101);
            let released = counts(&shard).1 - (count as u64 - left);
            assert!(released > 0 && released <= turn);
            left -= released;
            assert_eq!(shard.indexes.has_more_due(), left > 0);
        }
        turn_at(&mut shard, 101);
        assert_eq!(counts(&shard), (1, count as u64));
        assert!(!shard.indexes.has_more_due());
    }

    #[test]
    fn emptied_channels_leave_no_alarm_and_no_memory() {
        let (mut shard, client) = shard(64 << 20);
        for _ in 0..3 {
            defer(&mut shard, client, 60_000, 35_000);
            turn_at(&mut shard, 1);
            let name = |text: &str| Name::parse(text.as_bytes()).unwrap();
            let request = Request::Channel(name("t"), name("c"), ChannelAction::Empty);
            shard.ask(0, 1, request);
            turn_at(&mut shard, 1);
            assert_eq!(counts(&shard), (0, 0));
            assert_eq!((shard.space.pool.used_bytes(), shard.space.pool.charged_bytes()), (0, 0));
            let (_, channel) = shard.channels.iter().next().unwrap();
            assert_eq!(channel.alarm, crate::wheel::TimerId::NONE);
        }
    }

    /// The ids of the messages in a client's output, and the errors.
    fn take_output(shard: &mut Shard, client: Key) -> (Vec<Vec<u8>>, Vec<std::string::String>) {
        let output = shard.output(client).to_vec();
        shard.sent(client, output.len());
        let (mut rest, mut ids, mut errors) = (&output[..], Vec::new(), Vec::new());
        while let Some((size, behind)) = rest.split_first_chunk() {
            let (frame, behind) = behind.split_at(u32::from_be_bytes(*size) as usize);
            rest = behind;
            match frame[3] {
                1 => errors.push(std::string::String::from_utf8_lossy(&frame[4..]).into_owned()),
                2 => ids.push(frame[14..30].to_vec()),
                _ => {}
            }
        }
        (ids, errors)
    }

    #[test]
    fn no_more_is_put_off_than_there_may_be() {
        let (mut shard, consumer) = shard_of(Options { put_off_max: 3, ..Options::default() });
        shard.received(consumer, b"RDY 9\n");
        shard.received(consumer, b"PUB t\n\0\0\0\x01x".repeat(5).as_slice());
        turn_at(&mut shard, 1);
        let (ids, _) = take_output(&mut shard, consumer);
        assert_eq!(ids.len(), 5);
        for id in &ids {
            shard.received(consumer, &[b"REQ ", &id[..], b" 1000\n"].concat());
        }
        turn_at(&mut shard, 2);
        assert_eq!(counts(&shard), (3, 0));
        let (_, errors) = take_output(&mut shard, consumer);
        assert_eq!(errors.len(), 2, "{errors:?}");
        assert!(errors[0].starts_with("E_REQ_FAILED REQ "), "{errors:?}");
        assert!(errors[0].ends_with(" failed too many messages are put off"), "{errors:?}");
        // Without a delay it may go back.
        shard.received(consumer, &[b"REQ ", &ids[4][..], b" 0\n"].concat());
        turn_at(&mut shard, 3);
        assert_eq!(take_output(&mut shard, consumer), ([ids[4].clone()].into(), Vec::new()));
        // What was put off has come, so there is room for others.
        turn_at(&mut shard, 1100);
        turn_at(&mut shard, 1101);
        assert_eq!(take_output(&mut shard, consumer).0.len(), 3);
        shard.received(consumer, &[b"REQ ", &ids[3][..], b" 1000\n"].concat());
        turn_at(&mut shard, 1102);
        assert_eq!((counts(&shard), shard.space.put_off), ((1, 0), 1));
        let name = |text: &str| Name::parse(text.as_bytes()).unwrap();
        shard.ask(0, 1, Request::Channel(name("t"), name("c"), ChannelAction::Empty));
        assert_eq!(shard.space.put_off, 0);
        shard.received(consumer, b"PUB t\n\0\0\0\x01x");
        turn_at(&mut shard, 1103);
        let (ids, _) = take_output(&mut shard, consumer);
        shard.received(consumer, &[b"REQ ", &ids[0][..], b" 1000\n"].concat());
        assert_eq!(shard.space.put_off, 1);
        shard.ask(0, 2, Request::Topic("t".into(), TopicAction::Delete));
        assert_eq!(shard.space.put_off, 0);
    }

    #[test]
    fn without_room_a_deferred_publish_is_refused() {
        let (mut shard, client) = shard(2 << 20);
        let mut sent = 0;
        let refusal = loop {
            defer(&mut shard, client, 60_000, 100);
            turn_at(&mut shard, 1);
            sent += 100;
            let output = std::string::String::from_utf8_lossy(shard.output(client)).into_owned();
            if let Some(at) = output.find("E_") {
                break std::string::String::from(&output[at..]);
            }
            assert!(sent < 100_000, "the limit is never reached");
        };
        assert!(refusal.starts_with("E_DPUB_FAILED DPUB failed memory limit reached"), "{refusal}");
        // 51 bytes for the record, and what is noted of it in a heap that grows by doubling.
        assert!(sent > 15_000, "{sent}");
        assert!(shard.space.pool.used_bytes() <= 3 << 20);
    }
}
