//! Dead letters and bounds: which messages may go, which must have gone where, and what may come
//! again under another id because it was brought back.
//!
//! What is brought back is a message of its own here, a copy with the same body on one channel.

use std::collections::HashMap;

use shards::policy::{Limit, OnFull};
use shards::stats::ChannelStats;

use super::super::Settings;
use super::super::wire::{self, Message};
use super::{Channel, Entry, Ledger, Outcome, Published, State};

/// Bytes that the smallest message takes in the log.
const RECORD_BYTES_MIN: u64 = 46;
/// What sums of bytes may be wrong by, in hundredths of the bound: of what is not ahead of a cursor
/// only the number is known, and after an end where in a segment the cursor is.
const SLACK_PERCENT: u64 = 20;
const SLACK_PERCENT_AFTER_ENDS: u64 = 60;
/// Times are rounded.
const ROUNDING_MS: i64 = 3;

/// What topics and channels of a world may hold.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bounds {
    pub topic: Limit,
    channel: Limit,
    /// Of the first channel of each topic, where it is another.
    first: Limit,
    /// Nothing but messages is counted.
    plain: bool,
    slack_percent: u64,
}

impl Bounds {
    pub fn new(settings: &Settings) -> Bounds {
        let defaults = settings.options.defaults;
        let all = [defaults.topic, defaults.channel, settings.first];
        let plain = all.iter().all(|limit| limit.max_bytes | limit.max_age_ms == 0);
        let slack_percent = match settings.ends.is_empty() {
            true => SLACK_PERCENT,
            false => SLACK_PERCENT_AFTER_ENDS,
        };
        let (topic, channel, first) = (defaults.topic, defaults.channel, settings.first);
        Bounds { topic, channel, first, plain, slack_percent }
    }

    /// Of a channel: its own.
    pub fn of(&self, channel: usize) -> Limit {
        if channel == 0 && self.first.is_set() { self.first } else { self.channel }
    }

    /// Whether a topic drops what is too much before a channel has it.
    pub fn topic_drops(&self) -> bool {
        gives(&self.topic, OnFull::DropOldest)
    }

    /// Whether a channel drops what is too much.
    pub fn drops(&self, channel: usize) -> bool {
        [self.of(channel), self.topic].iter().any(|limit| gives(limit, OnFull::DropOldest))
    }

    /// Whether what is too much becomes a dead letter.
    pub fn buries(&self, channel: usize) -> bool {
        gives(&self.of(channel), OnFull::DeadLetter)
    }
}

fn gives(limit: &Limit, on_full: OnFull) -> bool {
    limit.is_set() && limit.on_full == on_full
}

impl Bounds {
    /// A message is not delivered when it is too old for its channel, or its topic.
    pub fn check_age(&self, own: Limit, message: &Published, wall_ns: i64) -> Result<(), String> {
        let since_ms = message.timestamp_ns / 1_000_000 + message.delay_ms as i64;
        let age_ms = wall_ns / 1_000_000 - since_ms;
        for limit in [own, self.topic] {
            let most_ms = limit.max_age_ms as i64;
            if limit.expires() && age_ms > most_ms + ROUNDING_MS {
                return Err(format!("delivered {age_ms} ms old, more than {most_ms}"));
            }
        }
        Ok(())
    }
}

/// The numbers of a channel when it was compared last.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    finished: usize,
    gone: u64,
}

impl Channel {
    /// Whether a message may go to make room, without anybody being told which.
    pub(super) fn may_bury(&self, entry: &Entry, now_ms: u64) -> bool {
        self.buries && is_back(entry, now_ms)
    }

    /// Messages that may have been dead at some time.
    pub fn may_have_died(&self) -> u64 {
        (self.dead.len() + self.died.len() + self.live.len() + self.finished.len()) as u64
    }

    /// What was delivered often enough, and came back, is here no more.
    pub fn bury(&mut self, now_ms: u64) {
        let max = self.attempts_max;
        if max == 0 {
            return;
        }
        for (&number, entry) in &mut self.live {
            // It may have been delivered less often than the ledger knows.
            entry.unsure |= entry.attempts >= max && entry.loose;
            if entry.attempts >= max && entry.unsure {
                self.died.insert(number);
            }
        }
        let spent =
            |entry: &Entry| entry.attempts >= max && !entry.unsure && is_back(entry, now_ms);
        let dead = self.live.extract_if(|_, entry| spent(entry));
        self.dead.extend(dead.map(|(number, _)| number));
    }

