//! Many topics, channels and consumers: what there is to tell comes in parts of bounded size, so
//! that no turn of a shard is long. (How long that takes can only be measured on a quiet machine.)

use std::thread;

use super::ONLY_OURS;
use super::page::Page;
use crate::harness::{Broker, Client, HttpConnection, on_each_shoal};

const TOPICS: usize = 300;
const CHANNELS: usize = 5;
const CLIENTS: usize = 100;
/// Rows of one part, at most, and one more topic that it ends with.
const PART_ROWS_MAX: usize = 513;

#[test]
fn many_are_told_in_parts() {
    on_each_shoal(ONLY_OURS, |peer| {
        let broker = Broker::start(peer, &[]);
        thread::scope(|scope| {
            for part in 0..4 {
                let broker = &broker;
                scope.spawn(move || {
                    let mut connection = HttpConnection::new(broker.http);
                    for topic in (part..TOPICS).step_by(4) {
                        let target = format!("/topic/create?topic=t{topic}");
                        assert_eq!(connection.request("POST", &target, b"").status, 200);
                        for channel in 0..CHANNELS {
                            let target =
                                format!("/channel/create?topic=t{topic}&channel=c{channel}");
                            assert_eq!(connection.request("POST", &target, b"").status, 200);
                        }
                    }
                });
            }
        });
        let consumer = |number: usize| {
            let (topic, channel) = (number % TOPICS, number % CHANNELS);
            Client::consumer(&broker, &format!("t{topic}"), &format!("c{channel}"), 1)
        };
        let _consumers: Vec<Client> = (0..CLIENTS).map(consumer).collect();
        let stats = broker.request("GET", "/stats?format=json", b"").json();
        let topics = stats["topics"].as_array().unwrap();
        assert_eq!(topics.len(), TOPICS);
        let names: Vec<&str> = topics.iter().map(|t| t["topic_name"].as_str().unwrap()).collect();
        assert!(names.is_sorted(), "{names:?}");
        let channels: Vec<_> =
            topics.iter().flat_map(|topic| topic["channels"].as_array().unwrap()).collect();
        assert_eq!(channels.len(), TOPICS * CHANNELS);
        let clients = channels.iter().map(|channel| channel["clients"].as_array().unwrap().len());
        assert_eq!(clients.sum::<usize>(), CLIENTS);
        let page = Page::of(&broker, "");
        assert_eq!(page.value("nsq_metrics_series_left_out", &[]), 0.0);
        assert_eq!(page.sum("nsq_topic_channels") as usize, TOPICS * CHANNELS);
        assert_eq!(page.sum("nsq_topic_channel_clients") as usize, CLIENTS);
        let rows = TOPICS * (1 + CHANNELS);
        let parts = page.value("nsq_scrape_parts", &[]) as usize;
        assert!(parts >= rows.div_ceil(PART_ROWS_MAX), "{rows} rows in {parts} parts");
    });
}
