//! Random histories, cut off at a random byte: nothing that is not finished is lost, and nothing
//! that was finished before the cut comes back.

use proptest::prelude::*;

use shards::metadata::TopicMetadata;
use shards::recover::Recovered;

use super::disk::{Disk, File};
use super::view::{between, records, recovered, view};
use super::world::{World, channel_name, topic_name};

/// What happens next; the numbers say to whom and how much.
type Step = (u8, u8, u8, u16);

const EVERYTHING: usize = usize::MAX;

/// Does one step. Answers whether a crash may hit the middle of it.
fn step(world: &mut World, (kind, topic, channel, how): Step) -> bool {
    let (topic, channel) = (topic_name(topic), channel_name(channel));
    let (low, high) = (usize::from(how & 15), usize::from(how >> 8));
    match kind % 32 {
        0..=7 => {
            let long = if high.is_multiple_of(16) { 30_000 } else { high % 40 };
            let delay = |index: usize| u64::from(high % 5 == 1 && index.is_multiple_of(3)) * 60_000;
            let run: Vec<(usize, u64)> = (0..=low).map(|index| (long, delay(index))).collect();
            world.publish(topic, &run);
        }
        8..=11 => world.deliver(topic, channel, low + 1),
        12..=15 => world.finish(topic, channel, 1 + high % 3),
        16 | 17 => world.requeue(topic, channel, 1 + high % 3, u64::from(how & 1) * 5_000),
        18 => world.deliver_again(topic, channel, 1 + high % 3),
        19 | 20 => world.create_channel(topic, channel),
        21 if how & 3 == 0 => world.delete_channel(topic, channel),
        22 if how & 3 == 0 => world.delete_topic(topic),
        23 => world.pause(topic),
        24 if how & 1 == 0 => world.empty_topic(topic),
        24 => world.empty_channel(topic, channel),
        25 => world.snapshot(topic),
        26 => {
            let of = world.topics.get(&topic).map(|topic| topic.head).unwrap_or_default();
            let (from, sparse) = (of.saturating_sub(high as u64), how & 1 == 1);
            world.store(topic, |of, sequence| {
                (from..=from + 4 * low as u64).contains(&sequence)
                    && (!sparse || of.wants(sequence))
            });
        }
        27 => {
            let shard = world.shard_of(&topic);
            world.roll(shard);
        }
        28 => {
            let shard = world.shard_of(&topic);
            world.drop_oldest(shard);
            return false;
        }
        29 => {
            world.drop_useless();
            return false;
        }
        30 => {
            restart(world, 1 + low % 3, high);
            return false;
        }
        _ => {}
    }
    true
}

/// Stops without a crash, or with one between two turns, and starts again.
fn restart(world: &mut World, shards: usize, how: usize) {
    let metadata = if how.is_multiple_of(3) { Vec::new() } else { world.metadata() };
    world.disk.generation += 1;
    if how.is_multiple_of(4) {
        // A recovery that is cut off: what it wrote stays behind.
        recovered(&mut world.disk, &metadata, how % 5);
        world.disk.generation += 1;
    }
    let room = if how.is_multiple_of(7) { how % 3 } else { EVERYTHING };
    let found = recovered(&mut world.disk, &metadata, room);
    let mut expected = world.truth();
    if metadata.is_empty() && world.disk.generation > 2 {
        // Topics that only an earlier start knew of are in the metadata by then.
        assert_eq!(found.topics.len(), expected.len());
    }
    assert_eq!(view(&world.disk, &found), expected);
    undamaged(&world.disk, &found);
    world.restart(&found, shards);
    expected.retain(|name, _| world.topics.contains_key(name));
    assert_eq!(world.truth(), expected);
}

/// Nothing is damaged here: segments have what they say, and no message was missed.
fn undamaged(disk: &Disk, found: &Recovered) {
    assert_eq!((found.report.records_lost, found.report.outstanding_lost), (0, 0));
    for topic in &found.topics {
        let count: u64 = topic.segments.iter().map(|segment| u64::from(segment.count)).sum();
        let records = records(disk, topic);
        assert_eq!(records.len() as u64, count);
        let first = topic.segments.first().map_or(topic.state.head, |segment| segment.first);
        let holes: u64 = topic.holes.iter().map(|hole| hole.last - hole.first + 1).sum();
        assert_eq!(count + holes, topic.state.head - first, "what is no message is a hole");
    }
}

/// Cuts what the last step wrote, and leaves what a reused file has behind its end.
fn cut(world: &mut World, before: &Disk, part: u16, rest: u16) {
    for (number, file) in &mut world.disk.files {
        let from = before.files.get(number).map_or(file.bytes.len(), |file| file.bytes.len());
        let written = file.bytes.len() - from;
        let kept = from + written * usize::from(part) / usize::from(u16::MAX);
        if kept < file.bytes.len() {
            // Of another file: one that is used again has another nonce.
            let others = before.files.iter().filter(|(other, _)| *other != number);
            let old: Vec<u8> = others.flat_map(|(_, file)| file.bytes[4096..].to_vec()).collect();
            leave_behind(file, kept, rest, &old);
        }
    }
}

fn leave_behind(file: &mut File, kept: usize, rest: u16, old: &[u8]) {
    file.bytes.truncate(kept);
    match rest % 3 {
        0 => {}
        1 => file.bytes.resize(kept + usize::from(rest), 0),
        _ => file.bytes.extend(old.iter().take(usize::from(rest))),
    }
}

proptest! {
    #[test]
    fn nothing_is_lost_and_nothing_comes_back(
        steps in prop::collection::vec(any::<Step>(), 1..150),
        (part, rest, lag, room) in any::<(u16, u16, u8, u8)>(),
    ) {
        let mut world = World::new(2);
        let (last, steps) = steps.split_last().unwrap();
        for &next in steps {
            step(&mut world, next);
        }
        let (before, known) = (world.clone(), world.metadata());
        let torn = step(&mut world, *last);
        if torn {
            cut(&mut world, &before.disk, part, rest);
        }
        // The metadata are written behind the journal.
        let metadata: Vec<TopicMetadata> = match lag {
            lag if lag.is_multiple_of(3) => Vec::new(),
            _ if torn => known,
            _ => world.metadata(),
        };
        let room = if room < 200 { EVERYTHING } else { usize::from(room % 4) };
        let mut disk = world.disk.clone();
        disk.generation += 1;
        let found = recovered(&mut disk, &metadata, room);
        let seen = view(&disk, &found);
        between(&seen, &before.truth(), &world.truth());
        world.check_genuine(&disk, &found);

        // Once more, with what the first left behind; and with only half of that.
        for left in [EVERYTHING, usize::from(part) % 4] {
            let mut again = world.disk.clone();
            again.generation += 1;
            recovered(&mut again, &metadata, left);
            again.generation += 1;
            let found = recovered(&mut again, &metadata, EVERYTHING);
            prop_assert_eq!(&view(&again, &found), &seen);
            world.check_genuine(&again, &found);
        }
    }
}
