//! The tools that come with the broker, against it.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc;

use crate::harness::{Broker, Client, SOON, on_each_shoal, program};

/// `nsq_tail` prints what is published, one message a line.
#[test]
fn nsq_tail() {
    on_each_shoal("the original's tools are programs of their own", |peer| {
        let broker = Broker::start(peer, &[]);
        let mut tail = Command::new(program(peer))
            .args(["nsq_tail", "--topic=t", "--channel=tail"])
            .arg(format!("--nsqd-tcp-address={}", broker.tcp))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        broker.await_channel("t", "tail", "client_count", 1);
        let (lines, printed) = mpsc::channel();
        let stdout = tail.stdout.take().unwrap();
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                // The receiver is gone once the test has seen enough.
                let _ = lines.send(line);
            }
        });
        let mut producer = Client::new(&broker);
        for body in ["one", "two", "three"] {
            producer.publish("t", body.as_bytes());
        }
        let got: Vec<_> = (0..3).map_while(|_| printed.recv_timeout(SOON).ok()).collect();
        // It finishes messages only after it has printed them.
        broker.await_channel("t", "tail", "in_flight_count", 0);
        tail.kill().unwrap();
        tail.wait().unwrap();
        reader.join().unwrap();
        assert_eq!(got, ["one", "two", "three"]);
        assert_eq!(broker.channel("t", "tail")["depth"], 0);
    });
}
