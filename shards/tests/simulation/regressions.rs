//! Mistakes that were made, each under the name of what happened.

use shards::disk::Role;
use shards::limits::{Durability, Options};
use shards::request::{ChannelAction, Request, TopicAction};

use super::log;
use super::seeds::live;
use super::world::disk::DiskSettings;
use super::world::wire::{Command, Frame, identify};
use super::world::{End, Settings, World, name};

fn world(settings: Settings) -> World {
    World::new(1, settings)
}

/// A consumer of the first topic's first channel with this RDY.
fn consumer(world: &mut World, ready: u64) -> usize {
    let index = world.connect();
    world.subscribe(index, 0, 0);
    world.set_ready(index, ready);
    world.quiesce();
    index
}

/// Finishes everything that a consumer has; how many it were.
pub fn finish_all(world: &mut World, index: usize) -> usize {
    world.quiesce();
    let count = send_finishes(world, index);
    world.check();
    count
}

/// Has FINs for everything that a consumer has on the way.
fn send_finishes(world: &mut World, index: usize) -> usize {
    let frames = std::mem::take(&mut world.connections[index].frames);
    let ids: Vec<_> = frames
        .into_iter()
        .filter_map(|frame| match frame {
            Frame::Message(message) => Some(message.id),
            _ => None,
        })
        .collect();
    for id in &ids {
        let line = [b"FIN ", &id[..], b"\n"].concat();
        world.write(index, &line, Some(Command::Finish(*id)));
    }
    ids.len()
}

fn memory_bytes(world: &mut World) -> u64 {
    world.stats().iter().map(|stats| stats.gauges.memory_bytes).sum()
}

fn topic_action(world: &mut World, action: TopicAction) {
    let topic = world.settings.topics[0].to_owned();
    world.ask_owner(0, Request::Topic(topic, action));
    world.check();
}

#[test]
fn a_topic_of_deferred_messages_only_gives_its_memory_back() {
    let mut world = world(Settings::default());
    let (producer, consumer) = (world.connect(), consumer(&mut world, 100));
    for _ in 0..20 {
        world.publish(producer, 0, 50, &[100]);
    }
    world.check();
    world.advance(60);
    assert_eq!(finish_all(&mut world, consumer), 20);
    assert_eq!(memory_bytes(&mut world), 0);
    world.judge(1);
}

#[test]
fn a_topic_emptied_behind_a_slow_channel_gives_its_memory_back() {
    let mut world = world(Settings::default());
    let (producer, consumer) = (world.connect(), consumer(&mut world, 0));
    world.publish(producer, 0, 0, &[100, 100]);
    world.check();
    topic_action(&mut world, TopicAction::Pause);
    world.publish(producer, 0, 0, &[100, 100, 100]);
    world.check();
    topic_action(&mut world, TopicAction::Empty);
    topic_action(&mut world, TopicAction::Unpause);
    world.set_ready(consumer, 10);
    assert_eq!(finish_all(&mut world, consumer), 2);
    assert_eq!(memory_bytes(&mut world), 0);
    world.judge(1);
}

#[test]
fn what_a_paused_ephemeral_topic_drops_is_not_its_channels() {
    let options = Options { mem_queue_size: 3, ..Options::default() };
    let topics = vec!["e#ephemeral"];
    let mut world = world(Settings { options, topics, ..Settings::default() });
    let (producer, consumer) = (world.connect(), consumer(&mut world, 100));
    topic_action(&mut world, TopicAction::Pause);
    for delay_ms in [0, 5, 0, 5, 0, 0, 5, 0] {
        world.publish(producer, 0, delay_ms, &[50]);
        world.check();
    }
    topic_action(&mut world, TopicAction::Unpause);
    world.advance(10);
    assert_eq!(finish_all(&mut world, consumer), 3);
    assert_eq!(memory_bytes(&mut world), 0);
    world.judge(1);
}

#[test]
fn a_consumer_of_a_sample_takes_nothing_while_it_is_not_ready() {
    let mut world = world(Settings { shards: 1, ..Settings::default() });
    let (producer, consumer) = (world.connect(), world.connect());
    let json = "{\"sample_rate\":1}";
    let command = Command::Identify { msg_timeout_ms: 300, sample_rate: 1 };
    world.write(consumer, &identify(json), Some(command));
    world.subscribe(consumer, 0, 0);
    world.quiesce();
    world.publish(producer, 0, 0, &[10; 50]);
    world.check();
    for _ in 0..40 {
        // One read, one turn: it was ready only in between.
        world.set_ready(consumer, 1);
        world.set_ready(consumer, 0);
        world.check();
    }
    let stats = world.stats();
    assert_eq!(stats[0].topics[0].channels[0].depth, 50);
    let request = Request::Channel(name("t0"), name("c0"), ChannelAction::Delete);
    world.ask_owner(0, request);
    world.check();
    world.judge(1);
}

