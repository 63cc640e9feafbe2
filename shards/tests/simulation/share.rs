//! Somebody floods a disk that takes less than is published, or has filled it: the others go on.

use shards::limits::{Durability, Options};

use super::log;
use super::regressions::finish_all;
use super::world::disk::DiskSettings;
use super::world::{Settings, World};

/// What the disk takes in a turn.
const PACE_BYTES: usize = 16 << 10;
const FILE_BYTES: u32 = 1 << 20;
const MODEST: usize = 9;
const TURNS: u64 = 2000;
/// A modest publisher publishes so many turns after the last answer.
const PAUSE_TURNS: u64 = 8;
/// Half of a journal's file at the disk's pace. Where room goes to whoever comes first, it takes
/// three to six times as long until everybody had some, and those here publish a sixth as much.
const HALF_A_FILE_TURNS: u64 = FILE_BYTES as u64 / 2 / PACE_BYTES as u64;

fn settings(durability: Durability) -> Settings {
    let disk = DiskSettings { pace_bytes: Some(PACE_BYTES), ..DiskSettings::default() };
    let base = log::settings(durability);
    let options = Options {
        memory_limit_bytes: 64 << 20,
        journal_file_bytes: FILE_BYTES,
        store_file_bytes: 8 << 20,
        ..base.options
    };
    let topics = vec!["t0", "t1", "t2", "t3"];
    Settings { shards: 1, options, topics, disk: Some(disk), jumps: false, ..base }
}

/// How many turns modest publishers waited for an answer: most, and all together. `topic_of` says
/// where they publish; the flood is on the first topic.
fn waits(settings: Settings, topic_of: impl Fn(usize) -> usize) -> (u64, u64, World) {
    let mut world = World::new(5, settings);
    let flood = world.connect();
    let modest: Vec<usize> = (0..MODEST).map(|_| world.connect()).collect();
    // Since when it waits for an answer, or until when it does nothing.
    let mut since = [0; MODEST];
    let mut waits = [false; MODEST];
    let (mut most, mut published) = (0, 0);
    for turn in 0..TURNS {
        world.advance(1);
        if world.connections[flood].to_server.is_empty() {
            (0..20).for_each(|_| world.publish(flood, 0, 0, &[20_000]));
        }
        for (at, &index) in modest.iter().enumerate() {
            if waits[at] && world.connections[index].frames.pop_front().is_some() {
                most = most.max(turn - since[at]);
                (waits[at], since[at]) = (false, turn + PAUSE_TURNS);
            }
            if !waits[at] && since[at] <= turn {
                world.publish(index, topic_of(at), 0, &[100]);
                (waits[at], since[at]) = (true, turn);
                published += 1;
            }
        }
        world.turn(0);
        world.turn(1);
    }
    let still = waits.iter().zip(&since).filter(|(waits, _)| **waits);
    let longest = still.map(|(_, since)| TURNS - since).max().unwrap_or(0);
    (most.max(longest), published, world)
}

fn check(settings: Settings, topic_of: impl Fn(usize) -> usize) {
    let (most, published, mut world) = waits(settings, topic_of);
    let checkpoints = world.stats()[0].gauges.checkpoints;
    println!("{most} turns at most, {published} published, {checkpoints} checkpoints");
    assert!(checkpoints > 20, "the journal was full all the time");
    assert!(most < HALF_A_FILE_TURNS, "somebody waited for {most} turns");
    assert!(published > MODEST as u64 * TURNS / (2 * PAUSE_TURNS), "they go on");
    world.folder.settings.pace_bytes = None;
    world.wind_up();
    world.judge(5);
}

#[test]
fn a_flood_leaves_room_for_other_topics() {
    check(settings(Durability::Written), |at| 1 + at % 3);
    check(settings(Durability::Synced), |at| 1 + at % 3);
}

#[test]
fn a_flood_leaves_room_for_others_on_its_topic() {
    check(settings(Durability::Written), |_| 0);
}

/// What is published and finished at once, until a shard has so many journal files.
fn fill(world: &mut World, (producer, index): (usize, usize), topic: usize, files: u64) {
    let shard = usize::from(world.owner(topic));
    while world.stats()[shard].gauges.journal_files < files {
        world.publish(producer, topic, 0, &[4000]);
        world.check();
        finish_all(world, index);
    }
}

#[test]
fn a_shard_that_does_nothing_makes_room_on_a_disk_full_of_journals() {
    let disk =
        DiskSettings { space_bytes: Some(u64::MAX), stays_full: true, ..DiskSettings::default() };
    let base = log::settings(Durability::Written);
    let mut world = World::new(2, Settings { shards: 2, disk: Some(disk), ..base });
    let busy = (1..4).find(|&topic| world.owner(topic) != world.owner(0));
    let busy = busy.expect("four topics are not all on one of two shards");
    let producer = world.connect();
    let [idle_one, busy_one] = [0, busy].map(|topic| {
        let index = world.connect();
        world.subscribe(index, topic, 0);
        world.set_ready(index, 10);
        world.check();
        (producer, index)
    });
    fill(&mut world, idle_one, 0, 2);
    let bytes = world.folder.files.values().map(|file| file.bytes.len() as u64).sum::<u64>();
    world.folder.settings.space_bytes = Some(bytes);
    // The other shard needs its second file, and the third. It always has a message.
    world.publish(producer, busy, 3_600_000, &[100]);
    world.check();
    let before = world.folder.files.len();
    for _ in 0..35 {
        world.publish(busy_one.0, busy, 0, &[4000]);
        world.check();
        finish_all(&mut world, busy_one.1);
        world.advance(100);
    }
    assert!(world.folder.faults > 0, "the disk was full");
    assert!(world.folder.files.len() <= before, "there is no more room than there was");
    assert_eq!(world.stats()[usize::from(world.owner(busy))].gauges.publishes_refused, 0);
    world.judge(2);
}
