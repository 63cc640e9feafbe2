//! Moving a channel in its topic's log: back to what it has finished, or over what it has not.
//!
//! Where to is found first, then which deferred messages come again: what is not in memory is read
//! beside the log, so that may take several turns. The move itself is one turn's: the channel
//! stands at the target from then on, and that is written down as a whole.
//!
//! Back means that everything from the target on comes again as if it were new; what the channel
//! has not finished before the target it keeps. Forward means that everything before the target is
//! finished, and that nothing is different behind it.

use alloc::string::String;
use alloc::vec::Vec;

use super::Shard;
use crate::channel::Channel;
use crate::deferral::{Deferrals, Entry};
use crate::disk::{DiskError, DiskRequest, Place};
use crate::journal::state::Range;
use crate::limits::{
    Durability, JOURNAL_RETRY_MS, SEEK_GLANCE_BYTES, SEEK_SEGMENTS_PER_TURN, SEEKS_MAX,
};
use crate::log::record::{self, Checked};
use crate::log::{Position, Since};
use crate::page_buffer::PageBuffer;
use crate::policy::Problem;
use crate::request::{Reply, Seek, SeekAction, Sought, Target};
use crate::slots::Key;
use crate::topic::Topic;

/// All seeks under way, and looks at when segments begin.
#[derive(Debug, Default)]
pub(super) struct Seeks {
    jobs: Vec<Job>,
    /// Looks for the sake of retention, at most one for a topic.
    glances: Vec<Reading>,
}

impl Seeks {
    /// Whether none of them can go on now.
    pub(super) fn is_idle(&self) -> bool {
        self.jobs.iter().all(|job| job.reading.is_some())
    }
}

/// One seek.
#[derive(Debug)]
struct Job {
    /// Who asked.
    to: u16,
    ticket: u64,
    topic: Key,
    seek: Seek,
    /// Where a time begins, once that is known.
    since: Option<u64>,
    /// Deferred messages before this one are in `again`.
    scanned: u64,
    /// Up to this one they are wanted.
    end: u64,
    /// Deferred messages that come again.
    again: Deferrals,
    reading: Option<Reading>,
}

/// What is read.
#[derive(Clone, Copy, Debug)]
struct Reading {
    ticket: u32,
    topic: Key,
    /// The segment, and whether all of it.
    first: u64,
    whole: bool,
}

/// Why a seek does not go on in this turn.
enum Pause {
    /// It has done enough, or the disk reads.
    Later,
    /// It is answered.
    Done(Reply),
}

impl Shard {
    /// Begins a seek; the reply comes later.
    pub(super) fn begin_seek(&mut self, to: u16, ticket: u64, seek: Seek) -> Option<Reply> {
        let Some(&topic) = self.names.get(&seek.topic) else { return Some(Reply::TopicNotFound) };
        if self.seeks.jobs.len() >= SEEKS_MAX || self.is_stopping() {
            return Some(Reply::Refused(String::from("too many seeks at a time")));
        }
        let again = Deferrals::default();
        let (since, scanned, end, reading) = (None, 0, 0, None);
        self.seeks.jobs.push(Job { to, ticket, topic, seek, since, scanned, end, again, reading });
        None
    }

    /// One turn's work on all seeks.
    pub(super) fn step_seeks(&mut self) {
        if self.seeks.jobs.is_empty() || self.is_stopping() {
            return;
        }
        for mut job in core::mem::take(&mut self.seeks.jobs) {
            let step = match job.reading {
                Some(_) => Err(Pause::Later),
                None => self.step_seek(&mut job),
            };
            job.again.settle(&mut self.space);
            match step {
                Err(Pause::Later) => {
                    self.seeks.jobs.push(job);
                    continue;
                }
                Err(Pause::Done(reply)) => self.send_reply(job.to, job.ticket, reply),
                Ok((sought, Durability::Memory)) => {
                    self.send_reply(job.to, job.ticket, Reply::Sought(sought));
                }
                Ok((sought, durability)) => {
                    self.owe_reply(job.to, job.ticket, durability, Reply::Sought(sought));
                }
            }
            job.again.clear(&mut self.space);
        }
    }

