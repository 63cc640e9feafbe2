//! Connections come, move and go by the thousand; and what happens when there can be no more.

use std::time::{Duration, Instant};

use crate::harness::{
    Broker, Client, Peer, SOON, TempDir, bytes, cpu_ticks, eventually, fd_count, on_each_peer,
    on_each_shoal, publish, rss_bytes, ticks_per_second,
};

const BATCH: usize = 250;
const CONNECTIONS: usize = 10_000;

/// Ten thousand connections that publish to one topic and subscribe to another leave nothing.
#[test]
fn churn() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        broker.post("/topic/create?topic=from");
        let mut rss_early = 0;
        let mut fds_before = 0;
        for round in 0..CONNECTIONS / BATCH {
            batch(&broker, round);
            if round == 4 {
                eventually("the first are gone", SOON, || no_clients(&broker));
                rss_early = rss_bytes(broker.pid());
                fds_before = fd_count(broker.pid());
            }
        }
        eventually("all are gone", SOON, || no_clients(&broker));
        let what = format!("file descriptors are back at {fds_before}");
        eventually(&what, SOON, || fd_count(broker.pid()) <= fds_before + 4);
        assert_eq!(broker.topic("from")["message_count"], CONNECTIONS);
        // The messages themselves are small change beside what a leaked connection would keep.
        let grown = rss_bytes(broker.pid()).saturating_sub(rss_early);
        assert!(grown < 48 << 20, "{grown} bytes more than after {} connections", BATCH * 5);
    });
}

/// Publish, move, subscribe; a third of them ends in the middle of something.
fn batch(broker: &Broker, round: usize) {
    let mut clients: Vec<Client> = (0..BATCH).map(|_| Client::new(broker)).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(&publish("from", b"x"));
        client.command(&format!("SUB to-{} c", (round + number) % 16));
    }
    for client in &mut clients {
        client.ok();
        client.ok();
    }
    for client in clients.iter_mut().step_by(3) {
        client.send(&bytes("PUB from\n<00000005>xx"));
    }
}

fn no_clients(broker: &Broker) -> bool {
    let stats = broker.request("GET", "/stats?format=json&include_mem=0", b"").json();
    let topics = stats["topics"].as_array().unwrap();
    let channels = topics.iter().flat_map(|topic| topic["channels"].as_array().unwrap());
    channels.into_iter().all(|channel| channel["client_count"] == 0)
}

/// Without a greeting a connection is closed in time; with one it stays.
#[test]
fn greeting_timeout() {
    on_each_shoal("the original waits for the magic for ever", |peer| {
        let broker = Broker::start(peer, &["--greeting-timeout=1s"]);
        let start = Instant::now();
        let mut mute = Client::bare(broker.tcp);
        let mut partial = Client::bare(broker.tcp);
        partial.send(b"  V");
        let mut greeted = Client::new(&broker);
        for client in [&mut mute, &mut partial] {
            assert_eq!(client.next(SOON), Err(crate::harness::End::Closed));
            let elapsed = start.elapsed();
            assert!(elapsed >= Duration::from_millis(990), "closed after {elapsed:?}");
            assert!(elapsed < Duration::from_secs(6), "closed after {elapsed:?}");
        }
        greeted.silent(Duration::from_secs(2));
        greeted.alive();
    });
}

fn with_few_fds(peer: Peer, limit: u32) -> Broker {
    let dir = TempDir::new();
    let command = Broker::command(peer, &[], &dir);
    let mut shell = std::process::Command::new("sh");
    shell.arg("-c").arg(format!("ulimit -n {limit}; exec \"$@\"")).arg("sh");
    shell.arg(command.get_program()).args(command.get_args());
    Broker::spawn(shell, dir.into())
}

/// Out of file descriptors: who is connected is served, nobody spins, and it gets better.
#[test]
fn out_of_file_descriptors() {
    on_each_shoal("the original retries its accept without a pause", |peer| {
        let broker = with_few_fds(peer, 160);
        let mut served = Client::consumer(&broker, "t", "c", 5);
        // What the journal needs is there when the crowd comes.
        served.publish("t", b"first");
        let id = served.delivery("first", 1);
        served.fin(&id);
        let crowd: Vec<Client> = (0..300).map(|_| Client::bare(broker.tcp)).collect();
        std::thread::sleep(Duration::from_secs(1));
        let before = cpu_ticks(broker.pid());
        std::thread::sleep(Duration::from_secs(2));
        let used = cpu_ticks(broker.pid()) - before;
        assert!(used < ticks_per_second() / 2, "{used} ticks in two seconds of waiting");
        for number in 0..20 {
            served.publish("t", number.to_string().as_bytes());
            let id = served.delivery(&number.to_string(), 1);
            served.fin(&id);
        }
        drop(crowd);
        eventually("new connections are served", SOON, || {
            let mut client = Client::new(&broker);
            client.try_send(&publish("t", b"after")) && client.next(Duration::from_secs(2)).is_ok()
        });
        assert_eq!(broker.request("GET", "/ping", b"").text(), "OK");
    });
}
