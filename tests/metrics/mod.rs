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
    // Everything that operators may ask for is asked for.
    let bounds = "max_messages=1000&max_bytes=1GB&max_age=24h";
    broker.post(&format!("/topic/config?topic=t&{bounds}"));
    let more = "max_attempts=5&dead_letter_topic=dead&on_full=dead-letter";
    broker.post(&format!("/channel/config?topic=t&channel=c&{bounds}&{more}"));
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

/// Bounds, how near they are, and what was given up for which reason.
#[test]
fn bounds_and_what_came_of_them() {
    on_each_shoal(ONLY_OURS, |peer| {
        let broker = Broker::start(peer, &["--min-free-disk=4KB"]);
        for channel in ["drops", "buries", "spends", "free"] {
            broker.post("/topic/create?topic=t");
            broker.post(&format!("/channel/create?topic=t&channel={channel}"));
        }
        broker.post("/topic/config?topic=t&max_bytes=1MB");
        for (channel, settings) in [
            ("drops", "max_messages=4&max_age=1h&on_full=drop-oldest"),
            ("buries", "max_messages=2&on_full=dead-letter&dead_letter_topic=dead"),
            ("spends", "max_attempts=1&dead_letter_topic=dead"),
        ] {
            broker.post(&format!("/channel/config?topic=t&channel={channel}&{settings}"));
        }
        let mut producer = Client::new(&broker);
        for _ in 0..5 {
            producer.publish("t", &[b'x'; 100]);
        }
        let mut consumer = Client::consumer(&broker, "t", "spends", 1);
        let message = consumer.message();
        consumer.command("RDY 0");
        consumer.req(&message.id, 0);
        broker.await_channel("t", "spends", "dead_letter_count", 1);
        broker.await_channel("t", "buries", "dead_letter_count", 3);
        let page = Page::of(&broker, "");
        let of = |name: &str, channel: &str, reason: Option<&str>| {
            let mut labels = vec![("topic", "t"), ("channel", channel)];
            labels.extend(reason.map(|reason| ("reason", reason)));
            page.find(&format!("nsq_topic_channel_{name}"), &labels)
        };
        let dropped = |channel, reason| of("dropped_total", channel, Some(reason));
        let dead = |channel, reason| of("dead_letters_total", channel, Some(reason));
        assert_eq!((dropped("drops", "full"), dropped("drops", "age")), (Some(1.0), Some(0.0)));
        assert_eq!((dead("buries", "full"), dead("buries", "attempts")), (Some(3.0), Some(0.0)));
        assert_eq!(dead("spends", "attempts"), Some(1.0));
        assert_eq!(of("dead_lettering", "spends", None), Some(0.0));
        assert_eq!(of("max_messages", "drops", None), Some(4.0));
        assert_eq!(of("max_age_seconds", "drops", None), Some(3600.0));
        assert_eq!(of("max_bytes", "drops", None), None, "what is not set is not told");
        assert_eq!(of("bound_used_ratio", "drops", None), Some(1.0));
        let used = of("bound_used_ratio", "free", None).unwrap();
        assert!(used > 0.0 && used < 0.01, "its topic's bound, of 5 messages: {used}");
        assert_eq!(page.value("nsq_topic_max_bytes", &[("topic", "t")]), 1024.0 * 1024.0);
        assert_eq!(page.value("nsq_data_path_free_bytes_min", &[]), 4096.0);
        assert!(of("dead_letters_total", "none", None).is_none());
        broker.post("/channel/redrive?topic=dead&channel=r&rate=1000");
        eventually("it is back", SOON, || {
            let page = Page::of(&broker, "");
            let back = |channel: &str| {
                let labels = [("topic", "t"), ("channel", channel)];
                page.value("nsq_topic_channel_redriven_total", &labels)
            };
            back("spends") == 1.0 && back("drops") == 0.0
        });
        broker.post("/topic/create?topic=plain");
        broker.post("/channel/create?topic=plain&channel=c");
        let page = Page::of(&broker, "");
        let plain = [("topic", "plain"), ("channel", "c"), ("reason", "full")];
        assert_eq!(page.find("nsq_topic_channel_dropped_total", &plain), None, "it has no series");
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
        let most = format!("--metrics-max-series={bound}");
        // With bounds there is more to tell of each.
        let bounds = ["--topic-max-bytes=1GB", "--channel-max-messages=9", "--channel-max-age=1h"];
        let broker = Broker::start(peer, &[&[most.as_str()][..], &bounds].concat());
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

/// Requests of HTTP by what they are about, and how long publishes take, of each shard.
#[test]
fn requests_and_publishes_are_measured() {
    on_each_shoal(ONLY_OURS, |peer| {
        for durability in ["memory", "written", "synced"] {
            let broker = Broker::start(peer, &[&format!("--durability={durability}")]);
            let mut client = Client::new(&broker);
            for _ in 0..10 {
                client.publish("t", b"x");
            }
            for _ in 0..5 {
                assert_eq!(broker.request("POST", "/pub?topic=t", b"x").status, 200);
            }
            assert_eq!(broker.request("POST", "/mpub?topic=t", b"x\ny").status, 200);
            assert_eq!(broker.request("POST", "/pub?topic=t", b"").status, 400);
            assert_eq!(broker.request("GET", "/nowhere", b"").status, 404);
            broker.post("/channel/create?topic=t&channel=c");
            let page = Page::of(&broker, "");
            let count = |class, code| {
                page.value("nsq_http_requests_total", &[("class", class), ("code", code)])
            };
            assert_eq!((count("publish", "200"), count("publish", "400")), (6.0, 1.0));
            assert_eq!((count("other", "404"), count("manage", "200")), (1.0, 1.0));
            let publishes = "nsq_publish_duration_seconds";
            assert_eq!(page.sum(&format!("{publishes}_count")), 16.0, "{durability}");
            let seconds = page.sum(&format!("{publishes}_sum"));
            assert!(seconds > 0.0 && seconds < 16.0 * 30.0, "{durability}: {seconds}");
            let median = page
                .text
                .lines()
                .filter(|line| line.starts_with(publishes) && line.contains("quantile=\"0.5\""));
            let medians: Vec<f64> =
                median.map(|line| line.rsplit_once(' ').unwrap().1.parse().unwrap()).collect();
            assert!(medians.iter().any(|&seconds| seconds > 0.0), "{medians:?}");
            assert_eq!(page.value("nsq_transfers", &[]), 0.0);
            assert_eq!(page.value("nsq_transfers_waiting", &[]), 0.0);
        }
    });
}
