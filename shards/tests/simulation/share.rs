//! Somebody floods a disk that takes less than is published: the others go on all the while.

use shards::limits::{Durability, Options};

use super::log;
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