#[test]
fn a_topic_made_again_after_the_clock_went_back_has_new_ids() {
    let mut world = world(Settings::default());
    let mut ids = std::collections::BTreeSet::new();
    for _ in 0..3 {
        let (producer, consumer) = (world.connect(), consumer(&mut world, 10));
        world.publish(producer, 0, 0, &[10; 5]);
        world.quiesce();
        let frames = std::mem::take(&mut world.connections[consumer].frames);
        ids.extend(frames.into_iter().filter_map(|frame| match frame {
            Frame::Message(message) => Some(message.id),
            _ => None,
        }));
        topic_action(&mut world, TopicAction::Delete);
        world.now.wall_ns -= 256;
    }
    assert_eq!(ids.len(), 15);
    world.judge(1);
}

#[test]
fn a_message_does_not_come_before_the_answer_to_sub() {
    let mut world = world(Settings::default());
    let elsewhere = (1..4).find(|&topic| world.owner(topic) != world.owner(0));
    let elsewhere = elsewhere.expect("four topics are not all on one of three shards");
    let index = world.connect();
    // All in one read: the second publish is not answered yet when SUB is carried out.
    world.publish(index, 0, 0, &[10]);
    world.publish(index, elsewhere, 0, &[10]);
    world.subscribe(index, 0, 0);
    world.set_ready(index, 1);
    world.check();
    world.judge(1);
    let frames = &world.connections[index].frames;
    let ok = || Frame::Response(b"OK".to_vec());
    assert_eq!(frames.iter().take(3).cloned().collect::<Vec<_>>(), [ok(), ok(), ok()]);
    assert!(matches!(frames.get(3), Some(Frame::Message(_))) && frames.len() == 4);
}

#[test]
fn what_is_written_over_a_misplaced_segment_is_found_after_a_restart() {
    for seed in [283, 1059, 1276, 1278] {
        live(seed, log::rotten_and_ending());
    }
}

#[test]
fn a_topic_waits_for_its_channels_again_when_two_power_cuts_undo_that_they_had_messages() {
    let settings = Settings { discovery: true, operators: 10, ..log::settings(Durability::Synced) };
    live(440, log::ending(settings, &[End::PowerCut, End::Kill, End::Stop]));
}

#[test]
fn a_misplaced_segment_at_the_end_of_a_file_hides_nothing() {
    for seed in [12, 74, 152] {
        live(seed, log::very_rotten_and_ending());
    }
}

#[test]
fn what_is_good_between_two_damaged_records_is_found_after_a_restart() {
    live(418, log::rotten_and_ending());
}

#[test]
fn a_write_that_is_misplaced_when_all_ends_excuses_what_it_hits() {
    for seed in [97, 99, 193, 460] {
        live(seed, log::rotten_and_ending());
    }
}

#[test]
fn what_an_operator_empties_right_after_a_start_stays_empty() {
    for seed in 0..20 {
        let mut world = World::new(seed, log::killed());
        let (producer, topic) = (world.connect(), 1);
        let index = world.connect();
        world.subscribe(index, topic, 0);
        world.publish(producer, topic, 0, &[10; 5]);
        world.check();
        world.restart(End::Kill, 1);
        let request = Request::Channel(name("t1"), name("c0"), ChannelAction::Empty);
        world.ask_owner(topic, request);
        // Perhaps before the first file of the journal is there.
        for _ in 0..3 {
            world.turn(1);
            world.turn(0);
        }
        world.restart(End::Kill, 1);
        world.check();
        world.judge(seed);
    }
}

