//! Worlds whose shards have a disk.

use shards::limits::{Durability, Options};

use super::seeds::{live, try_seeds};
use super::world::disk::DiskSettings;
use super::world::{End, Settings, name};

/// Small files, so that checkpoints never end.
fn options(durability: Durability) -> Options {
    Options {
        durability,
        journal_file_bytes: 64 << 10,
        journal_files_max: 4,
        store_file_bytes: 256 << 10,
        sync_every: 100,
        sync_timeout_ms: 200,
        ..Settings::default().options
    }
}

pub fn settings(durability: Durability) -> Settings {
    let disk = Some(DiskSettings::default());
    Settings { options: options(durability), disk, ..Settings::default() }
}

/// Topics that promise different things.
fn mixed() -> Settings {
    let mut settings = settings(Durability::Written);
    settings.options.topic_durability =
        vec![(name("t0"), Durability::Memory), (name("t1"), Durability::Synced)];
    settings
}

/// Little memory for large bodies.
pub fn crowded(settings: Settings) -> Settings {
    let options = Options { memory_limit_bytes: 2 << 20, ..settings.options };
    Settings { options, body_bytes_max: 50_000, connections: 12, ..settings }
}

/// Little memory, and topics that promise different things.
pub fn crowded_and_mixed() -> Settings {
    crowded(mixed())
}

/// What canaries live in: shards that are killed, and topics that promise different things.
pub fn killed() -> Settings {
    ending(mixed(), &[End::Kill])
}

#[test]
fn worlds_that_write() {
    try_seeds(6, &settings(Durability::Written));
}

#[test]
fn worlds_that_sync() {
    try_seeds(6, &settings(Durability::Synced));
}

#[test]
fn worlds_with_a_disk_that_keep_all_in_memory() {
    try_seeds(6, &settings(Durability::Memory));
}

#[test]
fn worlds_that_promise_different_things() {
    try_seeds(6, &mixed());
}

#[test]
fn worlds_that_spill() {
    for durability in [Durability::Memory, Durability::Written, Durability::Synced] {
        try_seeds(3, &crowded(settings(durability)));
    }
    try_seeds(3, &crowded(mixed()));
}

#[test]
fn worlds_with_a_bad_disk() {
    let disk = DiskSettings { errors: 20, ..DiskSettings::default() };
    for settings in [mixed(), settings(Durability::Synced), crowded(mixed())] {
        try_seeds(6, &Settings { disk: Some(disk.clone()), ..settings });
    }
}

#[test]
fn worlds_with_a_small_disk() {
    let disk = DiskSettings { space_bytes: Some(2 << 20), ..DiskSettings::default() };
    try_seeds(6, &Settings { disk: Some(disk), ..crowded(mixed()) });
}

/// The same where all shards end now and then.
pub fn ending(settings: Settings, ends: &[End]) -> Settings {
    let power_cuts = ends.contains(&End::PowerCut);
    let disk = settings.disk.map(|disk| DiskSettings { power_cuts, ..disk });
    // Nobody promises that what operators did lasts over a power cut at once.
    let destructive = settings.destructive && !power_cuts;
    Settings { ends: ends.to_vec(), disk, destructive, ..settings }
}

#[test]
fn worlds_with_a_bad_disk_that_end() {
    let disk = DiskSettings { errors: 10, ..DiskSettings::default() };
    let all = [End::PowerCut, End::Kill, End::Stop];
    for settings in [mixed(), settings(Durability::Synced), crowded(mixed())] {
        let settings = Settings { disk: Some(disk.clone()), ..settings };
        try_seeds(6, &ending(settings, &all));
    }
}

#[test]
fn worlds_that_stop_and_start() {
    for settings in [settings(Durability::Memory), settings(Durability::Synced), mixed()] {
        try_seeds(6, &ending(settings, &[End::Stop]));
    }
    try_seeds(4, &ending(crowded(mixed()), &[End::Stop]));
}

#[test]
fn worlds_that_are_killed() {
    for settings in [settings(Durability::Written), mixed()] {
        try_seeds(6, &ending(settings, &[End::Kill]));
    }
    try_seeds(4, &ending(crowded(mixed()), &[End::Kill, End::Stop]));
}

#[test]
fn worlds_with_power_cuts() {
    for settings in [settings(Durability::Synced), settings(Durability::Written), mixed()] {
        try_seeds(6, &ending(settings, &[End::PowerCut]));
    }
    let all = [End::PowerCut, End::Kill, End::Stop];
    try_seeds(4, &ending(crowded(mixed()), &all));
}

/// A topic that waited for its channels goes on waiting.
#[test]
fn worlds_that_discover_and_end() {
    let ends = [End::PowerCut, End::Kill, End::Stop];
    for (settings, ends) in [(mixed(), &ends[1..]), (settings(Durability::Synced), &ends[..])] {
        let settings = Settings { discovery: true, operators: 10, ..settings };
        try_seeds(8, &ending(settings, ends));
    }
}

/// Most messages are deferred, and of what is due when little is in memory.
fn deferring(settings: Settings) -> Settings {
    let mut settings = Settings { deferring: Some(9000), operators: 10, ..crowded(settings) };
    settings.options.deferred_fresh_max = 8;
    settings
}

#[test]
fn worlds_of_deferred_messages() {
    let mut reads = 0;
    for seed in 0..6 {
        let mut world = live(seed, deferring(mixed()));
        reads += world.stats().iter().map(|shard| shard.gauges.index_reads).sum::<u64>();
    }
    assert!(reads > 0, "what is due when is read back");
    let disk = DiskSettings { errors: 10, ..DiskSettings::default() };
    try_seeds(4, &Settings { disk: Some(disk), ..deferring(mixed()) });
    let disk = DiskSettings { space_bytes: Some(2 << 20), ..DiskSettings::default() };
    try_seeds(4, &Settings { disk: Some(disk), ..deferring(mixed()) });
}

#[test]
fn worlds_of_deferred_messages_that_end() {
    for settings in [settings(Durability::Written), settings(Durability::Synced), mixed()] {
        try_seeds(3, &ending(deferring(settings), &[End::Stop, End::Kill]));
    }
    let all = [End::PowerCut, End::Kill, End::Stop];
    try_seeds(3, &ending(deferring(mixed()), &all));
}

fn rotten(rot: usize) -> Settings {
    let disk = DiskSettings { rot, ..DiskSettings::default() };
    Settings { disk: Some(disk), ..crowded(mixed()) }
}

/// Shards that end, on a disk that loses and misplaces things.
pub fn rotten_and_ending() -> Settings {
    ending(rotten(30), &[End::Kill, End::Stop])
}

/// The same where hardly a segment comes to its place.
pub fn very_rotten_and_ending() -> Settings {
    ending(rotten(300), &[End::Kill, End::Stop])
}

/// What is damaged costs only itself, and nobody gets it.
#[test]
fn worlds_with_a_rotten_disk() {
    try_seeds(4, &rotten(30));
    try_seeds(4, &rotten_and_ending());
    try_seeds(4, &very_rotten_and_ending());
}