    /// What was found or done, and what the answer promises.
    fn step_seek(&mut self, job: &mut Job) -> Result<(Sought, Durability), Pause> {
        let key = job.topic;
        if self.names.get(&job.seek.topic) != Some(&key) {
            return Err(Pause::Done(Reply::TopicNotFound));
        }
        self.hand_over(key);
        let channel = self.find_channel(key, &job.seek.channel);
        let creates = job.seek.action == SeekAction::Create;
        match channel {
            Some(_) if creates => return Err(Pause::Done(exists())),
            None if !creates => return Err(Pause::Done(Reply::ChannelNotFound)),
            Some(_) | None => {}
        }
        let topic = self.topics.get(key).ok_or(Pause::Done(Reply::TopicNotFound))?;
        // The first channel of a topic is given all that there is, unless that is kept back.
        let flows = !topic.paused && topic.waiting.is_none();
        let end = if creates && flows { topic.head } else { topic.handed };
        let found = channel.and_then(|key| self.channels.get(key));
        let stands = found.map_or(topic.handed, |channel| channel.cursor);
        let (target, clamped) = self.seek_target(job, end)?;
        let forward = target > stands || job.seek.to == Target::Latest;
        let messages = self.count_sought(key, channel, (target, end), forward);
        let sought = Sought { forward, clamped, messages, end: target >= end };
        if job.seek.action == SeekAction::DryRun {
            return Ok((sought, Durability::Memory));
        }
        if !forward {
            self.collect_deferred(job, target, end)?;
        }
        let channel = channel.unwrap_or_else(|| self.channel(key, &job.seek.channel));
        if forward {
            self.seek_forward(key, channel, target);
        } else {
            self.seek_back(key, channel, target, &mut job.again);
            if let Some(channel) = self.channels.get_mut(channel) {
                channel.message_count += messages.1;
            }
        }
        Ok((sought, self.stands_anew(key, channel)))
    }

    /// Where a seek leads, and whether what was asked for is older than what there is.
    fn seek_target(&mut self, job: &mut Job, end: u64) -> Result<(u64, bool), Pause> {
        let Some(topic) = self.topics.get(job.topic) else { return Err(Pause::Later) };
        let earliest = topic.log.earliest().unwrap_or(end).min(end);
        let since = match job.seek.to {
            Target::Earliest => return Ok((earliest, false)),
            Target::Latest => return Ok((end, false)),
            Target::Message(sequence) if sequence >= topic.head => {
                let text = "is the id of a message that this topic has not had yet";
                let parameter = job.seek.action.parameter();
                let problem = Problem { parameter, text: String::from(text) };
                return Err(Pause::Done(Reply::Unacceptable(problem)));
            }
            Target::Message(sequence) => {
                return Ok((sequence.clamp(earliest, end), sequence < earliest));
            }
            Target::Time(time_ns) => self.seek_time(job, time_ns)?,
        };
        let begins = self.topics.get(job.topic).and_then(|topic| {
            let first = topic.log.numbered(topic.log.first_number())?;
            Some(first.since_ns)
        });
        let Target::Time(time_ns) = job.seek.to else { return Err(Pause::Later) };
        let clamped = begins.is_some_and(|begins| time_ns < begins);
        Ok((since.clamp(earliest, end), clamped))
    }

    fn seek_time(&mut self, job: &mut Job, time_ns: i64) -> Result<u64, Pause> {
        loop {
            if let Some(since) = job.since {
                return Ok(since);
            }
            let Some(topic) = self.topics.get(job.topic) else { return Err(Pause::Later) };
            match topic.log.since(time_ns) {
                Since::At(sequence) => job.since = Some(sequence),
                Since::Untold(first) => {
                    if !self.glance(job.topic, first) {
                        job.reading = self.read_segment(job.topic, first, false);
                        return Err(Pause::Later);
                    }
                }
                Since::Cold(first) => {
                    job.reading = self.read_segment(job.topic, first, true);
                    return Err(Pause::Later);
                }
            }
        }
    }

