//! The queue between any thread and the one that writes: bounded, and never waited for.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use super::LogLevel;
use super::format::{Said, Style};

/// Lines that are written with one call.
const BATCH_LINES_MAX: usize = 256;
/// How often a flush tries to get into a full queue.
const FLUSH_RETRY: Duration = Duration::from_millis(1);

/// Lines that were dropped since the start.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Lines that were dropped since the start.
pub fn dropped_lines() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// The way from any thread to the writer.
#[derive(Clone, Debug)]
pub struct Queue {
    /// How lines look.
    pub style: Style,
    sender: SyncSender<Message>,
    /// Lines that found the queue full: added to by every thread, taken by the writer.
    dropped: Arc<AtomicU64>,
}

enum Message {
    Line(String),
    /// Answered when everything before it is written.
    Flush(SyncSender<()>),
}

impl Queue {
    /// Starts the writing thread. Lines of its own have this style.
    pub fn start(
        writer: impl Write + Send + 'static,
        style: Style,
        lines_max: usize,
    ) -> io::Result<Queue> {
        let (sender, receiver) = sync_channel(lines_max);
        let dropped = Arc::new(AtomicU64::new(0));
        let mut back = Writer {
            writer,
            receiver,
            dropped: Arc::clone(&dropped),
            style: style.clone(),
            buffer: Vec::new(),
        };
        std::thread::Builder::new().name("log".to_owned()).spawn(move || back.run())?;
        Ok(Queue { style, sender, dropped })
    }

    /// Never waits.
    pub fn push(&self, line: String) {
        if self.sender.try_send(Message::Line(line)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until everything pushed before is written, or for `timeout`.
    pub fn flush(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let (done, written) = sync_channel(1);
        let mut message = Message::Flush(done);
        while let Err(error) = self.sender.try_send(message) {
            match error {
                TrySendError::Full(back) if Instant::now() < deadline => message = back,
                TrySendError::Full(_) | TrySendError::Disconnected(_) => return false,
            }
            std::thread::sleep(FLUSH_RETRY);
        }
        written.recv_timeout(deadline.saturating_duration_since(Instant::now())).is_ok()
    }
}

/// The thread's side of the queue.
struct Writer<W> {
    writer: W,
    receiver: Receiver<Message>,
    dropped: Arc<AtomicU64>,
    style: Style,
    buffer: Vec<u8>,
}

impl<W: Write> Writer<W> {
    fn run(&mut self) {
        while let Ok(message) = self.receiver.recv() {
            let mut flushes = Vec::new();
            self.take(message, &mut flushes);
            for _ in 1..BATCH_LINES_MAX {
                let Ok(message) = self.receiver.try_recv() else {
                    break;
                };
                self.take(message, &mut flushes);
            }
            self.write();
            for flush in flushes {
                // Whoever waited may have given up.
                let _ = flush.try_send(());
            }
        }
    }

    fn take(&mut self, message: Message, flushes: &mut Vec<SyncSender<()>>) {
        match message {
            Message::Line(line) => self.buffer.extend_from_slice(line.as_bytes()),
            Message::Flush(done) => flushes.push(done),
        }
    }

    fn write(&mut self) {
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            let text = format!("LOG: {dropped} lines were dropped: standard error was blocked");
            let line = self.style.line(LogLevel::Warn, &Said::from(&*text));
            self.buffer.extend_from_slice(line.as_bytes());
        }
        // A closed standard error must not end the broker, and there is nowhere to say it.
        let _ = self.writer.write_all(&self.buffer);
        self.buffer.clear();
    }
}

#[cfg(test)]
pub mod tests {
    use std::io::{self, Write};
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Arc, Mutex, mpsc};
    use std::time::{Duration, Instant};

    use super::{LogLevel, Queue, Said, Style};
    use crate::log::LogFormat;

    /// Keeps what is written, and writes only while somebody lets it.
    #[derive(Clone)]
    pub struct Gate {
        written: Arc<Mutex<Vec<u8>>>,
        open: Arc<Mutex<()>>,
        /// Somebody came to write, and may be waiting.
        reached: Arc<AtomicBool>,
    }

    impl Gate {
        /// One that is open and has nothing yet.
        pub fn new() -> Gate {
            Gate { written: Arc::default(), open: Arc::default(), reached: Arc::default() }
        }

        /// What was written.
        pub fn text(&self) -> String {
            String::from_utf8(self.written.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.reached.store(true, Ordering::Relaxed);
            let _open = self.open.lock().unwrap();
            self.written.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    const LONG: Duration = Duration::from_secs(10);

    fn style() -> Style {
        Style { prefix: "[x] ".into(), format: LogFormat::Text }
    }

    fn line(text: &str) -> String {
        style().line(LogLevel::Info, &Said::from(text))
    }

    #[test]
    fn a_blocked_writer_stops_nobody_and_lost_lines_are_counted() {
        let gate = Gate::new();
        let queue = Queue::start(gate.clone(), style(), 4).unwrap();
        let closed = gate.open.lock().unwrap();
        let start = Instant::now();
        // While it is not blocked yet, the writer takes lines as fast as they come.
        queue.push(line("number -1"));
        while !gate.reached.load(Ordering::Relaxed) {
            assert!(start.elapsed() < LONG, "nobody writes");
            std::thread::yield_now();
        }
        for number in 0..50 {
            queue.push(line(&format!("number {number}")));
        }
        assert!(!queue.flush(Duration::from_millis(30)), "flushed through a blocked writer");
        assert!(start.elapsed() < LONG, "somebody waited");
        drop(closed);
        assert!(queue.flush(LONG));
        // The flush before may still have been in the queue; another one sees the count.
        queue.push(line("last"));
        assert!(queue.flush(LONG));
        let text = gate.text();
        let written = text.matches("number").count();
        let dropped: usize = text
            .lines()
            .filter_map(|line| line.split_once("WARNING: LOG: "))
            .map(|(_, rest)| rest.split(' ').next().unwrap().parse::<usize>().unwrap())
            .sum();
        assert_eq!(dropped, 50 - 4, "{text}");
        assert_eq!(written, 1 + 4, "{text}");
    }

    #[test]
    fn every_thread_gets_its_lines_out() {
        let gate = Gate::new();
        let queue = Queue::start(gate.clone(), style(), 10_000).unwrap();
        let (done, all_done) = mpsc::channel();
        for thread in 0..4 {
            let (queue, done) = (queue.clone(), done.clone());
            std::thread::spawn(move || {
                for number in 0..500 {
                    queue.push(format!("{thread} {number}\n"));
                }
                done.send(()).unwrap();
            });
        }
        for _ in 0..4 {
            all_done.recv_timeout(LONG).unwrap();
        }
        assert!(queue.flush(LONG));
        assert_eq!(gate.text().lines().count(), 2000);
    }
}