    /// Looks at the bounds beside what a shard says it holds.
    pub fn compare_bounds(
        &mut self,
        stats: &ChannelStats,
        bounds: &Bounds,
        held: u64,
    ) -> Vec<String> {
        let mut complaints = Vec::new();
        let there = stats.depth + stats.deferred_count + stats.in_flight_count;
        for (limit, there) in [(self.limit, there), (bounds.topic, there + held)] {
            if limit.on_full == OnFull::Reject || stats.depth == 0 {
                continue;
            }
            let most = limit.max_messages;
            let bytes_max = limit.max_bytes * (100 + bounds.slack_percent) / 100;
            if most != 0 && there > most {
                complaints.push(format!("{there} is above its bound of {most}"));
            }
            if limit.max_bytes != 0 && there * RECORD_BYTES_MIN > bytes_max {
                let text = format!("{there} messages are above its bound of {bytes_max} bytes");
                complaints.push(text);
            }
        }
        let (finished, gone) =
            (self.finished.len(), stats.dropped.total() + stats.dead_letters.total());
        let least = [self.limit, bounds.topic].map(|limit| limit.max_messages);
        let least = least.into_iter().filter(|&most| most != 0).min();
        if let (Some(seen), Some(least), true) = (self.seen, least, bounds.plain)
            && gone > seen.gone
            && self.attempts_max == 0
            && !self.lossy
            && there + held + ((finished - seen.finished) as u64) < least
        {
            complaints.push(format!("{there} are left of {least}: more went than had to"));
        }
        self.seen = Some(Seen { finished, gone });
        complaints
    }
}

/// Whether nobody has a message any more.
fn is_back(entry: &Entry, now_ms: u64) -> bool {
    match entry.state {
        State::InFlight { until_ms, .. } => until_ms <= now_ms,
        _ => true,
    }
}

impl Ledger {
    /// What the wall clock says from now on.
    pub fn set_wall(&mut self, wall_ns: i64) {
        self.wall_ns = wall_ns;
    }

    /// Dead letters may come back from now on.
    pub fn redriven(&mut self) {
        self.redrives = true;
    }

    /// A message that was delivered: its topic, its number, and the size of its body.
    pub fn anything_delivered(&self) -> Option<(usize, u32, usize)> {
        let numbered = (0..).zip(&self.messages);
        let mut known = { numbered }.filter(|(_, message)| message.id.is_some());
        known.next().map(|(number, message)| (message.topic, number, message.bytes))
    }

    /// A message is delivered under an id that nobody knows: it must have been a dead letter of
    /// this channel, and be back. The number of the copy.
    pub(super) fn is_brought_back(
        &mut self,
        number: u32,
        (topic, channel): (usize, usize),
        message: &Message,
    ) -> Result<u32, String> {
        if !self.redrives {
            return Err("id or timestamp has changed".to_owned());
        }
        let (now_ms, tick, ends) = (self.now_ms, self.tick, self.ends);
        let stray = self.may_stray(number, topic);
        let (topics, messages) = (&mut self.topics, &mut self.messages);
        let there = topics[topic].as_mut().and_then(|topic| topic.channels.get_mut(&channel));
        let there = there.ok_or("delivered from a deleted channel")?;
        let is_it = |other: &u32| messages[*other as usize].base == number;
        let max = there.attempts_max;
        let spent = there.live.iter().find(|(other, entry)| {
            is_it(other) && max != 0 && entry.attempts >= max && is_back(entry, now_ms)
        });
        let spent = spent.map(|(&other, _)| other);
        let dead = there.dead.iter().copied().find(|other| is_it(other)).or(spent);
        match dead {
            Some(dead) => {
                there.dead.remove(&dead);
                there.live.remove(&dead);
                there.died.insert(dead);
            }
            None if stray || ends && there.died.iter().any(is_it) => {}
            None => return Err("under another id, though it is no dead letter".to_owned()),
        }
        let copy = messages.len() as u32;
        let bytes = messages[number as usize].bytes;
        messages.push(Published {
            topic,
            handed: Some((tick, now_ms)),
            outcome: Outcome::Acknowledged,
            delay_ms: 0,
            bytes,
            id: Some(message.id),
            timestamp_ns: message.timestamp_ns,
            base: number,
        });
        let unsure = there.lossy || there.drops || channel != 0;
        let (state, attempts) = (State::Waiting, 0);
        there.live.insert(copy, Entry { state, attempts, unsure, loose: false });
        self.ids.insert((topic, message.id), copy);
        Ok(copy)
    }

