//! One short history, again and again: it ends at each of its operations on the disk, or each of
//! them fails and the power goes later. So every step of a checkpoint, of storing, merging and
//! giving back is once the last one.

use super::log;
use super::world::disk::DiskSettings;
use super::world::{End, Settings, World};

/// Steps of the history, before and behind a restart in its middle.
const STEPS: u64 = 600;
/// Histories.
const SEEDS: u64 = 2;
/// Of its operations every so many are tried, where the tests are not optimised.
const STRIDE: usize = if cfg!(debug_assertions) { 23 } else { 1 };

fn settings(disk: DiskSettings) -> Settings {
    let mut settings = log::crowded_and_mixed();
    settings.destructive = false;
    settings.disk = Some(DiskSettings { power_cuts: true, ..disk });
    settings
}

/// The history, as far as it comes.
fn live(seed: u64, settings: Settings) -> World {
    let mut world = World::new(seed, settings);
    while world.steps < 2 * STEPS && !world.folder.stands_still {
        world.step();
        if world.steps == STEPS {
            world.restart(End::Kill, 2);
        }
    }
    world
}

/// What is found after this end is all there, and goes on.
fn end(mut world: World, end: End, what: &str) {
    world.folder.stands_still = false;
    world.folder.settings.stops_at = None;
    world.restart(end, 2);
    world.wind_up();
    let complaints = &world.ledger.complaints;
    assert!(complaints.is_empty(), "{what}: {complaints:#?}");
}

fn each(seed: u64, check: impl Fn(u64)) {
    let whole = live(seed, settings(DiskSettings::default()));
    let folder = &whole.folder;
    let all = folder.operations;
    println!("{all} operations, {} appends, {} writes", folder.appends, folder.writes);
    assert!(folder.appends > 20 && folder.writes > 10, "there is something to be cut off");
    let from = (seed as usize).min(STRIDE - 1);
    (1..=all).skip(from).step_by(STRIDE).for_each(check);
}

#[test]
fn a_kill_at_any_operation_loses_nothing() {
    for seed in 0..SEEDS {
        each(seed, |at| {
            let disk = DiskSettings { stops_at: Some(at), ..DiskSettings::default() };
            let world = live(seed, settings(disk));
            end(world, End::Kill, &format!("seed {seed}, killed at operation {at}"));
        });
    }
}

#[test]
fn a_power_cut_at_any_operation_loses_what_was_not_synced() {
    for seed in 0..SEEDS {
        each(seed, |at| {
            let disk = DiskSettings { stops_at: Some(at), ..DiskSettings::default() };
            let world = live(seed, settings(disk));
            end(world, End::PowerCut, &format!("seed {seed}, power cut at operation {at}"));
        });
    }
}

#[test]
fn any_operation_may_fail() {
    for seed in 0..SEEDS {
        each(seed, |at| {
            for (for_ever, how) in [(false, End::PowerCut), (true, End::Kill)] {
                let fails_at = Some((at, for_ever));
                let disk = DiskSettings { fails_at, ..DiskSettings::default() };
                let world = live(seed, settings(disk));
                let what = format!("seed {seed}, operation {at} fails for ever: {for_ever}");
                end(world, how, &what);
            }
        });
    }
}
