//! `/stats`: numbers after known flows, as JSON with every field in order, and as text.

mod json;
mod text;

use crate::harness::{Broker, Client, identify};

/// A flow whose numbers are known: 4 published by one producer, 1 finished, 1 given back for
/// later, 1 in flight; an empty paused topic with a paused channel beside it.
///
/// Gives the connections, which have to live while the statistics are taken.
fn known_flow(broker: &Broker) -> [Client; 2] {
    let mut producer = Client::new(broker);
    producer.send(&identify(r#"{"client_id":"p","hostname":"ph","user_agent":"pub/1"}"#));
    producer.ok();
    let mut consumer = Client::new(broker);
    consumer.send(&identify(
        r#"{"client_id":"c","hostname":"ch","user_agent":"sub/1","topology_zone":"z"}"#,
    ));
    consumer.ok();
    consumer.subscribe("orders", "archive");
    for body in ["a", "bb", "ccc", "dddd"] {
        producer.publish("orders", body.as_bytes());
    }
    broker.await_channel("orders", "archive", "depth", 4);
    consumer.command("RDY 1");
    let id = consumer.delivery("a", 1);
    consumer.fin(&id);
    let id = consumer.delivery("bb", 1);
    consumer.req(&id, 60_000);
    consumer.delivery("ccc", 1);
    broker.post("/topic/create?topic=empty");
    broker.post("/topic/pause?topic=empty");
    broker.post("/channel/create?topic=empty&channel=a");
    broker.post("/channel/pause?topic=empty&channel=a");
    consumer.command("RDY 0");
    broker.await_channel("orders", "archive", "deferred_count", 1);
    crate::harness::eventually("RDY 0 arrived", crate::harness::SOON, || {
        broker.channel("orders", "archive")["clients"][0]["ready_count"] == 0
    });
    [producer, consumer]
}
