//! Worlds that are broken on purpose: a ledger that finds nothing in them would find nothing ever.

use super::log;
use super::world::{Canary, Settings, World};

/// Whether the ledger complains about the right thing.
fn check(canary: Canary, about: &str) {
    let settings = Settings { destructive: false, jumps: false, ..Settings::default() };
    check_in(&settings, 1500, canary, about);
}

/// The same for worlds with a disk, whose shards end now and then.
fn check_disk(canary: Canary, about: &str) {
    check_in(&Settings { destructive: false, ..log::killed() }, 2000, canary, about);
}

pub fn check_in(settings: &Settings, steps: u64, canary: Canary, about: &str) {
    let mut complaints = Vec::new();
    for seed in 0..20 {
        let mut world = World::new(seed, Settings { canary: Some(canary), ..settings.clone() });
        while world.steps < steps && world.ledger.complaints.is_empty() {
            (0..100).for_each(|_| world.step());
            world.check();
        }
        complaints.append(&mut world.ledger.complaints);
        if complaints.iter().any(|complaint| complaint.contains(about)) {
            return;
        }
    }
    panic!("{canary:?} gave {complaints:#?}");
}

#[test]
fn each_is_found() {
    check(Canary::LoseLetter, "never answered");
    check(Canary::DeliverTwice, "delivered after FIN");
    check(Canary::LoseFinish, "in_flight is 1");
    check(Canary::LosePublish, " is ");
    check(Canary::SameAttempts, "attempts should be");
    check(Canary::SpoilBody, "the body has changed");
    check(Canary::SwapAnswers, "instead of");
    check(Canary::IgnoreReady, "in flight but RDY is");
    check(Canary::Early, "before its time");
    check(Canary::ForgetPause, "delivered by a paused channel");
    check(Canary::LoseHeld, "holds 0");
    check(Canary::LoseChannel, "is gone");
}

#[test]
fn each_is_found_where_topics_wait() {
    let settings = Settings { discovery: true, operators: 10, ..Settings::default() };
    for (canary, about) in [
        (Canary::StartTooSoon, "delivered by a topic that waits"),
        (Canary::ForgetChannel, "is gone"),
        (Canary::ForgetToUnregister, "registered: "),
    ] {
        check_in(&settings, 1500, canary, about);
    }
}

#[test]
fn each_is_found_on_a_disk() {
    check_disk(Canary::LieAboutSync, "is acknowledged, but Written");
    check_disk(Canary::LoseAppend, "is acknowledged, but Nowhere");
    check_disk(Canary::LoseFinishEntry, "depth is");
    check_disk(Canary::LoseSnapshot, "depth is");
}
