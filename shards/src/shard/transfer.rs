//! Messages that go from a channel to another topic, here or on another shard: dead letters, and
//! those that are brought back.
//!
//! A message leaves its channel in three steps: it is taken out of what is delivered (`give_up`), a
//! copy is published to the other topic, and when that topic has it, as lastingly as it promises,
//! the message is finished here. Only then is the finish written down, so whatever ends the process
//! in between leaves the message here, and perhaps there as well.

use alloc::string::String;
use alloc::vec::Vec;

use super::share::Publisher;
use super::{Alarm, Shard};
use crate::id;
use crate::journal::state::Outstanding as Delta;
use crate::limits::{Durability, TRANSFER_BYTES_PER_TURN, TRANSFER_RETRY_MS};
use crate::mail::{Forward, Origin as Sender};
use crate::outstanding::Waiting;
use crate::policy::{Note, Origin, Reason};
use crate::slots::Key;
use crate::transfers::{Purpose, Transfer};
use crate::wheel::TimerId;
use crate::wire::names::Name;

/// What came of an attempt to send a message.
enum Sent {
    /// It is under way, or not wanted any more.
    Away(usize),
    /// It has to be read from the disk first.
    Cold,
    /// It would not be taken now.
    Blocked,
}

/// A message about to be sent.
struct Parcel {
    topic: Name,
    bytes: Vec<u8>,
}

impl Shard {
    /// A message came back, to be delivered again after so long. It may have been delivered often
    /// enough.
    pub(super) fn give_back(&mut self, key: Key, message: Waiting, delay_ms: u64) {
        let Some(channel) = self.channels.get_mut(key) else { return };
        let Waiting { sequence, attempts, .. } = message;
        if channel.is_spent(attempts) && !channel.outstanding.transfers.are_full() {
            channel.give_up(message, Reason::Attempts);
            self.note_requeue(key, sequence, attempts, 0);
            return self.note_transfers(key);
        }
        // There is a bound to what may be put off: what passes it comes again at once.
        let room = self.space.put_off < self.options.put_off_max;
        let delay_ms = delay_ms.max(if room { channel.policy.backoff_ms(attempts) } else { 0 });
        self.note_requeue(key, sequence, attempts, delay_ms);
        match delay_ms {
            0 => self.requeue(key, message),
            _ => self.defer(key, message, delay_ms),
        }
    }

    /// Sees to it that a channel's messages for other topics are sent in this turn.
    pub(super) fn note_transfers(&mut self, key: Key) {
        if let Some(channel) = self.channels.get_mut(key)
            && channel.outstanding.transfers.are_due()
            && !core::mem::replace(&mut channel.transferring, true)
        {
            self.transferring.push(key);
        }
    }

    /// Sends what channels have for other topics. What is published here belongs to the next turn.
    pub(super) fn send_transfers(&mut self) {
        let mut left = TRANSFER_BYTES_PER_TURN;
        for key in core::mem::take(&mut self.transferring) {
            if let Some(channel) = self.channels.get_mut(key) {
                channel.transferring = false;
            }
            if left == 0 {
                self.note_transfers(key);
                continue;
            }
            loop {
                match self.send_next(key) {
                    Some(Sent::Away(bytes)) => left = left.saturating_sub(bytes),
                    Some(Sent::Blocked) => break self.block_transfers(key),
                    // Whoever reads the segment marks the channel.
                    Some(Sent::Cold) | None => break,
                }
                if left == 0 {
                    break self.note_transfers(key);
                }
            }
        }
        // Nothing else may happen here that would have a turn ask for what has to be read.
        self.start_loads();
    }

    fn send_next(&mut self, key: Key) -> Option<Sent> {
        let channel = self.channels.get_mut(key)?;
        let topic = self.topics.get_mut(channel.topic)?;
        let topic_key = channel.topic;
        if !channel.outstanding.transfers.are_due() {
            // One was refused just now, and so would the others be.
            return None;
        }
        let (sequence, transfer) = channel.outstanding.transfers.next_unsent()?;
        let at = topic.log.place(sequence, transfer.at);
        if let Some(cold) = topic.log.cold(sequence, at) {
            self.want(topic_key, cold);
            return Some(Sent::Cold);
        }
        let Some(parcel) = self.parcel(key, sequence, transfer) else {
            return Some(self.keep_after_all(key, sequence));
        };
        let Parcel { topic, bytes } = &parcel;
        let (length, owner) = (bytes.len(), self.placement.owner(topic));
        if owner != self.placement.me {
            let forward = Forward {
                origin: Sender::Transfer(key, sequence),
                topic: *topic,
                delay_ms: 0,
                count: 1,
                length: length as u32,
            };
            if !self.forward_transfer(owner, forward, bytes) {
                return Some(Sent::Blocked);
            }
            self.channels.get_mut(key)?.outstanding.transfers.sent();
        } else {
            let publisher = Publisher::Worker(owner);
            if self.is_stalled(owner) || self.has_to_wait(publisher, length) {
                return Some(Sent::Blocked);
            }
            self.take_share_of(owner, length);
            self.channels.get_mut(key)?.outstanding.transfers.sent();
            match self.receive_transfer(topic, bytes) {
                Ok(Durability::Memory) => self.transferred(key, sequence, false),
                Ok(durability) => self.owe_transfer(key, sequence, durability),
                Err(_) => self.transferred(key, sequence, true),
            }
        }
        self.keep_buffer(parcel.bytes);
        Some(Sent::Away(length))
    }

