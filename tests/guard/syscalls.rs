//! System calls for a thousand messages: a turn reads, appends and sends once, however many
//! messages came in it.
//!
//! The broker runs under `strace -c`, twice: with so many batches, and with three times as many.
//! The difference is what batches cost, without start and stop. Threads that look around now and
//! then are in it, too, which is why it is bounded and not compared.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use crate::harness::{Broker, Client, Peer, SOON, TempDir, mpub, publish};

/// Batches of the first run; the second has three times as many.
const BATCHES: usize = 100;

/// The same for a first look.
const GLANCE: usize = 3;

/// How often it is measured before it counts as too much.
const ATTEMPTS: usize = 3;

/// Messages in a batch, all of them in one write. They are short, so that they arrive together.
const MESSAGES: usize = 1000;

const BODY: &[u8] = b"0123456789";

/// Bytes of a message frame with that body, and where in it the id is.
const FRAME: usize = 34 + BODY.len();
const ID: std::ops::Range<usize> = 18..34;

const OK: &[u8] = b"\0\0\0\x06\0\0\0\0OK";

/// How often each system call was made.
type Calls = BTreeMap<String, usize>;

/// A broker that is traced; nothing is left of it.
struct Traced {
    broker: Broker,
    dir: Arc<TempDir>,
    pid: i32,
}

impl Traced {
    /// The tracer is its parent, which needs no permission, and takes it along when it is killed.
    fn start(durability: &str) -> Traced {
        let dir = Arc::new(TempDir::new());
        let flags = [&format!("--durability={durability}")[..]];
        let plain = Broker::command(Peer::Shoal { shards: 1 }, &flags, &dir);
        let mut command = strace(&dir.path().join("calls"));
        command.args(["setpriv", "--pdeathsig=KILL", "--"]);
        command.arg(plain.get_program()).args(plain.get_args());
        let broker = Broker::spawn(command, dir.clone());
        let tracer = broker.pid();
        let children = fs::read_to_string(format!("/proc/{tracer}/task/{tracer}/children"));
        let pid = children.unwrap().trim().parse().expect("strace has one child");
        Traced { broker, dir, pid }
    }

    fn signal(&self, signal: i32) {
        // SAFETY: the tracer, which is our child, has not been waited for, so the pid is the
        // broker's or, if that has ended, nobody's.
        unsafe { libc::kill(self.pid, signal) };
    }

    /// Ends it and reads what it did.
    fn stop(mut self) -> Calls {
        self.signal(libc::SIGTERM);
        let status = self.broker.wait(2 * SOON);
        assert_eq!(status.code(), Some(0), "{status:?}");
        read(&fs::read_to_string(self.dir.path().join("calls")).unwrap())
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.signal(libc::SIGKILL);
        }
    }
}

fn strace(into: &Path) -> Command {
    let mut command = Command::new("strace");
    command.args(["-f", "-c", "-o"]).arg(into);
    command
}

/// The table: its last column names the call, its fourth has how often it was made.
fn read(table: &str) -> Calls {
    let row = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let calls = fields.get(3)?.parse().ok()?;
        fields.last().filter(|name| **name != "total").map(|name| (name.to_string(), calls))
    };
    table.lines().filter_map(row).collect()
}

/// Why nothing can be traced here.
fn obstacle() -> Option<String> {
    let dir = TempDir::new();
    let mut command = strace(&dir.path().join("calls"));
    match command.arg("true").stdin(Stdio::null()).output() {
        Err(error) => Some(format!("strace: {error}")),
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_string()),
    }
}

