//! A broker process: started on free ports, watched until ready, and gone when the test is.

use std::io::{BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::peer::original;
use super::{Peer, Reply, SOON, TempDir, eventually, request};

/// A running broker.
pub struct Broker {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    dir: Arc<TempDir>,
    /// Where it takes the protocol; port 0 when that is a unix socket.
    pub tcp: SocketAddr,
    /// Where it takes HTTP; port 0 when that is a unix socket.
    pub http: SocketAddr,
}

/// What stands for an address as long as there is none.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// How a process that was started to fail, ended.
pub struct Exit {
    /// Code or signal.
    pub status: ExitStatus,
    /// What it wrote to stdout and stderr.
    pub output: String,
}

/// The binary that stands for this peer.
pub fn program(peer: Peer) -> PathBuf {
    let path = match peer {
        Peer::Original => original().expect("SHOAL_TEST_PEER names the original"),
        Peer::Shoal { .. } => shoal_binary(),
    };
    assert!(path.exists(), "{} is not built; SHOAL_BIN may name another", path.display());
    path
}

/// Where our own broker should be.
pub fn shoal_binary() -> PathBuf {
    std::env::var_os("SHOAL_BIN").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release/shoal"),
        PathBuf::from,
    )
}

impl Broker {
    /// Starts a broker with these flags besides its addresses and data path.
    pub fn start(peer: Peer, flags: &[&str]) -> Self {
        Self::start_in(peer, flags, Arc::new(TempDir::new()))
    }

    /// Starts a broker on a data path that is there already.
    pub fn start_in(peer: Peer, flags: &[&str], dir: Arc<TempDir>) -> Self {
        let command = Self::command(peer, flags, &dir);
        Self::spawn(command, dir)
    }

    /// The command line of a broker, for tests that change how it is started.
    pub fn command(peer: Peer, flags: &[&str], dir: &TempDir) -> Command {
        let mut command = Command::new(program(peer));
        command.args(peer.arguments(&Self::flags(flags, dir)));
        command
    }

    /// The flags that every broker of these tests has.
    pub fn flags(flags: &[&str], dir: &TempDir) -> Vec<String> {
        let mut all = vec![
            "--tcp-address=127.0.0.1:0".to_string(),
            "--http-address=127.0.0.1:0".to_string(),
            "--broadcast-address=127.0.0.1".to_string(),
            format!("--data-path={}", dir.path().display()),
        ];
        all.extend(flags.iter().map(ToString::to_string));
        all
    }

    /// Starts this command and waits until it says where it listens.
    pub fn spawn(command: Command, dir: Arc<TempDir>) -> Self {
        Self::spawn_until(command, dir, "listening on")
    }

    /// Starts this command and waits only until its addresses are known: it may have much to read
    /// before it serves.
    pub fn spawn_bound(command: Command, dir: Arc<TempDir>) -> Self {
        Self::spawn_until(command, dir, "bound to")
    }

