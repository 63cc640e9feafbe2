//! Worlds whose topics keep what is finished, and whose channels are moved in it.

use shards::limits::{Durability, Options};
use shards::policy::{Defaults, Keep};

use super::log;
use super::seeds::{live, try_seeds};
use super::world::{Canary, End, Settings};

/// Topics keep so many bytes.
fn keeping(settings: Settings, bytes: u64) -> Settings {
    let keep = Keep { bytes, age_ms: 0 };
    let defaults = Defaults { keep, ..settings.options.defaults };
    Settings { options: Options { defaults, ..settings.options }, ..settings }
}

#[test]
fn worlds_that_keep_what_is_finished() {
    for bytes in [1, 20_000, 1 << 40] {
        try_seeds(4, &keeping(Settings::default(), bytes));
        try_seeds(4, &keeping(log::settings(Durability::Written), bytes));
        let settings = log::crowded(log::settings(Durability::Synced));
        try_seeds(3, &keeping(settings, bytes));
    }
}

#[test]
fn worlds_that_keep_what_is_finished_and_end() {
    for end in [End::Stop, End::Kill] {
        try_seeds(5, &keeping(log::ending(log::crowded_and_mixed(), &[end]), 1 << 40));
        try_seeds(5, &keeping(log::ending(log::settings(Durability::Written), &[end]), 20_000));
    }
}

/// Operators move channels all the time.
fn seeking(settings: Settings) -> Settings {
    keeping(Settings { seeks: true, operators: 12, ..settings }, 1 << 40)
}

#[test]
fn worlds_whose_channels_are_moved() {
    try_seeds(6, &seeking(Settings::default()));
    try_seeds(6, &seeking(log::settings(Durability::Written)));
    try_seeds(3, &seeking(log::settings(Durability::Synced)));
    try_seeds(4, &seeking(log::crowded(log::settings(Durability::Written))));
}

#[test]
fn worlds_whose_channels_are_moved_and_that_end() {
    for ends in [&[End::Stop][..], &[End::Kill], &[End::Kill, End::Stop]] {
        let ending = |settings| Settings { jumps: false, ..log::ending(settings, ends) };
        try_seeds(4, &seeking(ending(log::settings(Durability::Written))));
        try_seeds(3, &seeking(ending(log::crowded(log::settings(Durability::Written)))));
    }
    let settings = log::ending(log::settings(Durability::Synced), &[End::PowerCut]);
    try_seeds(4, &seeking(Settings { jumps: false, ..settings }));
}

/// That a message was finished before it came again says nothing of whether it is afterwards.
#[test]
fn what_comes_again_is_finished_anew() {
    let settings = log::ending(log::settings(Durability::Synced), &[End::PowerCut]);
    for seed in [28, 48, 406] {
        live(seed, seeking(Settings { jumps: false, ..settings.clone() }));
    }
}

#[test]
fn retention_that_forgets_is_found() {
    let settings = Settings { destructive: false, jumps: false, ..Settings::default() };
    super::canaries::check_in(&seeking(settings), 1500, Canary::ForgetRetained, "depth is");
}
