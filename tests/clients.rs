//! Real NSQ clients against the broker: each alone, and every one's producer with every consumer.
//!
//! The programs in `tests/clients/` publish and check a message plan that they share (see the
//! README there) and say in one line of JSON what they saw; the broker's own statistics have to
//! agree. `tests/clients/setup` installs the client libraries, which these tests need.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Broker, Exit, Peer, at_once, on_each_peer};
use crate::upgrade::{Authority, start};

/// After so long a client gives up by itself.
const DEADLINE_S: u64 = 90;

/// A client library, and how the program that drives it is started.
struct Library {
    language: &'static str,
    /// The library and its version, as `docs/CLIENTS.md` shows it.
    shown: &'static str,
    /// Relative to `tests/clients`.
    command: &'static [&'static str],
    /// What `setup` leaves behind, relative to `tests/clients`.
    built: &'static str,
    /// Tested only where its toolchain is installed.
    optional: bool,
    /// What it can put around its connections, in the order of [`LAYERS`].
    cells: [Cell; 6],
    /// What else is to be known.
    remark: &'static str,
}

/// Whether a library works with certain layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cell {
    /// It does.
    Works,
    /// With Shoal it does.
    OnlyShoal,
    /// It does not, with the original neither.
    Never,
}

use Cell::{Never, OnlyShoal, Works};

/// All that there is; the first is none.
const LAYERS: [&str; 6] = ["", "tls", "snappy", "deflate", "tls+snappy", "tls+deflate"];

const LIBRARIES: [Library; 6] = [
    Library {
        language: "go",
        shown: "go-nsq 1.1.0 (Go)",
        command: &["go/bin/client"],
        built: "go/bin/client",
        optional: false,
        cells: [Works; 6],
        remark: "",
    },
    Library {
        language: "python",
        shown: "pynsq 0.9.1 (Python)",
        command: &["python/.venv/bin/python", "python/client.py"],
        built: "python/.venv/.stamp",
        optional: false,
        cells: [Works, Works, Never, OnlyShoal, Never, OnlyShoal],
        remark: "With compression it takes part of a flush for an error. Shoal sends each flush in \
                 one piece, which is enough for deflate; a chunk of snappy that comes in two reads \
                 still breaks it.",
    },
    Library {
        language: "gnsq",
        shown: "gnsq 1.0.2 (Python 3.11)",
        command: &["gnsq/.venv/bin/python", "gnsq/client.py"],
        built: "gnsq/.venv/.stamp",
        optional: true,
        cells: [Works; 6],
        remark: "Its `Producer` breaks with any layer; `NsqdTCPClient` publishes through all.",
    },
    Library {
        language: "js",
        shown: "nsqjs 0.13.0 (JavaScript)",
        command: &["node", "js/client.js"],
        built: "js/node_modules/.stamp",
        optional: false,
        cells: [Works; 6],
        remark: "",
    },
    Library {
        language: "rust",
        shown: "tokio-nsq 0.14.0 (Rust)",
        command: &["rust/target/debug/shoal-client-tokio-nsq"],
        built: "rust/target/debug/shoal-client-tokio-nsq",
        optional: false,
        cells: [Works, Works, Works, Never, Works, Never],
        remark: "With deflate it panics.",
    },
    Library {
        language: "java",
        shown: "nsq-j 1.2 (Java)",
        command: &[
            "java",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=error",
            "-cp",
            "java/classes:java/lib/*",
            "Client",
        ],
        built: "java/classes/.stamp",
        optional: true,
        cells: [Works; 6],
        remark: "Snappy wants org.xerial.snappy:snappy-java beside it, and is slow.",
    },
];

/// The libraries that are installed; one that is missing without being optional fails the test.
fn libraries() -> Vec<&'static Library> {
    let mut found = Vec::new();
    for library in &LIBRARIES {
        if folder().join(library.built).exists() {
            found.push(library);
            continue;
        }
        let missing =
            format!("tests/clients/{} is missing: run tests/clients/setup", library.built);
        assert!(library.optional, "{missing}");
        eprintln!("{} is not tested: {missing}", library.language);
    }
    found
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients")
}

/// What a client is asked to do.
#[derive(Clone)]
struct Task {
    topic: String,
    topics: u64,
    messages: u64,
    requeue_every: u64,
    connections: u64,
    deadline_s: u64,
    layers: &'static str,
}

impl Task {
    fn new(topic: impl Into<String>) -> Self {
        Task {
            topic: topic.into(),
            topics: 1,
            messages: 2000,
            requeue_every: 7,
            connections: 1,
            deadline_s: DEADLINE_S,
            layers: "",
        }
    }

    /// Runs one client to its end.
    fn run(&self, library: &Library, mode: &str, broker: &Broker) -> Exit {
        let mut words = library.command.iter();
        let first = words.next().unwrap();
        let program = if first.contains('/') { folder().join(first) } else { first.into() };
        let mut command = Command::new(program);
        command.args(words).current_dir(folder());
        for (name, value) in self.options(mode, broker) {
            command.arg(format!("--{name}")).arg(value);
        }
        Broker::run(command, Duration::from_secs(self.deadline_s + 20))
    }

