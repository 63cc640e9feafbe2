//! Worlds in which operators ask for more than NSQ has: dead letters and bounds.

use shards::limits::{Durability, Options};
use shards::policy::{Defaults, Limit, OnFull};

use super::log;
use super::seeds::{live, try_seeds};
use super::world::{Canary, End, Settings};

/// Messages of the first channel of each topic become dead letters.
pub fn poisoned(settings: Settings) -> Settings {
    Settings { attempts: 2, destructive: false, ..settings }
}

fn bounded(settings: Settings, on_full: OnFull) -> Settings {
    let channel = Limit { max_messages: 30, on_full, ..Limit::default() };
    let defaults = Defaults { channel, ..Defaults::default() };
    let options = Options { defaults, ..settings.options };
    Settings { options, ..settings }
}

#[test]
fn worlds_with_dead_letters() {
    let mut dead = 0;
    for seed in 0..10 {
        dead += live(seed, poisoned(Settings::default())).dead_letters();
    }
    assert!(dead > 20, "{dead} dead letters");
    try_seeds(4, &poisoned(Settings { sampling: true, ..Settings::default() }));
    for durability in [Durability::Written, Durability::Synced] {
        try_seeds(4, &poisoned(log::settings(durability)));
    }
    try_seeds(4, &poisoned(log::crowded(log::settings(Durability::Written))));
}

#[test]
fn worlds_with_dead_letters_that_end() {
    for end in [End::Kill, End::Stop] {
        let settings = log::ending(log::settings(Durability::Written), &[end]);
        try_seeds(6, &poisoned(settings));
    }
    let settings = log::crowded(log::settings(Durability::Written));
    try_seeds(4, &poisoned(log::ending(settings, &[End::Kill, End::Stop])));
}

#[test]
fn worlds_with_bounds() {
    for on_full in [OnFull::Reject, OnFull::DropOldest] {
        try_seeds(6, &bounded(Settings::default(), on_full));
        let settings = log::settings(Durability::Written);
        try_seeds(4, &bounded(settings.clone(), on_full));
        try_seeds(4, &bounded(log::ending(settings, &[End::Kill, End::Stop]), on_full));
        let settings = log::crowded(log::settings(Durability::Synced));
        try_seeds(4, &bounded(settings, on_full));
    }
}

#[test]
fn each_canary_is_found() {
    let settings = poisoned(Settings { jumps: false, ..Settings::default() });
    super::canaries::check_in(&settings, 1500, Canary::LoseDeadLetter, "on their way");
    super::canaries::check_in(&settings, 1500, Canary::OneMoreAttempt, "more often than");
    let settings = bounded(settings, OnFull::DropOldest);
    super::canaries::check_in(&settings, 1500, Canary::LooseBound, "is above its bound");
}
