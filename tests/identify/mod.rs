//! IDENTIFY: how its JSON is read, the bounds of its fields, its reply, and heartbeats.

mod bounds;
mod heartbeat;
mod json;
mod reply;
mod upgrade;

use crate::harness::{Broker, Client, Frame, identify};

/// Sends an IDENTIFY on a new connection and gives the reply in the tables' notation.
fn answer(broker: &Broker, json: &str) -> String {
    let mut client = Client::new(broker);
    client.send(&identify(json));
    let frame = client.frame();
    match &frame {
        Frame::Error(_) => client.closed(),
        _ => client.alive(),
    }
    frame.describe()
}
