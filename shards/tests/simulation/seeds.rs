//! Worlds at random. `SIM_SEED=n` replays one; `SIM_SEEDS=n` tries that many.

use std::time::Instant;

use shards::limits::Options;

use super::world::{Settings, World};

/// Steps of one world, and steps between two looks at the counters.
const STEPS: u64 = 2000;
const STEPS_BETWEEN_CHECKS: u64 = 200;

/// Lives through one world.
pub fn live(seed: u64, settings: Settings) -> World {
    let mut world = World::new(seed, settings);
    let mut checked = 0;
    while world.steps < STEPS {
        world.step();
        if world.steps >= checked + STEPS_BETWEEN_CHECKS {
            checked = world.steps;
            world.check();
            world.judge(seed);
        }
    }
    world.wind_up();
    world.judge(seed);
    world
}

pub fn try_seeds(default: u64, settings: &Settings) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SIM_SEEDS").unwrap_or(default),
    };
    let (started, mut steps, mut delivered, mut finished) = (Instant::now(), 0, 0, 0);
    for seed in seeds {
        println!("seed {seed}");
        let world = live(seed, settings.clone());
        steps += world.steps;
        delivered += world.ledger.delivered;
        finished += world.ledger.finished;
    }
    let rate = steps as f64 / started.elapsed().as_secs_f64();
    println!("{steps} steps, {rate:.0} a second; {delivered} delivered, {finished} finished");
    let one = number("SIM_SEED").is_some();
    assert!(one || (finished > 0 && delivered > finished), "something happens in these worlds");
}

#[test]
fn peaceful_worlds() {
    try_seeds(10, &Settings { destructive: false, jumps: false, ..Settings::default() });
}

#[test]
fn ordinary_worlds() {
    try_seeds(20, &Settings::default());
}

#[test]
fn worlds_with_ephemeral_topics_and_channels() {
    let options = Options { mem_queue_size: 20, ..Settings::default().options };
    let topics = vec!["t0", "t1", "e0#ephemeral", "e1#ephemeral"];
    let channels = vec!["c0", "x#ephemeral"];
    try_seeds(20, &Settings { options, topics, channels, ..Settings::default() });
}

#[test]
fn worlds_with_samples() {
    try_seeds(10, &Settings { sampling: true, ..Settings::default() });
}

/// Topics and channels come, go, pause and are emptied all the time.
#[test]
fn worlds_of_restless_operators() {
    try_seeds(20, &Settings { operators: 25, ..Settings::default() });
}

/// New topics wait for channels that lookup servers know: they come late, or never.
#[test]
fn worlds_that_discover() {
    let settings = Settings { discovery: true, operators: 10, ..Settings::default() };
    try_seeds(20, &settings);
    let topics = vec!["t0", "t1", "e0#ephemeral", "e1#ephemeral"];
    let channels = vec!["c0", "c1", "x#ephemeral"];
    let options = Options { mem_queue_size: 20, ..settings.options };
    try_seeds(10, &Settings { topics, channels, options, mixed: true, ..settings });
}

/// Publishes, SUB and answers to messages on one connection.
#[test]
fn worlds_where_consumers_publish() {
    try_seeds(10, &Settings { mixed: true, ..Settings::default() });
}

/// Bodies of many sizes in little memory: publishes are refused.
#[test]
fn crowded_worlds() {
    let options = Options { memory_limit_bytes: 2 << 20, ..Settings::default().options };
    let settings =
        Settings { options, body_bytes_max: 100_000, connections: 12, ..Settings::default() };
    try_seeds(10, &settings);
}

/// Bodies so large that lanes between shards and outputs are full. Answers of a consumer whose
/// output is full wait, the ledger cannot tell how long: nothing is late here.
#[test]
fn worlds_of_large_messages() {
    let options =
        Options { msg_timeout_ms: 10_000, max_msg_timeout_ms: 20_000, ..Options::default() };
    let settings = Settings { options, jumps: false, connections: 12, ..Settings::default() };
    try_seeds(2, &Settings { body_bytes_max: 1_000_000, ..settings });
}

#[test]
fn worlds_of_one_shard() {
    try_seeds(
        5,
        &Settings { shards: 1, topics: vec!["t0"], connections: 5, ..Settings::default() },
    );
}

/// Everything that makes the other worlds what they are, but want of memory: what a consumer sends
/// behind a publish that is refused is thrown away or not, and the ledger cannot tell.
#[test]
fn worlds_of_all_kinds() {
    let options = Options { mem_queue_size: 20, ..Settings::default().options };
    let settings = Settings {
        options,
        topics: vec!["t0", "t1", "e0#ephemeral", "e1#ephemeral"],
        channels: vec!["c0", "c1", "x#ephemeral"],
        body_bytes_max: 50_000,
        connections: 12,
        operators: 10,
        mixed: true,
        sampling: true,
        ..Settings::default()
    };
    try_seeds(20, &settings);
}
