//! A data path that the original nsqd has left: Shoal goes on with it, and `shoal export` writes
//! one for the way back.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::harness::{
    Broker, Client, Exit, Peer, SOON, TempDir, on_each_peer, on_each_shoal, program,
};

/// What the log says when a takeover is over.
const TAKEN_OVER: &str = "TAKEOVER: 135 messages taken over";
/// Long enough for what should not be there to come.
const QUIET: Duration = Duration::from_millis(200);

/// Attempts and body of each message, by `topic:channel`.
type Content = BTreeMap<String, Vec<(u16, Vec<u8>)>>;

/// A copy of what the original wrote: a topic with two channels, one of them paused and the other
/// half consumed; topics without channels; a paused topic that has messages, and its channel too.
fn left_by_the_original() -> Arc<TempDir> {
    let dir = TempDir::new();
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/nsq-data");
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
    }
    Arc::new(dir)
}

fn order(number: usize) -> Vec<u8> {
    let mut body = format!("order {number:03} ").into_bytes();
    body.extend((0..40 + number).map(|at| ((number * 7 + at) % 256) as u8));
    body
}

fn event(number: usize) -> Vec<u8> {
    (0..1 + number * 11).map(|at| ((number + at * 3) % 256) as u8).collect()
}

/// What is in it, as it is delivered.
fn wanted() -> Content {
    let again = [3, 4, 20, 21, 22, 23, 24].map(|number| (2, order(number)));
    let new = |bodies: Vec<Vec<u8>>| bodies.into_iter().map(|body| (1, body)).collect::<Vec<_>>();
    let of = |name: &str, mut messages: Vec<(u16, Vec<u8>)>| {
        messages.sort();
        (name.to_string(), messages)
    };
    let nobody = |number| [format!("n{number}\n\0").as_bytes(), b"\xff"].concat();
    let halted = [&b"before the pause"[..], b"after it", b"and more"];
    BTreeMap::from([
        of("orders:archive", new((0..60).map(order).collect())),
        of("orders:billing", again.into_iter().chain(new((25..60).map(order).collect())).collect()),
        of("events.v1.raw:first", new((0..25).map(event).collect())),
        of("nobody:first", new((0..5).map(nobody).collect())),
        of("halted:c", new(halted.map(<[u8]>::to_vec).to_vec())),
    ])
}

/// Lets everything flow and waits for as many messages as are wanted; what else comes is among
/// the answer. They are finished, or left where they are.
fn delivered(broker: &Broker, wanted: &Content, finish: bool) -> Content {
    broker.post("/channel/unpause?topic=orders&channel=archive");
    broker.post("/topic/unpause?topic=halted");
    let take = |name: &String, count: usize| {
        let (topic, channel) = name.split_once(':').unwrap();
        let mut client = Client::consumer(broker, topic, channel, 200);
        let mut messages: Vec<_> = (0..count).map(|_| client.message()).collect();
        messages.extend(client.drain(QUIET));
        if finish {
            messages.iter().for_each(|message| client.fin(&message.id));
            broker.await_channel(topic, channel, "in_flight_count", 0);
        }
        let mut messages: Vec<_> =
            messages.into_iter().map(|message| (message.attempts, message.body)).collect();
        messages.sort();
        messages
    };
    wanted.iter().map(|(name, messages)| (name.clone(), take(name, messages.len()))).collect()
}

fn assert_all_delivered(broker: &Broker, finish: bool, when: &str) {
    assert_eq!(delivered(broker, &wanted(), finish), wanted(), "{when}");
}

fn backups(dir: &TempDir) -> Vec<Vec<String>> {
    let names = |path: &Path| -> Vec<String> {
        let entries = fs::read_dir(path).unwrap().map(Result::unwrap);
        entries.map(|entry| entry.file_name().into_string().unwrap()).collect()
    };
    let all = names(dir.path());
    let backups = all.iter().filter(|name| name.starts_with("nsq-backup-"));
    backups.map(|name| names(&dir.path().join(name))).collect()
}

/// Every message comes to whom it belongs, with its attempts.
#[test]
fn everything_is_delivered() {
    on_each_peer(|peer| {
        let broker = Broker::start_in(peer, &[], left_by_the_original());
        assert_all_delivered(&broker, true, "at once");
    });
}

