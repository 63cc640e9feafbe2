//! A clock that was set back while the broker was down: ids stay unique, and go on rising.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use super::{durable, numbered, publish_all, skipped};
use crate::harness::{Broker, Client, Peer, TempDir, on_each_shoal};

const COUNT: usize = 50;

/// The wall clock, moved by so many seconds; loaded before libc, which the broker asks for the
/// time as every program does.
const SHIFT: &str = "
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t clock, struct timespec *time) {
    int result = syscall(SYS_clock_gettime, clock, time);
    const char *shift = getenv(\"CLOCK_SHIFT\");
    if (result == 0 && clock == CLOCK_REALTIME && shift) time->tv_sec += atol(shift);
    return result;
}
";

/// The library, if there is a compiler to make it with.
fn library(dir: &TempDir) -> Option<PathBuf> {
    let (source, library) = (dir.path().join("shift.c"), dir.path().join("shift.so"));
    fs::write(&source, SHIFT).unwrap();
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(&source);
    compiler.status().is_ok_and(|status| status.success()).then_some(library)
}

/// A broker whose clock is off by so many seconds.
fn start(peer: Peer, library: &PathBuf, shift: i64, dir: Arc<TempDir>) -> Broker {
    let flags = durable(peer, "written");
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let mut command = Broker::command(peer, &flags, &dir);
    command.env("LD_PRELOAD", library).env("CLOCK_SHIFT", shift.to_string());
    Broker::spawn(command, dir)
}

/// Publishes, and takes half of what there is: its ids must all be new, and larger than those
/// before. Gives the largest time at which a message was taken, in seconds.
fn round(broker: &Broker, ids: &mut BTreeSet<String>, old: usize) -> i64 {
    let before = ids.last().cloned().unwrap_or_default();
    let mut consumer = Client::consumer(broker, "t", "c", 1);
    publish_all(&mut Client::new(broker), "t", &numbered("t", COUNT));
    let mut time = 0;
    for number in 0..old + COUNT {
        let message = consumer.message();
        consumer.fin(&message.id);
        if number >= old {
            assert!(message.id > before, "{} after {before}", message.id);
            time = time.max(message.timestamp / 1_000_000_000);
        }
        assert!(ids.insert(message.id.clone()), "{} is there twice", message.id);
    }
    consumer.alive();
    time
}

#[test]
fn set_back() {
    on_each_shoal("the original asks for the time past libc", |peer| {
        let place = TempDir::new();
        let Some(library) = library(&place) else { return skipped("there is no cc") };
        let mut ids = BTreeSet::new();
        let mut dir = Arc::new(TempDir::new());
        let mut time = 0;
        // An hour back, then a year, then to where it was; stopped and killed, with nothing left
        // and with a backlog.
        for (number, shift) in [0, -3600, -31_536_000, 0].into_iter().enumerate() {
            let broker = start(peer, &library, shift, dir);
            let now = round(&broker, &mut ids, if number == 0 { 0 } else { COUNT });
            if number == 1 {
                assert!(now < time - 3000, "the clock was not set back: {now} after {time}");
            }
            time = now;
            publish_all(&mut Client::new(&broker), "t", &numbered("left", COUNT));
            dir = if number % 2 == 0 { broker.kill() } else { broker.stop() };
        }
    });
}

/// Nothing is left of the messages: what remembers how far the ids had come is the log.
#[test]
fn set_back_with_nothing_left() {
    on_each_shoal("the original asks for the time past libc", |peer| {
        let place = TempDir::new();
        let Some(library) = library(&place) else { return skipped("there is no cc") };
        let mut ids = BTreeSet::new();
        let mut dir = Arc::new(TempDir::new());
        for (number, shift) in [0, -3600, -7200, -9000].into_iter().enumerate() {
            let broker = start(peer, &library, shift, dir);
            round(&broker, &mut ids, 0);
            dir = if number % 2 == 0 { broker.stop() } else { broker.kill() };
        }
    });
}