    fn options(&self, mode: &str, broker: &Broker) -> [(&'static str, String); 10] {
        [
            ("nsqd", broker.tcp.to_string()),
            ("topic", self.topic.clone()),
            ("topics", self.topics.to_string()),
            ("channel", "c".to_string()),
            ("messages", self.messages.to_string()),
            ("mode", mode.to_string()),
            ("requeue-every", self.requeue_every.to_string()),
            ("connections", self.connections.to_string()),
            ("deadline-s", self.deadline_s.to_string()),
            ("layers", self.layers.to_string()),
        ]
    }

    /// Runs one client, which has to find everything right.
    fn must(&self, library: &Library, mode: &str, broker: &Broker) {
        let exit = self.run(library, mode, broker);
        let who = format!("{} {mode} on {}", library.language, self.topic);
        assert!(exit.status.success(), "{who}: {}\n{}", exit.status, exit.output);
        let report = report(&exit);
        let published = if mode == "consume" { 0 } else { self.messages };
        assert_eq!(report["published"], published, "{who}: {report}");
        if mode != "produce" {
            let received = self.messages + self.requeues();
            assert_eq!(report["distinct"], self.messages, "{who}: {report}");
            assert_eq!(report["received"], received, "{who}: {report}");
            assert_eq!(report["requeued"], self.requeues(), "{who}: {report}");
            assert_eq!(report["corrupt"], 0, "{who}: {report}");
            assert_eq!(report["early"], 0, "{who}: {report}");
        }
    }

    fn requeues(&self) -> u64 {
        self.messages.div_ceil(self.requeue_every)
    }

    fn topic_names(&self) -> Vec<String> {
        match self.topics {
            1 => vec![self.topic.clone()],
            _ => (0..self.topics).map(|number| format!("{}{number}", self.topic)).collect(),
        }
    }

    /// The broker has to have seen what the clients saw, and to have nothing left over.
    fn check_statistics(&self, broker: &Broker) {
        let mut messages = 0;
        let mut requeues = 0;
        for topic in self.topic_names() {
            for field in ["depth", "in_flight_count", "deferred_count", "client_count"] {
                broker.await_channel(&topic, "c", field, 0);
            }
            let channel = broker.channel(&topic, "c");
            assert_eq!(channel["timeout_count"], 0, "{topic}: {channel}");
            messages += channel["message_count"].as_u64().unwrap();
            requeues += channel["requeue_count"].as_u64().unwrap();
        }
        assert_eq!(messages, self.messages, "messages in the statistics of {}", self.topic);
        assert_eq!(requeues, self.requeues(), "requeues in the statistics of {}", self.topic);
    }
}

/// The line that a client prints at its end.
fn report(exit: &Exit) -> Value {
    let line = exit.output.lines().find(|line| line.starts_with('{'));
    let line = line.unwrap_or_else(|| panic!("no report: {}", exit.output));
    serde_json::from_str(line).unwrap()
}

#[test]
fn each_client_alone() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        for library in libraries() {
            let task = Task::new(format!("alone_{}", library.language));
            task.must(library, "both", &broker);
            task.check_statistics(&broker);
        }
    });
}

/// With two shards the topics are on both, and every producer publishes to either.
#[test]
fn each_client_alone_over_many_topics_and_connections() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        for library in libraries() {
            let stem = format!("spread_{}_", library.language);
            let task = Task { topics: 8, connections: 3, ..Task::new(stem) };
            task.must(library, "both", &broker);
            task.check_statistics(&broker);
        }
    });
}

/// What was published before anybody listened is all there when a consumer comes.
#[test]
fn each_client_produces_first_and_consumes_later() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        for library in libraries() {
            let stem = format!("later_{}_", library.language);
            let task = Task { topics: 8, connections: 2, ..Task::new(stem) };
            task.must(library, "produce", &broker);
            task.must(library, "consume", &broker);
            task.check_statistics(&broker);
        }
    });
}

#[test]
fn every_producer_with_every_consumer() {
    for peer in Peer::all() {
        let broker = Broker::start(peer, &[]);
        for producer in libraries() {
            std::thread::scope(|scope| {
                for consumer in libraries() {
                    let broker = &broker;
                    scope.spawn(move || pair(producer, consumer, broker));
                }
            });
        }
    }
}

fn pair(producer: &Library, consumer: &Library, broker: &Broker) {
    let stem = format!("{}_to_{}_", producer.language, consumer.language);
    let task = Task { topics: 8, ..Task::new(stem) };
    at_once(&[&|| task.must(producer, "produce", broker), &|| {
        task.must(consumer, "consume", broker)
    }]);
    task.check_statistics(broker);
}

