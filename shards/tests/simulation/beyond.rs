//! Worlds in which operators ask for more than NSQ has: dead letters and bounds.

use shards::limits::{Durability, Options};
use shards::policy::{Defaults, Limit, OnFull};

use super::log;
use super::seeds::{live, try_seeds};
use super::world::{Canary, End, Settings, World};

/// Messages of the first channel of each topic become dead letters.
pub fn poisoned(settings: Settings) -> Settings {
    Settings { attempts: 2, destructive: false, ..settings }
}

fn bounded(settings: Settings, on_full: OnFull) -> Settings {
    of_channels(settings, Limit { max_messages: 30, on_full, ..Limit::default() })
}

fn of_channels(settings: Settings, channel: Limit) -> Settings {
    let defaults = Defaults { channel, ..settings.options.defaults };
    let options = Options { defaults, ..settings.options };
    Settings { options, ..settings }
}

fn of_topics(settings: Settings, topic: Limit) -> Settings {
    let defaults = Defaults { topic, ..settings.options.defaults };
    let options = Options { defaults, ..settings.options };
    Settings { options, ..settings }
}

/// What the first channel of each topic holds too much is a dead letter.
fn buried(settings: Settings, first: Limit) -> Settings {
    let first = Limit { on_full: OnFull::DeadLetter, ..first };
    Settings { first, destructive: false, ..settings }
}

/// Dead letters come back, again and again.
fn redriven(settings: Settings) -> Settings {
    Settings { redrives: true, operators: 15, attempts: 1, ..poisoned(settings) }
}

/// Messages of about the same size, so that a bound of bytes is one of messages.
fn even(settings: Settings) -> Settings {
    Settings { body_bytes_max: 1, ..settings }
}

const MESSAGES: Limit =
    Limit { max_messages: 30, max_bytes: 0, max_age_ms: 0, on_full: OnFull::DropOldest };
const BYTES: Limit =
    Limit { max_messages: 0, max_bytes: 1500, max_age_ms: 0, on_full: OnFull::DropOldest };
const AGE: Limit =
    Limit { max_messages: 0, max_bytes: 0, max_age_ms: 400, on_full: OnFull::DropOldest };

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

/// What is on its way from shard to shard when the power goes is here or there afterwards.
#[test]
fn worlds_with_dead_letters_and_power_cuts() {
    let all = [End::PowerCut, End::Kill, End::Stop];
    for durability in [Durability::Written, Durability::Synced] {
        let settings = log::ending(log::settings(durability), &[End::PowerCut]);
        try_seeds(4, &poisoned(settings));
        let settings = log::ending(log::settings(durability), &all);
        try_seeds(3, &redriven(settings));
    }
}

#[test]
fn worlds_in_which_dead_letters_come_back() {
    let mut copies = 0;
    for seed in 0..8 {
        copies += live(seed, redriven(Settings::default())).ledger.copies();
    }
    assert!(copies > 20, "{copies} came back");
    try_seeds(4, &redriven(log::settings(Durability::Written)));
    let settings = log::ending(log::settings(Durability::Written), &[End::Kill, End::Stop]);
    try_seeds(6, &redriven(settings));
    try_seeds(2, &redriven(log::crowded(log::settings(Durability::Synced))));
}

#[test]
fn worlds_with_bounds() {
    for on_full in [OnFull::Reject, OnFull::DropOldest] {
        try_seeds(6, &bounded(Settings::default(), on_full));
        let settings = Settings { destructive: false, ..Settings::default() };
        try_seeds(4, &bounded(settings, on_full));
        let settings = log::settings(Durability::Written);
        try_seeds(4, &bounded(settings.clone(), on_full));
        try_seeds(4, &bounded(log::ending(settings, &[End::Kill, End::Stop]), on_full));
        let settings = log::crowded(log::settings(Durability::Synced));
        try_seeds(4, &bounded(settings, on_full));
    }
}