/// It is taken over once: the next start goes on with what is ours.
#[test]
fn a_second_start() {
    on_each_shoal("the original has nothing to take over", |peer| {
        let broker = Broker::start_in(peer, &[], left_by_the_original());
        assert_eq!(broker.log_count(TAKEN_OVER), 1);
        let dir = broker.stop();
        let [backup] = &backups(&dir)[..] else { panic!("{:?}", backups(&dir)) };
        assert_eq!(backup.len(), 26, "{backup:?}");
        let broker = Broker::start_in(peer, &[], dir);
        assert_eq!(broker.log_count("TAKEOVER"), 0);
        assert_all_delivered(&broker, true, "after a restart");
        let broker = Broker::start_in(peer, &[], broker.stop());
        let mut nothing = wanted();
        nothing.values_mut().for_each(Vec::clear);
        assert_eq!(delivered(&broker, &nothing, true), nothing);
    });
}

/// However early the process is killed, the next one has every message once.
#[test]
fn killed_while_it_takes_over() {
    on_each_shoal("the original has nothing to take over", |peer| {
        for delay_ms in [2, 5, 8, 11, 14, 17, 20, 25, 30, 40] {
            let dir = left_by_the_original();
            let mut command = Broker::command(peer, &[], &dir);
            let mut child = command.stderr(Stdio::null()).spawn().unwrap();
            thread::sleep(Duration::from_millis(delay_ms));
            child.kill().unwrap();
            child.wait().unwrap();
            let broker = Broker::start_in(peer, &[], dir.clone());
            assert_all_delivered(&broker, false, &format!("killed after {delay_ms} ms"));
            assert_eq!(backups(&dir).len(), 1, "after {delay_ms} ms");
        }
    });
}

fn export(peer: Peer, from: &Path, to: &Path) -> Exit {
    let mut command = Command::new(program(peer));
    command.arg("export").arg("--data-path").arg(from).arg("--to").arg(to);
    Broker::run(command, SOON)
}

/// There and back again: the original, where it is given, or else Shoal once more.
#[test]
fn an_export() {
    let peers = Peer::all();
    if !Peer::shoal_is_built() {
        eprintln!("needs the built broker");
        return;
    }
    let shoal = Peer::Shoal { shards: 2 };
    for peer in peers {
        let dir = Broker::start_in(shoal, &[], left_by_the_original()).stop();
        let exported = TempDir::new();
        let exit = export(shoal, dir.path(), exported.path());
        assert_eq!(exit.status.code(), Some(0), "{}", exit.output);
        let line = "135 messages in 9 queues of 5 topics: ";
        assert!(exit.output.starts_with(line), "{}", exit.output);
        let broker = Broker::start_in(peer, &[], Arc::new(exported));
        assert_all_delivered(&broker, true, "where it was exported to");
        // Nothing was taken from where it came.
        let broker = Broker::start_in(shoal, &[], dir);
        assert_all_delivered(&broker, true, "where it came from");
    }
}

/// What an export cannot do is said, with what helps, and changes nothing.
#[test]
fn an_export_that_is_refused() {
    on_each_shoal("the original cannot export", |peer| {
        let broker = Broker::start_in(peer, &[], left_by_the_original());
        let to = TempDir::new();
        let exit = export(peer, broker.dir().path(), to.path());
        assert_eq!(exit.status.code(), Some(1), "{}", exit.output);
        assert!(exit.output.contains("the broker has to be stopped"), "{}", exit.output);
        let dir = broker.stop();
        fs::write(to.path().join("file"), "x").unwrap();
        let exit = export(peer, dir.path(), to.path());
        assert_eq!(exit.status.code(), Some(1), "{}", exit.output);
        assert!(exit.output.contains("--to needs an empty directory"), "{}", exit.output);
        let exit = export(peer, left_by_the_original().path(), &to.path().join("new"));
        assert_eq!(exit.status.code(), Some(1), "{}", exit.output);
        assert!(exit.output.contains("start nsqd on it once"), "{}", exit.output);
        assert_eq!(fs::read_dir(to.path()).unwrap().count(), 1);

        let run = |arguments: &[&str]| {
            let mut command = Command::new(program(peer));
            command.arg("export").args(arguments);
            let exit = Broker::run(command, SOON);
            (exit.status.code(), exit.output)
        };
        let (code, output) = run(&["--data-path=x"]);
        assert_eq!(code, Some(2));
        assert!(output.contains("--to required"), "{output}");
        let (code, output) = run(&["--help"]);
        assert_eq!(code, Some(0));
        assert!(output.contains("--max-bytes-per-file"), "{output}");
    });
}