    /// Sees in memory when a segment begins. False when it is not there.
    fn glance(&mut self, key: Key, first: u64) -> bool {
        let Some(topic) = self.topics.get_mut(key) else { return false };
        let Some(segment) = topic.log.by_first(first) else { return false };
        let Some(run) = segment.bytes() else { return false };
        let since_ns = record::glance(run).map(|(_, since_ns)| since_ns);
        topic.log.tell_since(first, since_ns);
        true
    }

    /// For retention it has to be known when a segment begins.
    pub(super) fn ask_since(&mut self, key: Key, first: u64) {
        if self.glance(key, first) {
            return self.touch(key);
        }
        if self.seeks.glances.iter().any(|glance| glance.topic == key) {
            return;
        }
        let reading = match self.seeks.glances.len() < SEEKS_MAX {
            true => self.read_segment(key, first, false),
            false => None,
        };
        match reading {
            Some(reading) => self.seeks.glances.push(reading),
            None => {
                let later_ns = self.now.wall_ns + JOURNAL_RETRY_MS as i64 * 1_000_000;
                self.set_retention_alarm(key, later_ns);
            }
        }
    }

    /// Has a segment read that is not in memory, or its beginning. `None` when it is gone.
    fn read_segment(&mut self, topic: Key, first: u64, whole: bool) -> Option<Reading> {
        let segment = self.topics.get_mut(topic)?.log.by_first(first)?;
        let home = segment.home?;
        let bytes = if whole { home.bytes } else { home.bytes.min(SEEK_GLANCE_BYTES) };
        let ticket = self.tiers.next_ticket();
        self.space.requests.push_back(DiskRequest::Read { ticket, place: Place { bytes, ..home } });
        Some(Reading { ticket, topic, first, whole })
    }

    /// A segment was read, if it was for a seek or for retention.
    pub(super) fn seek_read(
        &mut self,
        ticket: u32,
        result: Result<PageBuffer, DiskError>,
    ) -> Option<Result<PageBuffer, DiskError>> {
        let glances = &mut self.seeks.glances;
        if let Some(index) = glances.iter().position(|glance| glance.ticket == ticket) {
            let Reading { topic, first, .. } = glances.swap_remove(index);
            self.begins(topic, first, result.ok().as_deref());
            self.touch(topic);
            return None;
        }
        let reads = |job: &Job| job.reading.is_some_and(|reading| reading.ticket == ticket);
        let Some(index) = self.seeks.jobs.iter().position(reads) else { return Some(result) };
        let mut job = self.seeks.jobs.swap_remove(index);
        let bytes = result.ok();
        match job.reading.take() {
            Some(Reading { topic, first, whole: false, .. }) => {
                self.begins(topic, first, bytes.as_deref());
            }
            Some(Reading { first, .. }) => self.seek_through(&mut job, first, bytes.as_deref()),
            None => {}
        }
        self.seeks.jobs.push(job);
        None
    }

    /// The beginning of a segment was read, or cannot be.
    fn begins(&mut self, key: Key, first: u64, bytes: Option<&[u8]>) {
        let found = bytes.and_then(record::glance).filter(|&(sequence, _)| sequence == first);
        if let Some(topic) = self.topics.get_mut(key) {
            topic.log.tell_since(first, found.map(|(_, since_ns)| since_ns));
        }
    }

