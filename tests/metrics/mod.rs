//! `/metrics` of nsqd: a sound page, the same numbers as everywhere else, and bounds.

mod dashboards;
mod load;
mod page;
mod shape;

use serde_json::Value;

use crate::harness::{
    Broker, Client, Peer, SOON, eventually, identify, lasting_address, on_each_shoal,
};
use page::{Page, ask_promtool, promtool};

const ONLY_OURS: &str = "the original has no /metrics";

/// A broker with everything that is measured, a consumer with a message in flight, and a producer.
fn busy_broker(peer: Peer, flags: &[&str]) -> (Broker, [Client; 2]) {
    let mut all = vec!["--e2e-processing-latency-percentile=0.99,0.5"];
    all.extend(flags);
    let broker = Broker::start(peer, &all);
    let mut producer = Client::new(&broker);
    producer.send(&identify(r#"{"client_id":"p","hostname":"h\"\\\n","user_agent":"ü"}"#));
    producer.ok();
    for body in ["1", "22", "333"] {
        producer.publish("t", body.as_bytes());
    }
    let mut consumer = Client::consumer(&broker, "t", "c", 2);
    let (first, _) = (consumer.message(), consumer.message());
    consumer.fin(&first.id);
    broker.post("/topic/create?topic=e%23ephemeral");
    broker.await_channel("t", "c", "in_flight_count", 2);
    (broker, [producer, consumer])
}

#[test]
fn a_page_is_sound_with_every_detail() {
    on_each_shoal(ONLY_OURS, |peer| {
        let (broker, _clients) = busy_broker(peer, &["--metrics-legacy-names"]);
        for query in ["", "?detail=clients", "?detail=shards", "?detail=clients,shards"] {
            let page = Page::of(&broker, query);
            assert_eq!(page.value("nsq_metrics_series", &[]) as usize, page.series(), "{query}");
            assert_eq!(page.value("nsq_scrape_shards_missing", &[]), 0.0);
            if let Some(tool) = promtool() {
                // It also has opinions on names, which exit with another code.
                let said = ask_promtool(&tool, &["check", "metrics"], &page.text);
                let problem = said.err().filter(|said| said.contains("error while linting"));
                assert_eq!(problem, None);
            }
        }
    });
}

#[test]
fn numbers_of_topics_channels_and_clients() {
    on_each_shoal(ONLY_OURS, |peer| {
        let (broker, _clients) = busy_broker(peer, &["--metrics-legacy-names"]);
        let page = Page::of(&broker, "?detail=clients");
        let topic = |name: &str| page.value(&format!("nsq_topic_{name}"), &[("topic", "t")]);
        assert_eq!((topic("depth"), topic("paused"), topic("channels")), (0.0, 0.0, 1.0));
        assert_eq!((topic("messages_total"), topic("message_bytes_total")), (3.0, 6.0));
        assert_eq!((topic("message_count"), topic("message_bytes")), (3.0, 6.0));
        let labels = [("topic", "t"), ("channel", "c")];
        let channel = |name: &str| page.value(&format!("nsq_topic_channel_{name}"), &labels);
        assert_eq!(
            (channel("depth"), channel("in_flight_count"), channel("clients")),
            (0.0, 2.0, 1.0)
        );
        assert_eq!((channel("messages_total"), channel("finishes_total")), (3.0, 1.0));
        assert_eq!((channel("requeues_total"), channel("timeouts_total")), (0.0, 0.0));
        for name in ["e2e_processing_latency_seconds", "processing_seconds"] {
            let line = format!("nsq_topic_channel_{name}_count{{topic=\"t\",channel=\"c\"}} 1\n");
            assert!(page.text.contains(&line), "{line}");
        }
        assert_eq!(page.sum("nsq_client_finishes_total"), 1.0);
        assert_eq!(page.sum("nsq_client_published_total"), 3.0);
        let kinds = ["producer", "consumer"];
        let kinds = kinds.map(|kind| page.value("nsq_client_connections", &[("kind", kind)]));
        assert_eq!(kinds, [1.0, 1.0]);
        assert!(page.text.contains(r#"hostname="h\"\\\n""#), "labels are escaped");
        assert!(page.find("nsq_topic_depth", &[("topic", "e#ephemeral")]).is_some());
    });
}

/// Errors that clients are told are counted by their codes.
#[test]
fn errors_are_counted() {
    on_each_shoal(ONLY_OURS, |peer| {
        let broker = Broker::start(peer, &[]);
        for line in ["NONSENSE", "SUB t", "RDY 1", "FIN 0123456789abcdef"] {
            let mut client = Client::new(&broker);
            client.command(line);
            client.frame();
        }
        let mut consumer = Client::consumer(&broker, "t", "c", 1);
        consumer.command("FIN 0123456789abcdef");
        consumer.frame();
        let page = Page::of(&broker, "");
        let count = |code| page.value("nsq_client_errors_total", &[("code", code)]);
        assert_eq!(count("E_FIN_FAILED"), 1.0);
        assert!(count("E_INVALID") >= 3.0, "{}", count("E_INVALID"));
        assert_eq!(page.value("nsq_client_connections_total", &[]), 5.0);
    });
}

/// Beyond the bound whole topics are left out, and it is said how much that is.
#[test]
fn series_are_bounded() {
    on_each_shoal(ONLY_OURS, |peer| {
        let bound = 600;
        let broker = Broker::start(peer, &[&format!("--metrics-max-series={bound}")]);
        for number in 0..60 {
            broker.post(&format!("/topic/create?topic=t{number:02}"));
            broker.post(&format!("/channel/create?topic=t{number:02}&channel=c"));
        }
        let page = Page::of(&broker, "");
        // The page tells of itself, too.
        assert!(page.series() < bound + 20, "{} series", page.series());
        let left_out = page.value("nsq_metrics_series_left_out", &[]);
        assert!(left_out > 0.0);
        let depths = page.text.matches("\nnsq_topic_depth{").count();
        assert!((1..60).contains(&depths), "{depths} topics");
        assert_eq!(page.text.matches("\nnsq_topic_channel_finishes_total{").count(), depths);
        let each = (page.text.lines().filter(|line| line.contains("topic=\"t00\""))).count();
        assert_eq!(left_out as usize, (60 - depths) * each);
        assert_eq!(page.value("nsq_topics", &[]), 60.0, "that many there are");
    });
}

/// What else runs in the process is told as well: nsqlookupd, and what the pages of nsqadmin show.
#[test]
fn the_process_as_a_whole() {
    on_each_shoal(ONLY_OURS, |peer| {
        let [tcp, http, admin] = [(); 3].map(|()| lasting_address().to_string());
        let (broker, _clients) = busy_broker(
            peer,
            &[
                "--with-lookupd",
                &format!("--with-lookupd-tcp-address={tcp}"),
                &format!("--with-lookupd-http-address={http}"),
                "--with-admin",
                &format!("--with-admin-http-address={admin}"),
            ],
        );
        eventually("the broker is registered", SOON, || {
            Page::of(&broker, "").find("nsqlookupd_topics", &[]).is_some_and(|topics| topics >= 1.0)
        });
        let page = Page::of(&broker, "");
        assert_eq!(page.value("nsq_lookupd_up", &[("lookupd", &tcp)]), 1.0);
        assert!(page.value("nsq_lookupd_connects_total", &[]) >= 1.0);
        assert!(page.value("process_resident_memory_bytes", &[]) > 1e6);
        let (free, size) = (
            page.value("nsq_data_path_free_bytes", &[]),
            page.value("nsq_data_path_size_bytes", &[]),
        );
        assert!(0.0 < free && free < size);
        let ask = |path: &str| -> Value {
            crate::harness::request(admin.parse().unwrap(), "GET", path, b"").json()
        };
        let health = ask("/api/health");
        assert_eq!(health["nodes"][0]["data_path_size_bytes"].as_f64(), Some(size), "{health}");
        let topic = ask("/api/topics/t");
        let latency = &topic["channels"][0]["e2e_processing_latency"];
        assert_eq!(latency["count"], 1, "{topic}");
        assert_eq!(latency["percentiles"][0]["quantile"], 0.99, "{topic}");
        assert!(latency["percentiles"][0]["max"].as_f64() > Some(0.0), "{topic}");
    });
}
