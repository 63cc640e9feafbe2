//! The end of a run: whatever is left is taken out and finished.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use super::load::World;
use crate::harness::Broker;

/// Ends by itself when messages neither come nor go.
const SETTLING: Duration = Duration::from_secs(60);

/// Takes out what is left, until the broker says that nothing is; what does not come is returned.
pub fn settle(broker: &Broker, world: &World) -> Vec<(String, String, usize)> {
    world.calm.store(true, Ordering::Relaxed);
    let start = Instant::now();
    let mut empty = 0;
    loop {
        let left = remaining(broker);
        empty = if left.is_empty() { empty + 1 } else { 0 };
        if empty == 3 || start.elapsed() > SETTLING {
            return left;
        }
        let parts: Vec<_> = (0..8).map(|part| left.iter().skip(part).step_by(8)).collect();
        thread::scope(|scope| {
            for part in parts {
                scope.spawn(move || {
                    for (topic, channel, count) in part {
                        world.sweep(topic, channel, *count);
                    }
                });
            }
        });
        thread::sleep(Duration::from_millis(200));
    }
}

/// Channels that have something, and how much.
fn remaining(broker: &Broker) -> Vec<(String, String, usize)> {
    let stats = broker.request("GET", "/stats?format=json&include_mem=false", b"").json();
    let mut left = Vec::new();
    for topic in stats["topics"].as_array().unwrap() {
        let name = topic["topic_name"].as_str().unwrap();
        for channel in topic["channels"].as_array().unwrap() {
            // After a crash the original counts below zero.
            let count = |key: &str| channel[key].as_i64().unwrap().max(0) as usize;
            let count = count("depth") + count("in_flight_count") + count("deferred_count");
            if count > 0 {
                let channel = channel["channel_name"].as_str().unwrap();
                left.push((name.to_string(), channel.to_string(), count));
            }
        }
        let depth = topic["depth"].as_i64().unwrap().max(0) as usize;
        if depth > 0 {
            left.push((name.to_string(), "a".to_string(), depth));
        }
    }
    left
}
