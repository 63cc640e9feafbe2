//! The life of messages, with real clocks: delivery, finishing, requeueing, timeouts, pauses.
//!
//! A timer may be late, since the machine may be busy; it must never be early.

mod buffer;
mod close;
mod deferred;
mod ephemeral;
mod fanout;
mod manage;
mod overflow;
mod pause;
mod ready;
mod requeue;
mod restart;
mod sample;
mod timeout;
mod topology;
mod touch;

use crate::harness::{Broker, Client, identify};

/// A consumer with a message timeout of its own.
fn with_timeout(broker: &Broker, timeout_ms: u64, subscription: &str, ready: u32) -> Client {
    let mut client = Client::new(broker);
    client.send(&identify(&format!("{{\"msg_timeout\":{timeout_ms}}}")));
    client.ok();
    client.command(&format!("SUB {subscription}"));
    client.ok();
    client.command(&format!("RDY {ready}"));
    client
}

/// Publishes the numbers from 0, one PUB each, pipelined.
fn publish_numbers(broker: &Broker, topic: &str, count: usize) {
    let mut client = Client::new(broker);
    let all: Vec<u8> = (0..count)
        .flat_map(|number| crate::harness::publish(topic, number.to_string().as_bytes()))
        .collect();
    client.send(&all);
    for _ in 0..count {
        client.ok();
    }
}
