//! `sample_rate`: a share of the messages is delivered, the rest is gone for the channel.

use std::time::Duration;

use super::publish_numbers;
use crate::harness::{Broker, Client, identify, on_each_peer};

const COUNT: usize = 3000;

/// Rate, and how many of the 3,000 may come: the mean and six standard deviations around it.
const ROWS: [(u32, std::ops::RangeInclusive<usize>); 4] =
    [(0, COUNT..=COUNT), (1, 14..=106), (50, 1366..=1694), (99, COUNT..=COUNT)];

#[test]
fn share() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        for (rate, allowed) in ROWS {
            let channel = format!("rate-{rate}");
            let mut client = Client::new(&broker);
            client.send(&identify(&format!("{{\"sample_rate\":{rate}}}")));
            client.ok();
            client.subscribe("sampled", &channel);
            client.command("RDY 2500");
            publish_numbers(&broker, "sampled", COUNT);
            let mut got = 0;
            loop {
                let messages = client.drain(Duration::from_millis(800));
                if messages.is_empty() {
                    break;
                }
                got += messages.len();
                for message in messages {
                    client.fin(&message.id);
                }
            }
            assert!(allowed.contains(&got), "rate {rate}: {got} of {COUNT}");
            let stats = broker.channel("sampled", &channel);
            assert_eq!((&stats["depth"], &stats["in_flight_count"]), (&0.into(), &0.into()));
            assert_eq!(
                (&stats["message_count"], &stats["clients"][0]["sample_rate"]),
                (&COUNT.into(), &rate.into())
            );
            broker.post(&format!("/channel/delete?topic=sampled&channel={channel}"));
        }
    });
}