    /// A whole segment was read, or cannot be. What is damaged is passed over.
    fn seek_through(&mut self, job: &mut Job, first: u64, bytes: Option<&[u8]>) {
        let Some(topic) = self.topics.get_mut(job.topic) else { return };
        let Some(segment) = topic.log.by_first(first) else { return };
        let (last, salt) = (segment.last, topic.log.salt);
        let ours = first..=last;
        let records = record::walk(bytes.unwrap_or_default(), salt).flatten();
        let mut records =
            records.map(|(_, found)| found).filter(|found| ours.contains(&found.sequence));
        if let (Target::Time(time_ns), None) = (job.seek.to, job.since) {
            // What cannot be read counts as younger: it rather comes again.
            let none = if bytes.is_some() { last + 1 } else { first };
            let found = records.find(|found| found.timestamp_ns >= time_ns);
            job.since = Some(found.map_or(none, |found| found.sequence));
            return;
        }
        let range = job.scanned..job.end;
        let deferred: Vec<Checked> = { records }
            .filter(|found| found.delay_ms > 0 && range.contains(&found.sequence))
            .collect();
        deferred.iter().for_each(|found| self.comes_again(&mut job.again, found));
        job.scanned = job.end.min(last + 1);
    }

    /// Notes the deferred messages from the target on.
    fn collect_deferred(&mut self, job: &mut Job, target: u64, end: u64) -> Result<(), Pause> {
        (job.scanned, job.end) = (job.scanned.max(target), end);
        for _ in 0..SEEK_SEGMENTS_PER_TURN {
            let Some(topic) = self.topics.get(job.topic) else { return Err(Pause::Later) };
            let from = topic.log.locate(job.scanned).segment;
            let segments = topic.log.segments_from(from).map(|(_, segment)| segment);
            let next = { segments }.find(|segment| segment.deferred && segment.last >= job.scanned);
            let Some(segment) = next.filter(|segment| segment.first < end && job.scanned < end)
            else {
                job.scanned = end;
                return Ok(());
            };
            let (first, last) = (segment.first, segment.last);
            let Some(run) = segment.bytes() else {
                job.reading = self.read_segment(job.topic, first, true);
                return Err(Pause::Later);
            };
            let range = job.scanned..end;
            let found = record::walk_trusted(run).map(|(_, found)| found);
            let deferred: Vec<Checked> = found
                .filter(|found| found.delay_ms > 0 && range.contains(&found.sequence))
                .collect();
            deferred.iter().for_each(|found| self.comes_again(&mut job.again, found));
            job.scanned = end.min(last + 1);
        }
        Err(Pause::Later)
    }

    /// A deferred message comes again: when its time comes, which may have been long ago.
    fn comes_again(&mut self, again: &mut Deferrals, found: &Checked) {
        let published_ns = u64::try_from(found.timestamp_ns).unwrap_or(0);
        let due_wall_ms = published_ns.div_ceil(1_000_000).saturating_add(found.delay_ms);
        let (now_ms, wall_ms) = (self.now.mono_ms, self.wall_ms());
        let due_ms = match due_wall_ms.checked_sub(wall_ms) {
            Some(wait_ms) if wait_ms > 0 => now_ms.saturating_add(wait_ms) + 1,
            _ => now_ms,
        };
        let entry = Entry { due_ms, sequence: found.sequence, attempts: 0 };
        again.insert(entry, self.options.deferred_fresh_max, &mut self.space.pool);
    }

    /// How many messages a seek means, at least and at most: those that come again, or those that
    /// are finished.
    fn count_sought(
        &mut self,
        topic: Key,
        channel: Option<Key>,
        (target, end): (u64, u64),
        forward: bool,
    ) -> (u64, u64) {
        let Some(topic) = self.topics.get_mut(topic) else { return (0, 0) };
        let channel = channel.and_then(|key| self.channels.get(key));
        match channel {
            Some(channel) if forward => {
                let count = channel.unfinished_below(target);
                (count, count)
            }
            Some(channel) => topic.log.count_between(target, channel.cursor),
            None => topic.log.count_between(target, end),
        }
    }

    /// Everything before the target is finished.
    fn seek_forward(&mut self, topic_key: Key, key: Key, target: u64) {
        if let Some(last) = target.checked_sub(1) {
            self.drop_outstanding(key, Range { first: 0, last });
        }
        let Some(topic) = self.topics.get(topic_key) else { return };
        let Some(channel) = self.channels.get_mut(key) else { return };
        channel.not_waiting -= channel.take_skips_below(target);
        channel.cursor = target;
        channel.at = topic.place_of(target);
    }

