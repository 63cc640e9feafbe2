//! What consumers would get from what was recovered, and whether it fits together.

use std::collections::{BTreeMap, BTreeSet};

use shards::journal::state::{ChannelState, Range};
use shards::log::record::{self, Salt};
use shards::metadata::TopicMetadata;
use shards::recover::{Recovered, RecoveredTopic, recover};
use shards::wire::names::Name;

use super::disk::{Disk, Sink};

/// For each topic what waits in it, and what its channels will deliver.
pub type Truth = BTreeMap<Name, TopicTruth>;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicTruth {
    /// Messages that no channel has been given.
    pub own: BTreeSet<u64>,
    /// Messages of each channel that are not finished: attempts and due time.
    pub channels: BTreeMap<Name, BTreeMap<u64, (u16, u64)>>,
}

/// Recovers from a folder; blocks are written into it.
pub fn recovered(disk: &mut Disk, metadata: &[TopicMetadata], room: usize) -> Recovered {
    let files = disk.log_files();
    let mut progress = (0, 0);
    let found = recover(metadata, &files, &mut Sink::new(disk, room), &mut |done, of| {
        assert!(done >= progress.0 && of >= progress.1 && done <= of, "progress goes on");
        progress = (done, of);
    });
    assert_eq!(progress.0, progress.1, "progress comes to an end");
    found
}

/// The records of a topic by sequence, as read from its segments.
pub fn records(disk: &Disk, topic: &RecoveredTopic) -> BTreeMap<u64, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut end = None;
    for segment in &topic.segments {
        assert!(segment.first <= segment.last && end < Some(segment.first), "sorted, apart");
        end = Some(segment.last);
        let bytes = disk.read(segment.place);
        let mut count = 0;
        for (at, record) in record::walk(bytes, Salt::of(&topic.name)).filter_map(Result::ok) {
            if (segment.first..=segment.last).contains(&record.sequence) {
                count += 1;
                assert!(segment.deferred || record.delay_ms == 0, "deferred ones are announced");
                let whole = bytes[at as usize..][..record.bytes].to_vec();
                assert!(found.insert(record.sequence, whole).is_none(), "each message once");
            }
        }
        assert!(count <= segment.count, "a segment has no more than it says");
    }
    found
}

/// What both want is found; what neither wants is not.
pub fn between(found: &Truth, before: &Truth, after: &Truth) {
    let (none, empty) = (Default::default(), BTreeMap::new());
    let names: BTreeSet<_> = found.keys().chain(before.keys()).chain(after.keys()).collect();
    for name in names {
        let [found, before, after] =
            [found, before, after].map(|truth| truth.get(name).unwrap_or(&none));
        for sequence in before.own.intersection(&after.own) {
            assert!(found.own.contains(sequence), "{name} lost {sequence}");
        }
        for sequence in &found.own {
            assert!(before.own.contains(sequence) || after.own.contains(sequence));
        }
        for (channel, expected) in &after.channels {
            let was = before.channels.get(channel).unwrap_or(&empty);
            let is = found.channels.get(channel).unwrap_or(&empty);
            for (sequence, state) in expected {
                let known = was.get(sequence);
                if known.is_none() && !before.own.contains(sequence) {
                    continue;
                }
                match is.get(sequence) {
                    None => assert!(found.own.contains(sequence), "{channel} lost {sequence}"),
                    Some(got) => assert!(got == state || Some(got) == known || known.is_none()),
                }
            }
        }
        for (channel, got) in &found.channels {
            let was = before.channels.get(channel).unwrap_or(&empty);
            let will = after.channels.get(channel).unwrap_or(&empty);
            for sequence in got.keys() {
                // Of a topic that is emptied in the torn append, channels may get what waited.
                let wanted = was.contains_key(sequence) || will.contains_key(sequence);
                let waited = before.own.contains(sequence);
                assert!(wanted || waited, "{channel} has {sequence} again");
            }
        }
    }
}

/// What would be delivered. Checks on the way what recovery promises of its result.
pub fn view(disk: &Disk, found: &Recovered) -> Truth {
    let topics = found.topics.iter();
    topics.map(|topic| (topic.name, topic_view(disk, topic, found.sequence_floor))).collect()
}

fn topic_view(disk: &Disk, topic: &RecoveredTopic, floor: u64) -> TopicTruth {
    let records = records(disk, topic);
    let holes: BTreeSet<u64> = numbers(&topic.holes).collect();
    let first = topic.segments.first().map_or(topic.state.head, |segment| segment.first);
    for sequence in first..topic.state.head {
        let there = records.contains_key(&sequence);
        // A record of a block that was not read may turn out to be damaged.
        assert!(!(there && holes.contains(&sequence)), "{sequence} is a hole and there");
    }
    assert!(holes.iter().all(|hole| (first..topic.state.head).contains(hole)));
    assert!(topic.state.head <= floor, "no number is given twice");
    let limit = topic.state.handed.unwrap_or(topic.state.head);
    assert!(limit <= topic.state.head);
    let there =
        |range: std::ops::Range<u64>| records.keys().copied().filter(move |s| range.contains(s));
    TopicTruth {
        own: there(limit..u64::MAX).collect(),
        channels: topic
            .channels
            .iter()
            .map(|(name, state)| (*name, channel_view(&records, topic, state, limit)))
            .collect(),
    }
}

fn channel_view(
    records: &BTreeMap<u64, Vec<u8>>,
    topic: &RecoveredTopic,
    state: &ChannelState,
    limit: u64,
) -> BTreeMap<u64, (u16, u64)> {
    assert!(state.cursor <= limit, "a cursor is within what was handed over");
    assert!(state.outstanding.is_sorted_by(|a, b| a.sequence < b.sequence));
    assert!(state.skips.is_sorted_by(|a, b| a.last < b.first));
    let skipped: BTreeSet<u64> = numbers(&state.skips).collect();
    assert!(skipped.iter().all(|skip| (state.cursor..limit).contains(skip)));
    let mut waiting = BTreeMap::new();
    for message in &state.outstanding {
        let (sequence, ahead) = (message.sequence, message.sequence >= state.cursor);
        assert!(sequence < limit && !skipped.contains(&sequence));
        assert!(!ahead || message.due_ms > 0, "ahead of the cursor only deferred ones");
        // Due one millisecond after 1970 is how a message ahead of the cursor is due at once.
        let due_ms = if ahead && message.due_ms == 1 { 0 } else { message.due_ms };
        if records.contains_key(&sequence) {
            waiting.insert(sequence, (message.attempts, due_ms));
        }
    }
    let dues: BTreeMap<u64, u64> = topic.dues.range(0..u64::MAX).collect();
    for sequence in state.kept.from(0) {
        assert!(sequence < limit && !skipped.contains(&sequence));
        if records.contains_key(&sequence) {
            let before = waiting.insert(sequence, (0, dues[&sequence]));
            assert_eq!(before, None, "a message is outstanding once");
        }
    }
    for (&sequence, record) in records.range(state.cursor..limit.max(state.cursor)) {
        if !skipped.contains(&sequence) && !waiting.contains_key(&sequence) {
            assert_eq!(record[4], 1, "a deferred message is kept back");
            waiting.insert(sequence, (0, 0));
        }
    }
    waiting
}

fn numbers(ranges: &[Range]) -> impl Iterator<Item = u64> {
    ranges.iter().flat_map(|range| range.first..=range.last)
}