    /// A message with what the other topic has to know of it; `None` when there is no other topic.
    fn parcel(&mut self, key: Key, sequence: u64, transfer: Transfer) -> Option<Parcel> {
        let mut bytes = self.buffer();
        let channel = self.channels.get(key)?;
        let topic = self.topics.get_mut(channel.topic)?;
        let (name, durability) = (topic.name, topic.durability);
        let fallback = topic.policy.dead_letter_topic;
        let at = topic.log.place(sequence, transfer.at);
        let record = topic.log.record(sequence, at)?;
        let target = match transfer.purpose {
            Purpose::DeadLetter(reason) => {
                let origin = Origin {
                    topic: name,
                    channel: Some(channel.name),
                    id: id::number(sequence, self.options.node_id),
                    timestamp_ns: record.timestamp_ns(),
                };
                let note = Note { reason, attempts: transfer.attempts, origin };
                cargo::put(&mut bytes, durability, None, Some(&note));
                channel.policy.dead_letter_topic.or(fallback)?
            }
            Purpose::Redrive => {
                let Origin { topic, channel, .. } = Note::decode(record.note)?.origin;
                cargo::put(&mut bytes, durability, Some(&channel?), None);
                topic
            }
        };
        bytes.extend_from_slice(record.body());
        Some(Parcel { topic: target, bytes })
    }

    /// A message that was to go has nowhere to go to: it waits to be delivered again.
    fn keep_after_all(&mut self, key: Key, sequence: u64) -> Sent {
        let Some(channel) = self.channels.get_mut(key) else { return Sent::Away(0) };
        channel.outstanding.transfers.sent();
        if let Some(transfer) = channel.outstanding.transfers.take(sequence) {
            if let Some(redrive) = channel.redrive.as_mut() {
                redrive.kept += u64::from(transfer.purpose == Purpose::Redrive);
            }
            let Transfer { at, attempts, .. } = transfer;
            self.requeue(key, Waiting { sequence, at, attempts, behind: 0 });
        }
        Sent::Away(0)
    }

    /// Takes a message of another channel, here or elsewhere. What an answer promises.
    ///
    /// # Errors
    /// Why not, in words.
    pub(super) fn receive_transfer(
        &mut self,
        topic: &Name,
        bytes: &[u8],
    ) -> Result<Durability, String> {
        let parcel = cargo::take(bytes).expect("shards of one process understand each other");
        let key = match parcel.channel {
            None => self.topic(topic),
            Some(_) => self.names.get(topic).copied().ok_or("there is no such topic")?,
        };
        let (wanted, others) = match parcel.channel {
            None => (None, Vec::new()),
            Some(channel) => self.channels_beside(key, &channel)?,
        };
        let body = core::iter::once(parcel.body);
        let promise = self.append_noted(key, 0, parcel.note, body)?;
        self.hand_over(key);
        self.skip_newest(key, &others);
        if let Some(channel) = wanted.and_then(|key| self.channels.get_mut(key)) {
            channel.redriven_count += 1;
        }
        // Where it is written down at all it is as safe as where it was.
        Ok(if promise == Durability::Memory { promise } else { promise.max(parcel.durability) })
    }

    /// A channel of a topic, which gets what comes at once, and all others.
    fn channels_beside(
        &mut self,
        key: Key,
        channel: &Name,
    ) -> Result<(Option<Key>, Vec<Key>), String> {
        self.hand_over(key);
        let wanted = self.find_channel(key, channel).ok_or("there is no such channel")?;
        let topic = self.topics.get(key).filter(|topic| topic.is_flowing());
        let topic = topic.ok_or("the topic is paused")?;
        let others = topic.channels.iter().copied().filter(|&other| other != wanted);
        Ok((Some(wanted), others.collect()))
    }

    /// The message that a topic got last is not for these channels.
    fn skip_newest(&mut self, key: Key, channels: &[Key]) {
        let Some(topic) = self.topics.get(key) else { return };
        let (from, to, at) = (topic.head - 1, topic.head, topic.log.end());
        for &other in channels {
            let Some(channel) = self.channels.get_mut(other) else { continue };
            channel.message_count -= 1;
            channel.skip(crate::channel::Skip { from, to, at });
            self.note_finish(other, from);
        }
    }