/// Says so on standard error itself: the harness keeps what passing tests print.
fn skipped(reason: &str) {
    let line = format!("skipped: system calls for a thousand messages: {reason}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

/// A thousand PUBs in one write, then their thousand answers.
fn publishes(broker: &Broker, batches: usize) {
    let mut producer = Client::new(broker);
    let (batch, answers) = (publish("t", BODY).repeat(MESSAGES), OK.repeat(MESSAGES));
    for _ in 0..batches {
        producer.send(&batch);
        assert_eq!(producer.raw(answers.len()), answers);
    }
}

/// A thousand messages in one MPUB, delivered, and finished in one write.
fn flow(broker: &Broker, batches: usize) {
    let mut consumer = Client::consumer(broker, "t", "c", 2500);
    let mut producer = Client::new(broker);
    let batch = mpub("t", &[BODY; MESSAGES]);
    for _ in 0..batches {
        producer.send(&batch);
        assert_eq!(producer.raw(OK.len()), OK);
        let frames = consumer.raw(FRAME * MESSAGES);
        let mut answers = Vec::new();
        for frame in frames.chunks(FRAME) {
            assert_eq!(&frame[34..], BODY);
            answers.extend_from_slice(b"FIN ");
            answers.extend_from_slice(&frame[ID]);
            answers.push(b'\n');
        }
        consumer.send(&answers);
    }
    broker.await_channel("t", "c", "in_flight_count", 0);
}

/// What one batch costs, and which calls that is.
struct Cost {
    calls: f64,
    listed: String,
}

impl Cost {
    fn measure(durability: &str, load: fn(&Broker, usize), batches: usize) -> Cost {
        let [few, many] = [batches, 3 * batches].map(|batches| {
            let traced = Traced::start(durability);
            load(&traced.broker, batches);
            traced.stop()
        });
        Cost::between(&few, &many, 2 * batches)
    }

    fn between(few: &Calls, many: &Calls, batches: usize) -> Cost {
        let names: BTreeSet<&String> = few.keys().chain(many.keys()).collect();
        let count = |calls: &Calls, name| calls.get(name).copied().unwrap_or(0) as f64;
        let per_batch = |name| (count(many, name) - count(few, name)) / batches as f64;
        let mut costs: Vec<(f64, &String)> =
            names.into_iter().map(|name| (per_batch(name), name)).collect();
        costs.sort_unstable_by(|one, other| other.0.total_cmp(&one.0));
        let listed = costs.iter().take(6).map(|(calls, name)| format!("{name} {calls:.2}"));
        let listed = listed.collect::<Vec<_>>().join(", ");
        Cost { calls: costs.iter().map(|(calls, _)| calls).sum(), listed }
    }
}

/// Holds a batch in that mode to a bound. On a machine that is busy with other work a run lasts
/// longer, with more in it that does not belong to batches, so one good measurement is enough.
fn check(durability: &str, load: fn(&Broker, usize), calls_max: f64) {
    if Peer::all().contains(&Peer::Original) {
        return skipped("the original is not measured");
    }
    if let Some(reason) = obstacle() {
        return skipped(&reason);
    }
    // Calls for each message are so many, and so slow to trace, that a few batches tell.
    let Cost { calls, listed } = Cost::measure(durability, load, GLANCE);
    let calls_far = 20.0 * calls_max;
    assert!(calls < calls_far, "{durability}: {calls:.2} of {calls_max} system calls ({listed})");
    let mut found = Vec::new();
    for _ in 0..ATTEMPTS {
        let Cost { calls, listed } = Cost::measure(durability, load, BATCHES);
        found.push(format!("{calls:.2} ({listed})"));
        println!("{durability}: {calls:.2} of {calls_max} ({listed})");
        // Each batch is answered, so less than one call was not measured well either.
        if (1.0..=calls_max).contains(&calls) {
            return;
        }
    }
    let found = found.join("\n");
    panic!(
        "{durability}: {calls_max} system calls for {MESSAGES} messages at most, found\n{found}"
    );
}

// A turn takes one call each to sleep, to append and to send; what is above that is room for a
// batch that comes in two pieces, and for threads that look around.

#[test]
fn memory_publishes() {
    check("memory", publishes, 4.0);
}

#[test]
fn memory_flow() {
    check("memory", flow, 7.0);
}

#[test]
fn written_publishes() {
    check("written", publishes, 5.0);
}

#[test]
fn written_flow() {
    check("written", flow, 9.0);
}

#[test]
fn synced_publishes() {
    check("synced", publishes, 7.0);
}

#[test]
fn synced_flow() {
    check("synced", flow, 12.0);
}

/// One call more for each message is seen, and named first.
#[test]
fn canaries() {
    let calls = |batches: usize, per_batch: usize| {
        let rows = [("clone3", 16), ("poll", batches * per_batch), ("sendto", 5 + batches)];
        rows.map(|(name, count)| (name.to_string(), count)).into_iter().collect::<Calls>()
    };
    let cost = |per_batch| Cost::between(&calls(1, per_batch), &calls(3, per_batch), 2);
    assert_eq!(cost(0).calls, 1.0);
    assert_eq!(cost(MESSAGES).calls, 1001.0);
    assert!(cost(MESSAGES).listed.starts_with("poll 1000.00, sendto 1.00"));
}

/// The table as strace writes it, with and without errors.
#[test]
fn tables_are_read() {
    let table = "% time     seconds  usecs/call     calls    errors syscall\n\
                 ------ ----------- ----------- --------- --------- ----------------\n \
                 70.59    0.183817        2188        84         9 futex\n  \
                 0.22    0.000563          62         9           fsync\n\
                 ------ ----------- ----------- --------- --------- ----------------\n\
                 100.00    0.184380                    93         9 total\n";
    let wanted = [("fsync".to_string(), 9), ("futex".to_string(), 84)];
    assert_eq!(read(table), Calls::from(wanted));
}