/// Each library through every layer that it can put around its connections, over topics on both
/// shards, from one byte to a megabyte: what `docs/CLIENTS.md` says.
#[test]
fn each_client_through_every_layer() {
    let authority = Authority::new();
    on_each_peer(|peer| {
        let broker = start(peer, &authority, &[]);
        std::thread::scope(|scope| {
            for library in libraries() {
                let broker = &broker;
                scope.spawn(move || {
                    for (layers, cell) in LAYERS.into_iter().zip(library.cells) {
                        if cell == Works || (cell == OnlyShoal && !peer.is_original()) {
                            through(library, layers, broker);
                        }
                    }
                });
            }
        });
    });
}

fn through(library: &Library, layers: &'static str, broker: &Broker) {
    let stem = format!("{}_{}_", library.language, layers.replace('+', "_"));
    let task = Task { topics: 4, messages: 400, layers, ..Task::new(stem) };
    task.must(library, "both", broker);
    task.check_statistics(broker);
}

/// The table for users is that of the tests. `SHOAL_WRITE_DOCS=1` writes it anew.
#[test]
fn the_documented_matrix_is_what_is_tested() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/CLIENTS.md");
    let wanted = matrix();
    if std::env::var_os("SHOAL_WRITE_DOCS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &wanted).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap();
    assert_eq!(found, wanted, "run this test with SHOAL_WRITE_DOCS=1");
    // What is called a version there is what is installed.
    for (shown, lock) in [
        ("go-nsq 1.1.0", ("go/go.mod", "go-nsq v1.1.0")),
        ("pynsq 0.9.1", ("python/requirements.txt", "pynsq==0.9.1")),
        ("gnsq 1.0.2", ("gnsq/requirements.txt", "gnsq==1.0.2")),
        ("nsqjs 0.13.0", ("js/package.json", "\"nsqjs\": \"0.13.0\"")),
        ("tokio-nsq 0.14.0", ("rust/Cargo.lock", "name = \"tokio-nsq\"\nversion = \"0.14.0\"")),
        ("nsq-j 1.2", ("java/pom.xml", "<artifactId>nsq-j</artifactId>\n      <version>1.2<")),
    ] {
        assert!(wanted.contains(shown), "{shown}");
        let text = std::fs::read_to_string(folder().join(lock.0)).unwrap();
        assert!(text.contains(lock.1), "{} does not lock {}", lock.0, lock.1);
    }
}

fn matrix() -> String {
    let mut text = String::from(
        "# Client libraries\n\n\
         What existing NSQ clients do with Shoal, unchanged. The tests run every cell: messages \
         from one byte to\n1 MiB by `PUB`, `MPUB` and `DPUB`, some of them requeued, over several \
         topics and shards; each has to come\nas often as it should, with its content. This file \
         is written by those tests, and compared by them.\n\n\
         | library | plain |",
    );
    for layers in &LAYERS[1..] {
        text.push_str(&format!(" {} |", layers.replace("tls", "TLS")));
    }
    text.push_str("\n|---|---|---|---|---|---|---|\n");
    let mut remarks = String::new();
    for library in &LIBRARIES {
        text.push_str(&format!("| {} |", library.shown));
        for cell in library.cells {
            text.push_str(match cell {
                Works => " yes |",
                OnlyShoal => " yes, unlike with nsqd |",
                Never => " no, as with nsqd |",
            });
        }
        text.push('\n');
        if !library.remark.is_empty() {
            remarks.push_str(&format!("- {}: {}\n", library.shown, library.remark));
        }
    }
    format!("{text}\n{remarks}")
}

/// The programs must notice what they are here to notice: a message that nobody planned.
#[test]
fn each_client_notices_a_damaged_message() {
    let broker = Broker::start(Peer::all()[0], &[]);
    for library in libraries() {
        let task = Task { messages: 100, ..Task::new(format!("damaged_{}", library.language)) };
        let reply = broker.request("POST", &format!("/pub?topic={}", task.topic), &[0; 40]);
        assert_eq!(reply.status, 200, "{reply:?}");
        let exit = task.run(library, "both", &broker);
        assert!(!exit.status.success(), "{}: {}", library.language, exit.output);
        let report = report(&exit);
        assert_eq!(report["corrupt"], 1, "{}: {report}", library.language);
        assert_eq!(report["distinct"], 100, "{}: {report}", library.language);
    }
}

/// The programs must notice what they are here to notice: a message that does not come.
#[test]
fn each_client_notices_a_missing_message() {
    let broker = Broker::start(Peer::all()[0], &[]);
    for library in libraries() {
        let topic = format!("missing_{}", library.language);
        let produced = Task { messages: 99, ..Task::new(topic.clone()) };
        produced.must(library, "produce", &broker);
        let expected = Task { messages: 100, deadline_s: 8, ..Task::new(topic) };
        let exit = expected.run(library, "consume", &broker);
        assert!(!exit.status.success(), "{}: {}", library.language, exit.output);
        let report = report(&exit);
        assert_eq!(report["distinct"], 99, "{}: {report}", library.language);
    }
}
