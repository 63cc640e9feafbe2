//! `--memory-limit`: what may not go to the disk is refused at the limit, and served again when
//! there is room.

use crate::harness::{Broker, Client, Frame, SOON, eventually, mpub, on_each_shoal, publish};

const LIMIT: usize = 32 << 20;
const TOPIC: &str = "t#ephemeral";
const BODY: usize = 64 << 10;

/// Publishes until the broker refuses; gives how many messages it took.
fn fill(broker: &Broker, body: &[u8]) -> usize {
    let mut client = Client::new(broker);
    for taken in 0..4 * LIMIT / BODY {
        client.send(&publish(TOPIC, body));
        match client.frame() {
            Frame::Response(ok) => assert_eq!(ok, b"OK"),
            frame => {
                assert!(frame.describe().starts_with("error: E_PUB_FAILED PUB failed "));
                client.closed();
                return taken;
            }
        }
    }
    panic!("took four times its memory limit");
}

#[test]
fn refuses_and_recovers() {
    on_each_shoal("the original has no limit on memory", |peer| {
        let broker =
            Broker::start(peer, &[&format!("--memory-limit={LIMIT}"), "--mem-queue-size=100000"]);
        // A channel is there, so that the backlog is its own.
        let mut consumer = Client::consumer(&broker, TOPIC, "c", 0);
        let body = vec![b'x'; BODY];
        let taken = fill(&broker, &body);
        assert!(taken * BODY >= LIMIT / 4, "refused after {taken} messages");
        let reply = broker.request("POST", "/pub?topic=t%23ephemeral", &body);
        assert_eq!(reply.status, 503, "{reply:?}");
        let batch = vec![&body[..]; 16];
        let mut client = Client::new(&broker);
        client.send(&mpub(TOPIC, &batch));
        let answer = client.frame().describe();
        assert!(answer.starts_with("error: E_MPUB_FAILED MPUB failed "), "{answer}");
        client.closed();
        consumer.command("RDY 100");
        for number in 0..taken {
            let message = consumer.message();
            assert!(message.body == body, "message {number} differs");
            consumer.fin(&message.id);
        }
        eventually("publishing works again", SOON, || {
            broker.request("POST", "/pub?topic=t%23ephemeral", &body).status == 200
        });
        Client::new(&broker).publish(TOPIC, &body);
        assert_eq!(broker.request("GET", "/ping", b"").text(), "OK");
    });
}
