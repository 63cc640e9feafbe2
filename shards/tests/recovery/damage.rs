//! A small log of a journal and a store, cut everywhere, and with each of its bits flipped.

use std::collections::BTreeSet;

use shards::journal::file::FILE_HEADER_BYTES;
use shards::wire::names::Name;

use super::view::{Truth, between, recovered, view};
use super::world::{World, channel_name, topic_name};

const EVERYTHING: usize = usize::MAX;

/// What was true when the files were so long.
struct Point {
    journal: usize,
    store: usize,
    truth: Truth,
}

/// A little of everything. The oldest journal is gone: the store has what is left of it. Also
/// answers what was true after each append.
fn world() -> (World, Vec<Point>) {
    let mut world = World::new(1);
    let [flowing, paused, anew] = [0, 1, 2].map(topic_name);
    let [first, second] = [0, 1].map(channel_name);
    world.create_channel(flowing, first);
    world.publish(flowing, &[(3, 0), (5, 60_000), (0, 0), (9, 0)]);
    world.publish(paused, &[(4, 0), (4, 0)]);
    world.publish(anew, &[(1, 0)]);
    world.deliver(flowing, first, 2);
    world.finish(flowing, first, 2);
    world.roll(0);
    world.drop_oldest(0);

    let mut points = Vec::new();
    let mut note = |world: &World| {
        let [journal, store] = [world.journals[0], world.store];
        let length = |file| world.disk.files[&file].bytes.len();
        points.push(Point { journal: length(journal), store: length(store), truth: world.truth() });
    };
    note(&world);
    let mut then = |step: &dyn Fn(&mut World)| {
        step(&mut world);
        note(&world);
    };
    then(&|world| world.create_channel(flowing, second));
    then(&|world| world.publish(flowing, &[(7, 0), (0, 0), (30, 5_000)]));
    then(&|world| world.publish(flowing, &[(12, 0)]));
    then(&|world| world.deliver(flowing, second, 3));
    then(&|world| world.finish(flowing, second, 2));
    then(&|world| world.requeue(flowing, second, 1, 9_000));
    then(&|world| world.create_channel(paused, first));
    then(&|world| world.pause(paused));
    then(&|world| world.publish(paused, &[(2, 0), (2, 0)]));
    then(&|world| world.delete_topic(anew));
    then(&|world| world.publish(anew, &[(6, 0)]));
    then(&|world| world.snapshot(flowing));
    then(&|world| world.store(flowing, |of, sequence| of.wants(sequence)));
    then(&|world| world.delete_channel(flowing, first));
    (world, points)
}

/// Everybody's messages, by whom they wait for: a topic without channels stands for itself.
fn wanted(truth: &Truth) -> BTreeSet<(Name, Option<Name>, u64)> {
    let mut wanted = BTreeSet::new();
    for (&topic, of) in truth {
        wanted.extend(of.own.iter().map(|&sequence| (topic, None, sequence)));
        for (&channel, messages) in &of.channels {
            wanted.extend(messages.keys().map(|&sequence| (topic, Some(channel), sequence)));
        }
    }
    wanted
}

/// The messages that are not found where they were, nor wait in their topic, nor, if they waited
/// there, in its channels.
fn lost(found: &Truth, expected: &Truth) -> BTreeSet<(Name, u64)> {
    let found = wanted(found);
    let missing = wanted(expected).into_iter().filter(|&(topic, channel, sequence)| {
        let elsewhere = found.iter().any(|&(of, by, number)| {
            (of, number) == (topic, sequence) && (channel.is_none() || by.is_none())
        });
        !found.contains(&(topic, channel, sequence)) && !elsewhere
    });
    missing.map(|(topic, _, sequence)| (topic, sequence)).collect()
}

#[test]
fn a_flipped_bit_costs_one_message_at_most() {
    let (world, _) = world();
    let (expected, metadata) = (world.truth(), world.metadata());
    let numbers: Vec<u32> = world.disk.files.keys().copied().collect();
    assert_eq!(numbers.len(), 2);
    let mut costs = [0; 2];
    for number in numbers {
        for bit in FILE_HEADER_BYTES * 8..world.disk.files[&number].bytes.len() * 8 {
            let mut disk = world.disk.clone();
            disk.files.get_mut(&number).unwrap().bytes[bit / 8] ^= 1 << (bit % 8);
            let found = recovered(&mut disk, &metadata, EVERYTHING);
            let lost = lost(&view(&disk, &found), &expected);
            assert!(lost.len() <= 1, "bit {bit} of file {number} costs {lost:?}");
            costs[lost.len()] += 1;
            world.check_genuine(&disk, &found);
        }
    }
    assert!(costs[0] > costs[1] && costs[1] > 0, "most of it is there twice, but not all");
}

#[test]
fn a_cut_costs_what_is_cut_off() {
    let (world, points) = world();
    let metadata = world.metadata();
    let journal = world.journals[0];
    let last = &points[points.len() - 1];
    for length in points[0].journal..=last.journal {
        let at = points.partition_point(|point| point.journal <= length);
        let (before, after) = (&points[at - 1], points.get(at).unwrap_or(last));
        let mut disk = world.disk.clone();
        disk.files.get_mut(&journal).unwrap().bytes.truncate(length);

        // The store knows what the journal has lost.
        let mut with_store = disk.clone();
        let found = recovered(&mut with_store, &metadata, EVERYTHING);
        let seen = view(&with_store, &found);
        let always = lost(&seen, &before.truth);
        assert!(always.is_disjoint(&lost(&seen, &after.truth)), "{length} costs {always:?}");
        world.check_genuine(&with_store, &found);

        // Neither does.
        disk.files.get_mut(&world.store).unwrap().bytes.truncate(before.store);
        let found = recovered(&mut disk, &[], EVERYTHING);
        between(&view(&disk, &found), &before.truth, &after.truth);
    }
}

#[test]
fn a_cut_store_costs_what_the_journal_lacks() {
    let (world, points) = world();
    let (expected, metadata) = (world.truth(), world.metadata());
    let only_stored: BTreeSet<(Name, u64)> = world
        .topics
        .iter()
        .flat_map(|(&name, topic)| topic.files.iter().map(move |file| (name, file)))
        .filter(|(_, (_, files))| files.iter().all(|&file| file == world.store))
        .map(|(name, (&sequence, _))| (name, sequence))
        .collect();
    assert!(!only_stored.is_empty());
    for length in FILE_HEADER_BYTES..=points[points.len() - 1].store {
        let mut disk = world.disk.clone();
        disk.files.get_mut(&world.store).unwrap().bytes.truncate(length);
        let found = recovered(&mut disk, &metadata, EVERYTHING);
        let seen = view(&disk, &found);
        let lost = lost(&seen, &expected);
        assert!(lost.is_subset(&only_stored), "{length} costs {lost:?}");
        assert!(length < points[0].store || lost.is_empty());
        world.check_genuine(&disk, &found);
    }
}