/// A world without messages whose disk has begun to refuse everything, so that it lets its files
/// go; everything stands still after so many more operations.
fn idle_and_in_trouble(stops_in: u64) -> World {
    let disk = DiskSettings { space_bytes: Some(u64::MAX), ..DiskSettings::default() };
    let mut settings = Settings { disk: Some(disk), shards: 1, ..log::crowded_and_mixed() };
    settings.options.topic_durability = vec![(name("t0"), Durability::Written)];
    let mut world = World::new(7, settings);
    let (producer, index) = (world.connect(), consumer(&mut world, 0));
    // More than memory holds, so that some of it is in a store.
    for _ in 0..40 {
        world.publish(producer, 0, 0, &[50_000]);
        world.check();
    }
    world.set_ready(index, 100);
    assert_eq!(finish_all(&mut world, index), 40);
    assert!(world.folder.store_files() > 0, "there is a store");
    world.folder.settings.errors = 1000;
    world.publish(producer, 0, 0, &[100]);
    world.quiesce();
    world.folder.settings.stops_at = Some(world.folder.operations + stops_in);
    send_finishes(&mut world, index);
    for _ in 0..20 {
        world.turn(0);
    }
    world
}

#[test]
fn files_of_a_shard_without_messages_go_in_an_order_that_brings_nothing_back() {
    for stops_in in 1..12 {
        let mut world = idle_and_in_trouble(stops_in);
        let files = world.folder.files.len();
        println!("{stops_in}: {files} files are left, {}", world.folder.stands_still);
        world.folder.stands_still = false;
        world.folder.settings = DiskSettings::default();
        world.restart(End::Kill, 1);
        world.wind_up();
        let complaints = &world.ledger.complaints;
        assert!(complaints.is_empty(), "{files} files were left: {complaints:#?}");
    }
}

#[test]
fn what_is_finished_stays_so_while_other_shards_need_the_file_that_it_is_in() {
    let disk = DiskSettings { space_bytes: Some(u64::MAX), ..DiskSettings::default() };
    let mut settings = Settings { disk: Some(disk), shards: 2, ..log::crowded_and_mixed() };
    settings.options.topic_durability = Vec::new();
    let mut world = World::new(3, settings);
    let other = (1..4).find(|&topic| world.owner(topic) != world.owner(0));
    let other = other.expect("four topics are not all on one of two shards");
    let producer = world.connect();
    for topic in [0, other] {
        let index = world.connect();
        world.subscribe(index, topic, 0);
        world.publish(producer, topic, 0, &[100; 5]);
    }
    world.check();
    // Recovery puts small runs of all topics into one store.
    world.restart(End::Kill, 2);
    let (producer, index) = (world.connect(), consumer(&mut world, 100));
    assert_eq!(finish_all(&mut world, index), 5);
    world.folder.settings.errors = 1000;
    world.publish(producer, 0, 0, &[100]);
    world.quiesce();
    send_finishes(&mut world, index);
    for _ in 0..20 {
        world.turn(usize::from(world.owner(0)));
    }
    world.folder.settings = DiskSettings::default();
    world.restart(End::Kill, 2);
    world.wind_up();
    let complaints = &world.ledger.complaints;
    assert!(complaints.is_empty(), "{complaints:#?}");
}

/// Segments that were in a file of which nothing can be read are given up together.
#[test]
fn a_file_that_cannot_be_read_keeps_nobody_waiting_for_each_of_its_segments() {
    let disk = DiskSettings { space_bytes: Some(u64::MAX / 2), ..DiskSettings::default() };
    let mut settings = Settings { disk: Some(disk), shards: 1, ..log::crowded_and_mixed() };
    settings.options.topic_durability = vec![(name("t0"), Durability::Written)];
    settings.options.store_file_bytes = 64 << 20;
    let mut world = World::new(7, settings);
    let (producer, index) = (world.connect(), consumer(&mut world, 0));
    for _ in 0..200 {
        world.publish(producer, 0, 0, &[50_000]);
        world.check();
    }
    let stores = |world: &World| world.folder.store_files();
    assert_eq!(stores(&world), 1, "all is in one file");
    world.folder.settings.fails_at = Some((u64::MAX, false));
    world.folder.files.values_mut().for_each(|file| file.broken = file.header.role == Role::Store);
    world.set_ready(index, 100);
    let (began_ms, mut finished) = (world.now.mono_ms, 0);
    let waited_ms = |world: &World| world.now.mono_ms - began_ms;
    while world.stats()[0].topics[0].channels[0].depth > 0 && waited_ms(&world) < 100_000 {
        world.quiesce();
        finished += send_finishes(&mut world, index);
        world.quiesce();
        world.advance(200);
    }
    println!("{} ms, {finished} messages, {} reads", waited_ms(&world), world.folder.reads);
    assert!(finished < 100, "most of it was to be read");
    assert!(waited_ms(&world) < 15_000, "it took {} ms", waited_ms(&world));
}