    /// Everything from the target on comes as if it were new.
    fn seek_back(&mut self, topic_key: Key, key: Key, target: u64, again: &mut Deferrals) {
        let handed = self.topics.get(topic_key).map_or(target, |topic| topic.handed);
        if target < handed {
            self.drop_outstanding(key, Range { first: target, last: handed - 1 });
        }
        let Shard { topics, channels, space, wheel, .. } = self;
        let Some(topic) = topics.get_mut(topic_key) else { return };
        let Some(channel) = channels.get_mut(key) else { return };
        // Some of what was to come again may be let go meanwhile.
        if let Some(last) = target.checked_sub(1) {
            again.remove_range(Range { first: 0, last });
        }
        channel.cursor = target;
        channel.at = topic.place_of(target);
        channel.skips.clear();
        channel.not_waiting = 0;
        let from = topic.log.earliest().unwrap_or(handed);
        for hole in topic.holes.iter().filter(|hole| hole.last >= target.max(from)) {
            let to = (hole.last + 1).min(handed);
            channel.skip_rest(hole.first, to, |to| topic.log.locate(to));
        }
        topic.log.pin_all(again.members(), 1);
        channel.not_waiting += again.members().len();
        let fresh_max = self.options.deferred_fresh_max;
        channel.outstanding.published.adopt(again, 0, fresh_max, &mut space.pool);
        topic.low = topic.low.min(channel.at.segment);
        channel.settle_charge(&mut space.pool);
        channel.set_alarm(key, wheel, space);
    }

    /// A channel stands elsewhere: that is written down. What an answer to that promises.
    fn stands_anew(&mut self, topic_key: Key, key: Key) -> Durability {
        self.note_topic_state(topic_key);
        self.note_channel_state(key);
        self.mark(key);
        self.touch(topic_key);
        let durability = self.topics.get(topic_key).map(|topic| topic.durability);
        let journaled = self.channels.get(key).is_some_and(|channel| channel.journaled);
        durability.filter(|_| journaled).unwrap_or(Durability::Memory)
    }
}

fn exists() -> Reply {
    let text = "is for a new channel, and this one exists: use /channel/seek";
    Reply::Unacceptable(Problem { parameter: "from", text: String::from(text) })
}

impl Channel {
    /// Messages before this one that it has not finished.
    fn unfinished_below(&self, target: u64) -> u64 {
        let Some(last) = target.checked_sub(1) else { return 0 };
        let (mut all, mut ahead) = (0, 0);
        self.outstanding.each(|sequence, _, _| {
            all += u64::from(sequence < target);
            ahead += u64::from((self.cursor..target).contains(&sequence));
        });
        let kept = self.outstanding.kept();
        all += kept.count(Range { first: 0, last });
        if target <= self.cursor {
            return all;
        }
        ahead += kept.count(Range { first: self.cursor, last });
        let skips = self
            .skips
            .values()
            .map(|skip| skip.to.min(target).saturating_sub(skip.from.max(self.cursor)));
        let passed = skips.sum::<u64>() + ahead;
        all + (target - self.cursor).saturating_sub(passed)
    }

    /// Forgets what it skips before this message. How many sequence numbers that were.
    fn take_skips_below(&mut self, target: u64) -> u64 {
        let mut taken = 0;
        while let Some(skip) = self.skips.first_entry().filter(|skip| *skip.key() < target) {
            let skip = skip.remove();
            taken += skip.to.min(target) - skip.from;
            if skip.to > target {
                self.skips.insert(target, crate::channel::Skip { from: target, ..skip });
            }
        }
        taken
    }
}

impl Topic {
    /// The place of a message of the channels, or of the first one behind it.
    fn place_of(&self, sequence: u64) -> Position {
        if sequence >= self.handed { self.handed_at } else { self.log.locate(sequence) }
    }
}