/// Bytes, and ages; of channels, and of topics, with what these hold themselves.
#[test]
fn worlds_with_bounds_of_every_kind() {
    for limit in [MESSAGES, BYTES, AGE] {
        for settings in [Settings::default(), log::settings(Durability::Written)] {
            try_seeds(2, &of_channels(even(settings.clone()), limit));
            try_seeds(2, &of_topics(even(settings), limit));
        }
        let ends = [End::PowerCut, End::Kill, End::Stop];
        let settings = log::ending(log::settings(Durability::Written), &ends);
        try_seeds(1, &of_topics(even(settings.clone()), limit));
        try_seeds(2, &of_channels(even(settings), limit));
    }
    try_seeds(4, &of_topics(Settings::default(), Limit { on_full: OnFull::Reject, ..MESSAGES }));
}

#[test]
fn worlds_in_which_what_is_too_much_is_a_dead_letter() {
    let mut dead = 0;
    for limit in [MESSAGES, BYTES, AGE] {
        for seed in 0..3 {
            dead += live(seed, buried(even(Settings::default()), limit)).buried;
        }
        try_seeds(2, &buried(even(log::settings(Durability::Written)), limit));
        let settings = log::settings(Durability::Synced);
        let all = [End::PowerCut, End::Kill, End::Stop];
        try_seeds(3, &buried(even(log::ending(settings, &all)), limit));
    }
    assert!(dead > 20, "{dead} dead letters");
    let settings = buried(Settings::default(), MESSAGES);
    try_seeds(4, &poisoned(settings.clone()));
    try_seeds(2, &log::crowded(buried(log::settings(Durability::Written), MESSAGES)));
}

/// A shard that has nothing else to do reads what is on its way to another topic.
#[test]
fn a_message_for_another_topic_is_read_though_nothing_else_happens() {
    let settings = log::crowded(log::settings(Durability::Synced));
    [3, 479].into_iter().for_each(|seed| drop(live(seed, redriven(settings.clone()))));
    let settings = log::crowded(buried(log::settings(Durability::Written), MESSAGES));
    [45, 75, 114].into_iter().for_each(|seed| drop(live(seed, settings.clone())));
}

/// A channel stood at the end of a segment that was gone, and the next one was dropped unread: the
/// channel then delivered messages under the numbers of others.
#[test]
fn a_channel_knows_where_it_stands_when_what_is_on_the_disk_is_dropped() {
    let settings = log::crowded(log::settings(Durability::Synced));
    for seed in [46, 478] {
        live(seed, bounded(settings.clone(), OnFull::DropOldest));
    }
}

/// More dead letters than a consumer takes at a time are counted as well.
#[test]
fn many_dead_letters_are_all_found() {
    let dead = live(23, buried(even(Settings::default()), MESSAGES)).buried;
    assert!(dead > 2500, "{dead} dead letters");
}

#[test]
fn each_canary_is_found() {
    let settings = poisoned(Settings { jumps: false, ..Settings::default() });
    let check = |settings: &Settings, canary, about| {
        super::canaries::check_in(settings, 1500, canary, about);
    };
    check(&settings, Canary::LoseDeadLetter, "on their way");
    check(&settings, Canary::OneMoreAttempt, "more often than");
    let settings = Settings { jumps: false, destructive: false, ..even(Settings::default()) };
    for limit in [MESSAGES, BYTES] {
        check(&of_channels(settings.clone(), limit), Canary::LooseBound, "above its bound");
        check(&of_topics(settings.clone(), limit), Canary::LooseBound, "above its bound");
    }
    check(&of_channels(settings.clone(), AGE), Canary::LooseBound, "ms old, more than");
    let dropping = of_channels(settings.clone(), MESSAGES);
    check(&dropping, Canary::TightBound, "more went than had to");
    let refusing = bounded(settings.clone(), OnFull::Reject);
    check(&refusing, Canary::TightBound, "refused though there is room");
    let settings = redriven(settings);
    check(&settings, Canary::Republish, "under another id");
    for seed in 0..20 {
        let settings = Settings { canary: Some(Canary::LoseLetters), ..settings.clone() };
        let mut world = World::new(seed, settings);
        for _ in 0..15 {
            (0..100).for_each(|_| world.step());
            world.check();
        }
        world.wind_up();
        if world.ledger.complaints.iter().any(|complaint| complaint.contains(" is gone")) {
            return;
        }
    }
    panic!("lost letters are not missed");
}