    /// That what is brought back is not for other channels is written down behind it: when the
    /// power goes in between, they get it too.
    pub(super) fn may_stray(&self, number: u32, topic: usize) -> bool {
        let base = |number: &u32| self.messages[*number as usize].base;
        let (base_of, topic) = (base(&number), self.topics[topic].as_ref());
        self.redrives
            && self.torn
            && topic.and_then(|topic| topic.channels.get(&0)).is_some_and(|first| {
                let all = first.dead.iter().chain(&first.died).chain(first.live.keys());
                all.chain(&first.finished).any(|other| base(other) == base_of)
            })
    }

    /// How many were brought back, and seen.
    pub fn copies(&self) -> usize {
        (0..self.messages.len() as u32).filter(|&number| self.is_copy(number)).count()
    }

    /// Whether a message is one that was brought back.
    pub(super) fn is_copy(&self, number: u32) -> bool {
        self.messages.get(number as usize).is_some_and(|message| message.base != number)
    }

    /// A publish was refused because a topic or channel was full: it must have been.
    pub(super) fn check_refusal(&mut self, number: u32) {
        let index = self.messages[number as usize].topic;
        let open = |message: &&Published| {
            message.topic == index && message.handed.is_some() && message.outcome == Outcome::Open
        };
        if !self.bounds.plain || !self.gentle {
            return;
        }
        let under_way = self.messages.iter().filter(open).count();
        let Some(topic) = self.topics[index].as_ref() else { return };
        let mut full = topic.is_full(under_way, self.bounds.topic.max_messages);
        for channel in topic.channels.values() {
            let Some(seen) = channel.seen else { return };
            let most = channel.live.len() + channel.finished.len() - seen.finished + under_way;
            let of_topic = self.bounds.topic.max_messages;
            let reaches = |most: usize, bound: u64| bound != 0 && most as u64 >= bound;
            full |= reaches(most, channel.limit.max_messages);
            full |= reaches(most + topic.held.len(), of_topic);
        }
        if !full {
            let name = self.topic_names[index];
            self.complain(format!("a publish to {name} is refused though there is room"));
        }
    }

    /// Which message a dead letter was; `None` when it is not as it was published.
    pub fn read_letter(&self, body: &[u8]) -> Option<u32> {
        let number = u32::from_be_bytes(*body.first_chunk()?);
        let published = self.messages.get(number as usize)?;
        wire::is_body(body, number, published.bytes).then_some(number)
    }

    /// Compares what is dead with the letters that there are, by the messages that they were. In a
    /// world without ends each is there once, and nothing else.
    pub fn compare_letters(&mut self, letters: &HashMap<u32, usize>, exact: bool) {
        let mut complaints = Vec::new();
        let mut found = letters.clone();
        for (topic, name) in self.topics.iter_mut().zip(&self.topic_names) {
            let Some(topic) = topic else { continue };
            let Some(first) = topic.channels.get_mut(&0) else { continue };
            let base = |number: &u32| self.messages[*number as usize].base;
            if first.buries {
                let buried = first.live.extract_if(|number, _| letters.contains_key(&base(number)));
                let buried: Vec<u32> = buried.map(|(number, _)| number).collect();
                first.dead.extend(buried);
            }
            for number in &first.dead {
                match found.get_mut(&base(number)).filter(|count| **count > 0) {
                    Some(count) => *count -= 1,
                    None => complaints.push(format!("dead letter {number} of {name} is gone")),
                }
            }
            let finished: Vec<u32> = first.finished.iter().map(base).collect();
            for number in first.owed.iter().map(base) {
                if !letters.contains_key(&number) && !finished.contains(&number) {
                    complaints.push(format!("{number} of {name} is neither dead nor finished"));
                }
            }
        }
        let too_many: usize = found.values().sum();
        if exact && too_many > 0 {
            complaints.push(format!("{too_many} dead letters nobody knows of"));
        }
        complaints.into_iter().for_each(|complaint| self.complain(complaint));
    }
}

impl super::Topic {
    /// Whether it holds as much as it may by itself.
    fn is_full(&self, under_way: usize, most: u64) -> bool {
        most != 0 && (self.held.len() + under_way) as u64 >= most
    }
}
