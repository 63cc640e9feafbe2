//! Bits that flip while the broker is down: what is damaged is not delivered, and costs no more
//! than the messages that were hit.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::drain::settle;
use super::ledger::{Answer, Key, body};
use super::load::World;
use super::random::{Random, seed};
use super::report::Rules;
use super::start;
use crate::harness::{Broker, Client, Peer, TempDir, mpub, on_each_shoal};

const TOPICS: usize = 3;
const BATCHES: usize = 60;
const BATCH: usize = 10;

/// Publishes to topics with a channel each, and finishes a part.
fn furnish(world: &World, broker: &Broker, random: &mut Random) {
    let mut client = Client::new(broker);
    let mut sequence = 0;
    for topic in 0..TOPICS {
        let name = format!("t{topic}");
        broker.post(&format!("/topic/create?topic={name}"));
        broker.post(&format!("/channel/create?topic={name}&channel=c"));
        world.ledger.channel(&name, "c");
    }
    for batch in 0..BATCHES {
        let topic = format!("t{}", batch % TOPICS);
        let bodies: Vec<Vec<u8>> = (0..BATCH)
            .map(|_| {
                sequence += 1;
                let padding = random.below(2000);
                body(Key { producer: 1, sequence }, padding, random)
            })
            .collect();
        let keys: Vec<Key> =
            bodies.iter().map(|body| world.ledger.sent(&topic, body, None)).collect();
        let slices: Vec<&[u8]> = bodies.iter().map(Vec::as_slice).collect();
        client.send(&mpub(&topic, &slices));
        client.ok();
        world.ledger.answered(&keys, Answer::Acknowledged);
    }
    world.sweep("t1", "c", 50);
}

/// The files that hold messages and state.
fn files(dir: &TempDir) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir.path().join("log")).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Flips that many bits in places that are in use: not far from a byte that is not zero.
fn flip(dir: &TempDir, count: usize, random: &mut Random) {
    const NEAR: usize = 64;
    let read = |path: PathBuf| (fs::read(&path).unwrap(), path);
    let mut all: Vec<(Vec<u8>, PathBuf)> = files(dir).into_iter().map(read).collect();
    let mut places = Vec::new();
    for (file, (content, _)) in all.iter().enumerate() {
        for (number, stretch) in content.chunks_exact(NEAR).enumerate() {
            if stretch != [0; NEAR] {
                places.push((file, number * NEAR));
            }
        }
    }
    assert!(!places.is_empty(), "nothing is in use");
    for _ in 0..count {
        let (file, at) = random.pick(&places);
        all[file].0[at + random.below(NEAR)] ^= 1 << random.below(8);
    }
    for (content, path) in all {
        write_in_place(&path, &content);
    }
}

fn write_in_place(path: &Path, content: &[u8]) {
    use std::io::Write;
    let mut file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all(content).unwrap();
}

/// A stopped or killed broker, so many flipped bits, and what is left of its messages.
fn round(peer: Peer, flips: usize, random: &mut Random) {
    let world = World::new(([127, 0, 0, 1], 0).into(), 0, TOPICS, false);
    world.calm.store(true, std::sync::atomic::Ordering::Relaxed);
    let mut world = world;
    let broker = start(peer, "written", Arc::new(TempDir::new()));
    world.tcp = broker.tcp;
    furnish(&world, &broker, random);
    let dir = if random.percent(50) { broker.stop() } else { broker.kill() };
    world.ledger.killed();
    flip(&dir, flips, random);
    let broker = start(peer, "written", dir);
    world.tcp = broker.tcp;
    let left = settle(&broker, &world);
    assert!(left.is_empty(), "said to be there, but does not come out: {left:?}");
    let mut report = world.ledger.report(Rules::DAMAGED);
    eprintln!("{peer:?}, {flips} flips: {report}");
    assert!(report.lost.len() <= flips, "lost more than was hit: {:?}", report.violations());
    report.lost.clear();
    report.assert_clean();
}

#[test]
fn bits_flip() {
    on_each_shoal("the original has no checksums", |peer| {
        let mut random = Random::new(seed("bits flip"));
        for flips in [1, 1, 1, 1, 5, 20, 100] {
            round(peer, flips, &mut random);
        }
    });
}

/// Without any flip nothing is lost: the rounds above count only what the flips did.
#[test]
fn no_bit_flips() {
    on_each_shoal("the original has no checksums", |peer| {
        for seed in 0..2 {
            round(peer, 0, &mut Random::new(seed));
        }
    });
}