    /// The other topic has a message, or has refused it.
    pub(super) fn transferred(&mut self, key: Key, sequence: u64, refused: bool) {
        let Some(channel) = self.channels.get_mut(key) else { return };
        if refused {
            // When it is a redrive, what is wrong there may be so for long: it waits here again.
            let transfers = &channel.outstanding.transfers;
            let back = transfers
                .iter()
                .any(|(at, transfer)| at == sequence && transfer.purpose == Purpose::Redrive);
            if back {
                self.keep_after_all_refused(key, sequence);
            } else if channel.outstanding.transfers.refused(sequence) {
                self.block_transfers(key);
            }
            return;
        }
        let Some(transfer) = channel.outstanding.transfers.take(sequence) else { return };
        match (transfer.purpose, &mut channel.redrive) {
            (Purpose::DeadLetter(reason), _) => channel.dead_letters.add(reason, 1),
            (Purpose::Redrive, Some(redrive)) => redrive.moved += 1,
            (Purpose::Redrive, None) => {}
        }
        let topic_key = channel.topic;
        if let Some(topic) = self.topics.get(topic_key) {
            let at = topic.log.place(sequence, transfer.at);
            self.finished(topic_key, key, sequence, at);
        }
        self.touch(topic_key);
        self.mark(key);
    }

    fn keep_after_all_refused(&mut self, key: Key, sequence: u64) {
        let Some(channel) = self.channels.get_mut(key) else { return };
        let Some(transfer) = channel.outstanding.transfers.take(sequence) else { return };
        if let Some(redrive) = channel.redrive.as_mut() {
            redrive.kept += 1;
        }
        let Transfer { at, attempts, .. } = transfer;
        self.requeue(key, Waiting { sequence, at, attempts, behind: 0 });
    }

    /// A channel's messages for other topics are tried again after a while.
    fn block_transfers(&mut self, key: Key) {
        let due_ms = self.now.mono_ms + TRANSFER_RETRY_MS;
        let Some(channel) = self.channels.get_mut(key) else { return };
        channel.outstanding.transfers.block();
        if channel.transfer_alarm == TimerId::NONE {
            channel.transfer_alarm = self.wheel.set(due_ms, Alarm::Transfers(key));
        }
    }

    /// A channel that counts attempts has delivered something.
    pub(super) fn note_attempts(&mut self, key: Key) {
        if let Some(channel) = self.channels.get(key)
            && channel.policy.max_attempts != 0
            && channel.journaled
            && (channel.moved || !channel.requeued.is_empty())
        {
            self.note_deltas(key);
        }
    }

    /// Whether messages for other topics are tried again later.
    pub(super) fn waits_to_transfer(&self) -> bool {
        self.channels.iter().any(|(_, channel)| channel.transfer_alarm != TimerId::NONE)
    }

    /// The time has come to try again.
    pub(super) fn unblock_transfers(&mut self, key: Key) {
        let Some(channel) = self.channels.get_mut(key) else { return };
        channel.transfer_alarm = TimerId::NONE;
        channel.outstanding.transfers.unblock();
        self.note_transfers(key);
    }
}

impl crate::channel::Channel {
    /// Whether a message that was delivered so often is not delivered any more.
    pub(super) fn is_spent(&self, attempts: u16) -> bool {
        self.policy.max_attempts != 0 && attempts >= self.policy.max_attempts
    }

    /// A message that is pinned is a dead letter from now on.
    pub(super) fn give_up(&mut self, message: Waiting, reason: Reason) {
        let Waiting { sequence, at, attempts, .. } = message;
        let purpose = Purpose::DeadLetter(reason);
        self.outstanding.transfers.add(sequence, Transfer { at, attempts, purpose });
    }

    /// A message was delivered that had been before, or was deferred: over a crash it is known how
    /// often.
    pub(super) fn note_attempt(&mut self, sequence: u64, attempts: u16) {
        if self.policy.max_attempts != 0 && self.journaled {
            self.requeued.push(Delta { sequence, attempts, due_ms: 0 });
        }
    }
}

/// Parcels as bytes between shards: they travel with publishes.
mod cargo {
    use alloc::vec::Vec;

    use crate::limits::Durability;
    use crate::policy::Note;
    use crate::wire::names::Name;

    pub(super) struct Cargo<'a> {
        /// How safe it was.
        pub(super) durability: Durability,
        /// The only channel that it is for.
        pub(super) channel: Option<Name>,
        pub(super) note: &'a [u8],
        pub(super) body: &'a [u8],
    }

    /// Everything but the body, which follows.
    pub(super) fn put(
        out: &mut Vec<u8>,
        durability: Durability,
        channel: Option<&Name>,
        note: Option<&Note>,
    ) {
        let channel = channel.map_or(&[][..], Name::as_bytes);
        out.extend_from_slice(&[durability as u8, channel.len() as u8, 0]);
        out.extend_from_slice(channel);
        let start = out.len();
        if let Some(note) = note {
            note.encode(out);
        }
        out[2] = u8::try_from(out.len() - start).expect("a note has less than 256 bytes");
    }

    pub(super) fn take(bytes: &[u8]) -> Option<Cargo<'_>> {
        let (&[durability, channel_bytes, note_bytes], rest) = bytes.split_first_chunk()?;
        let (channel, rest) = rest.split_at_checked(usize::from(channel_bytes))?;
        let (note, body) = rest.split_at_checked(usize::from(note_bytes))?;
        let durability = match durability {
            0 => Durability::Memory,
            1 => Durability::Written,
            _ => Durability::Synced,
        };
        Some(Cargo { durability, channel: Name::parse(channel), note, body })
    }
}