    fn spawn_until(mut command: Command, dir: Arc<TempDir>, said: &str) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        die_with_parent(&mut command);
        let mut child = command.spawn().unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let stderr = child.stderr.take().unwrap();
        let lines = log.clone();
        thread::spawn(move || {
            // Log lines may hold what clients sent: they need not be UTF-8.
            for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
                lines.lock().unwrap().push(String::from_utf8_lossy(&line).into_owned());
            }
        });
        let mut broker = Broker { child, log, dir, tcp: NOWHERE, http: NOWHERE };
        broker.tcp = broker.address(&format!("TCP: {said} "));
        broker.http = broker.address(&format!("HTTP: {said} "));
        broker
    }

    fn address(&mut self, text: &str) -> SocketAddr {
        let start = Instant::now();
        loop {
            if let Some(line) = self.log_line(text) {
                let at = line.find(text).unwrap() + text.len();
                let address = line[at..].trim();
                return if address.starts_with('/') { NOWHERE } else { address.parse().unwrap() };
            }
            let exited = self.child.try_wait().unwrap();
            assert!(exited.is_none(), "the broker ended with {exited:?} before it listened");
            // Recovery may have much to read, on a machine that is busy.
            assert!(start.elapsed() < 6 * SOON, "the broker does not say {text:?}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Where it takes HTTPS, when it was started with a certificate.
    pub fn https(&mut self) -> SocketAddr {
        self.address("HTTPS: listening on ")
    }

    /// Where it will take HTTPS.
    pub fn https_bound(&mut self) -> SocketAddr {
        self.address("HTTPS: bound to ")
    }

    /// The first line of the log that contains `text`.
    pub fn log_line(&self, text: &str) -> Option<String> {
        self.log.lock().unwrap().iter().find(|line| line.contains(text)).cloned()
    }

    /// How many lines of the log contain `text`.
    pub fn log_count(&self, text: &str) -> usize {
        self.log.lock().unwrap().iter().filter(|line| line.contains(text)).count()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its data path.
    pub fn dir(&self) -> Arc<TempDir> {
        self.dir.clone()
    }

    /// One HTTP request.
    pub fn request(&self, method: &str, target: &str, body: &[u8]) -> Reply {
        request(self.http, method, target, body)
    }

    /// A request that has to succeed.
    pub fn post(&self, target: &str) {
        let reply = self.request("POST", target, b"");
        assert_eq!(reply.status, 200, "POST {target}: {reply:?}");
    }

    /// The statistics of one topic, or null.
    pub fn topic(&self, topic: &str) -> Value {
        let target = format!("/stats?format=json&include_mem=false&topic={}", escape(topic));
        let stats = self.request("GET", &target, b"").json();
        stats["topics"].get(0).cloned().unwrap_or(Value::Null)
    }

    /// The statistics of one channel, or null.
    pub fn channel(&self, topic: &str, channel: &str) -> Value {
        let stats = self.topic(topic);
        let channels = stats["channels"].as_array().cloned().unwrap_or_default();
        let found = channels.into_iter().find(|entry| entry["channel_name"] == channel);
        found.unwrap_or(Value::Null)
    }

    /// Waits until one number of a channel has this value.
    pub fn await_channel(&self, topic: &str, channel: &str, field: &str, wanted: i64) {
        let what = format!("{topic}/{channel} {field} = {wanted}");
        eventually(&what, SOON, || self.channel(topic, channel)[field] == wanted);
    }

    /// Sends a signal.
    pub fn signal(&self, signal: i32) {
        let pid = i32::try_from(self.pid()).unwrap();
        // SAFETY: the pid is our own child's, which has not been waited for.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
    }

    /// Waits until the process is gone.
    pub fn wait(&mut self, within: Duration) -> ExitStatus {
        wait(&mut self.child, within)
    }

    /// Ends it as an operator would, and gives its data path for the next one.
    pub fn stop(mut self) -> Arc<TempDir> {
        self.signal(libc::SIGTERM);
        let status = self.wait(SOON);
        assert_eq!(status.code(), Some(0), "{status:?}");
        self.dir()
    }

    /// Ends it as a crash would, and gives its data path for the next one.
    pub fn kill(mut self) -> Arc<TempDir> {
        self.signal(libc::SIGKILL);
        self.child.wait().unwrap();
        self.dir()
    }

    /// Starts it and kills it so soon that it may not have come far; nobody reads what it says.
    pub fn start_and_kill(mut command: Command, after: Duration) {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        die_with_parent(&mut command);
        let mut child = command.spawn().unwrap();
        thread::sleep(after);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Runs a command that should end by itself.
    pub fn run(mut command: Command, within: Duration) -> Exit {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        die_with_parent(&mut command);
        let mut child = command.spawn().unwrap();
        let status = wait(&mut child, within);
        let mut output = String::new();
        child.stdout.take().unwrap().read_to_string(&mut output).unwrap();
        child.stderr.take().unwrap().read_to_string(&mut output).unwrap();
        Exit { status, output }
    }
}

fn wait(child: &mut Child, within: Duration) -> ExitStatus {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if start.elapsed() > within {
            let _ = child.kill();
            let status = child.wait().unwrap();
            assert_eq!(status.signal(), None, "did not end within {within:?}, so it was killed");
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// A test that is killed must not leave its broker behind.
fn die_with_parent(command: &mut Command) {
    // SAFETY: prctl is a bare system call and allocates nothing between fork and exec.
    unsafe {
        command.pre_exec(|| {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            Ok(())
        });
    }
}

/// Escapes the one character of names that a query string does not take.
pub fn escape(name: &str) -> String {
    name.replace('#', "%23")
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let log = self.log.lock().unwrap();
            // Its beginning says how it was started, its end what happened last.
            let (head, tail) = log.split_at(log.len().min(8));
            let tail = &tail[tail.len().saturating_sub(60)..];
            eprintln!("--- the broker's log ---\n{}\n…", head.join("\n"));
            eprintln!("{}\n--- its end ---", tail.join("\n"));
        }
    }
}
