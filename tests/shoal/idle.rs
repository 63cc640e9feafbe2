//! Without work the broker sleeps.

use std::time::Duration;

use crate::harness::{Broker, Client, cpu_ticks, on_each_shoal, ticks_per_second};

const REASON: &str = "the original looks at its queues ten times a second";

fn ticks_over(broker: &Broker, seconds: u64) -> u64 {
    std::thread::sleep(Duration::from_secs(1));
    let before = cpu_ticks(broker.pid());
    std::thread::sleep(Duration::from_secs(seconds));
    cpu_ticks(broker.pid()) - before
}

#[test]
fn without_clients() {
    on_each_shoal(REASON, |peer| {
        let broker = Broker::start(peer, &[]);
        let used = ticks_over(&broker, 4);
        assert!(used <= ticks_per_second() / 25, "{used} ticks in four seconds");
    });
}

#[test]
fn with_a_thousand_consumers() {
    on_each_shoal(REASON, |peer| {
        let broker = Broker::start(peer, &[]);
        let _consumers: Vec<Client> = (0..1000)
            .map(|number| Client::consumer(&broker, &format!("t{}", number % 50), "c", 1))
            .collect();
        let used = ticks_over(&broker, 4);
        assert!(used <= ticks_per_second() / 12, "{used} ticks in four seconds");
    });
}
