//! Dead letters are brought back: step by step, from the channel on which they wait.

use super::{Alarm, Shard};
use crate::channel::Next;
use crate::log::Position;
use crate::redrive::Redrive;
use crate::request::{Redriving, Reply};
use crate::slots::Key;
use crate::transfers::{Purpose, Transfer};
use crate::wheel::TimerId;
use crate::wire::names::Name;

impl Shard {
    /// Begins to bring back what waits on a channel of a dead-letter topic, changes the rate at
    /// which that is done, or, with a rate of 0, ends it. The channel is made if need be.
    pub(super) fn redrive(&mut self, topic: &Name, channel: &Name, rate: u64, most: u64) -> Reply {
        let Some(&topic_key) = self.names.get(topic) else { return Reply::TopicNotFound };
        let key = match (self.find_channel(topic_key, channel), rate) {
            (Some(key), _) => key,
            (None, 0) => return Reply::ChannelNotFound,
            (None, _) => self.channel(topic_key, channel),
        };
        self.hand_over(topic_key);
        let now_ms = self.now.mono_ms;
        let handed = self.topics.get(topic_key).map_or(0, |topic| topic.handed);
        let Some(channel) = self.channels.get_mut(key) else { return Reply::ChannelNotFound };
        let before = channel.redrive.take();
        if let Some(before) = &before {
            self.wheel.cancel(before.alarm);
        }
        if rate == 0 {
            channel.redrive = before;
            if let Some(ended) = channel.redrive.as_mut() {
                (ended.left, ended.alarm) = (0, TimerId::NONE);
            }
        } else {
            let mut redrive = Redrive::new(rate, channel.depth(handed).min(most), now_ms);
            redrive.alarm = self.wheel.set(now_ms + 1, Alarm::Redrive(key));
            channel.redrive = Some(alloc::boxed::Box::new(redrive));
        }
        self.redriving(topic_key, key)
    }

    /// How far it is.
    pub(super) fn redrive_status(&mut self, topic: &Name, channel: &Name) -> Reply {
        let Some(&topic_key) = self.names.get(topic) else { return Reply::TopicNotFound };
        match self.find_channel(topic_key, channel) {
            Some(key) => self.redriving(topic_key, key),
            None => Reply::ChannelNotFound,
        }
    }

    fn redriving(&self, topic: Key, key: Key) -> Reply {
        let Some(channel) = self.channels.get(key) else { return Reply::ChannelNotFound };
        let handed = self.topics.get(topic).map_or(0, |topic| topic.handed);
        let depth = channel.depth(handed);
        let redrive = channel.redrive.as_ref();
        Reply::Redriving(Redriving {
            rate: redrive.map_or(0, |redrive| if redrive.left > 0 { redrive.rate } else { 0 }),
            left: redrive.map_or(0, |redrive| redrive.left),
            moved: redrive.map_or(0, |redrive| redrive.moved),
            kept: redrive.map_or(0, |redrive| redrive.kept),
            depth,
        })
    }

    /// The next step.
    pub(super) fn redrive_step(&mut self, key: Key) {
        let now_ms = self.now.mono_ms;
        let Some(channel) = self.channels.get_mut(key) else { return };
        let Some(redrive) = channel.redrive.as_mut() else { return };
        redrive.alarm = TimerId::NONE;
        let wanted = redrive.take(now_ms);
        let mut taken = 0;
        while taken < wanted && self.take_for_redrive(key) {
            taken += 1;
        }
        self.note_transfers(key);
        let Some(channel) = self.channels.get_mut(key) else { return };
        let topic_key = channel.topic;
        let none = self.topics.get(topic_key).is_none_or(|topic| channel.depth(topic.handed) == 0);
        let Some(redrive) = channel.redrive.as_mut() else { return };
        redrive.put_back(wanted - taken);
        if none {
            redrive.left = 0;
        }
        if redrive.left > 0 {
            let next_ms = redrive.next_ms(now_ms);
            redrive.alarm = self.wheel.set(next_ms, Alarm::Redrive(key));
        }
        self.touch(topic_key);
    }

    /// Takes the channel's next message. False when there is none, or it has to be read first.
    fn take_for_redrive(&mut self, key: Key) -> bool {
        let Some(channel) = self.channels.get_mut(key) else { return false };
        let topic_key = channel.topic;
        let Some(topic) = self.topics.get_mut(topic_key) else { return false };
        if channel.outstanding.transfers.are_full() {
            return false;
        }
        let (sequence, at, attempts) = match channel.next(topic.handed) {
            None => return false,
            Some(Next::Again(message)) => (message.sequence, message.at, message.attempts),
            Some(Next::New) => match channel.pass(topic) {
                Ok((sequence, at)) => {
                    topic.log.pin(sequence, at);
                    (sequence, at, 0)
                }
                Err(cold) => {
                    self.want(topic_key, cold);
                    return false;
                }
            },
        };
        let at = if at.segment == u32::MAX { Position::UNKNOWN } else { at };
        let purpose = Purpose::Redrive;
        channel.outstanding.transfers.add(sequence, Transfer { at, attempts, purpose });
        true
    }
}
