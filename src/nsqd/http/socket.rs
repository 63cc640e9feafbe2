//! An HTTP connection without a socket: the turn loop moves the bytes, hyper sees a stream.
//!
//! Both halves live on one thread and share one state. [`HttpSocket`] belongs to the task that
//! runs hyper, [`HttpPeer`] to the loop that owns the file descriptor. Each direction is bounded:
//! the loop receives only when the task [wants input](HttpPeer::wants_input), and the task is
//! held back when the loop does not get rid of output.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use hyper::rt::{Read, ReadBufCursor, Write};

use super::timers::remember;

/// The most bytes that were fed and not taken by the task. One receive must not be larger.
pub const INPUT_BYTES_MAX: usize = 64 * 1024;

/// The most bytes that the task may write ahead of what the loop has begun to send.
pub const OUTPUT_BYTES_MAX: usize = 256 * 1024;

/// A buffer that grew beyond this is given up when it runs empty: idle connections are small.
const KEPT_BYTES_MAX: usize = 4 * 1024;

/// Tokens of connections with news for the loop: output, a wish for input, or their end.
///
/// A token may come twice, and news may be gone when the loop looks: that costs a look, no more.
pub type DirtyList = Rc<RefCell<Vec<u64>>>;

/// What the two halves share.
#[derive(Debug)]
struct Shared {
    token: u64,
    dirty: DirtyList,
    /// Fed; `input[taken..]` is not taken yet.
    input: Vec<u8>,
    taken: usize,
    ended: bool,
    failed: Option<io::Error>,
    /// Present while the task waits for input.
    reader: Option<Waker>,
    /// Written by the task, not yet moved to `HttpPeer::sending`.
    output: Vec<u8>,
    /// Present while the task waits for room in `output`.
    writer: Option<Waker>,
    /// The task will write nothing more.
    finished: bool,
    /// The loop has dropped its half.
    abandoned: bool,
}

/// Makes the two halves of a connection. `token` is how `dirty` will name it.
#[must_use]
pub fn pair(token: u64, dirty: DirtyList) -> (HttpSocket, HttpPeer) {
    let shared = Rc::new(RefCell::new(Shared {
        token,
        dirty,
        input: Vec::new(),
        taken: 0,
        ended: false,
        failed: None,
        reader: None,
        output: Vec::new(),
        writer: None,
        finished: false,
        abandoned: false,
    }));
    let peer = HttpPeer { shared: shared.clone(), sending: Vec::new(), sent: 0 };
    (HttpSocket { shared, heard: Rc::default() }, peer)
}

impl Shared {
    fn unread(&self) -> &[u8] {
        &self.input[self.taken..]
    }

    /// Tells the loop to look here. Two pieces of news in a row make one entry.
    fn report(&self) {
        let mut dirty = self.dirty.borrow_mut();
        if dirty.last() != Some(&self.token) {
            dirty.push(self.token);
        }
    }

    fn write(&mut self, bytes: &[u8]) -> usize {
        let room = OUTPUT_BYTES_MAX - self.output.len();
        let count = bytes.len().min(room);
        self.output.extend_from_slice(&bytes[..count]);
        count
    }

    /// Whether the task may write, and if it must wait, whom to wake.
    fn poll_room(&mut self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        if self.abandoned || self.failed.is_some() || self.finished {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if self.output.len() < OUTPUT_BYTES_MAX {
            return Poll::Ready(Ok(()));
        }
        remember(&mut self.writer, cx);
        Poll::Pending
    }
}

/// Frees what a buffer holds when it has grown large, else keeps it for next time.
fn recycle(buffer: &mut Vec<u8>) {
    if buffer.capacity() > KEPT_BYTES_MAX {
        *buffer = Vec::new();
    } else {
        buffer.clear();
    }
}

/// The task's half: what hyper reads from and writes to.
#[derive(Debug)]
pub struct HttpSocket {
    shared: Rc<RefCell<Shared>>,
    /// Set by every read that brings bytes; see [`HttpSocket::ear`].
    heard: Rc<Cell<bool>>,
}

impl HttpSocket {
    /// A flag that is set whenever the task reads bytes. Who takes interest resets it.
    #[must_use]
    pub fn ear(&self) -> Rc<Cell<bool>> {
        self.heard.clone()
    }
}

impl Read for HttpSocket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut shared = self.shared.borrow_mut();
        let count = shared.unread().len().min(buf.remaining());
        if count > 0 {
            self.heard.set(true);
            buf.put_slice(&shared.unread()[..count]);
            shared.taken += count;
            if shared.unread().is_empty() {
                shared.taken = 0;
                recycle(&mut shared.input);
            }
            return Poll::Ready(Ok(()));
        }
        if let Some(error) = &shared.failed {
            return Poll::Ready(Err(same(error)));
        }
        if shared.ended || buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        if shared.reader.is_none() {
            shared.report();
        }
        remember(&mut shared.reader, cx);
        Poll::Pending
    }
}

/// An error to be reported again; `io::Error` is not `Clone`.
fn same(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}

impl Write for HttpSocket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut shared = self.shared.borrow_mut();
        match shared.poll_room(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) => {}
        }
        let written = bufs.iter().map(|buf| shared.write(buf)).sum();
        shared.report();
        Poll::Ready(Ok(written))
    }

    /// The loop sends at the end of every turn; there is nothing to push.
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        finish(&self.shared);
        Poll::Ready(Ok(()))
    }
}

impl Drop for HttpSocket {
    fn drop(&mut self) {
        finish(&self.shared);
    }
}

fn finish(shared: &RefCell<Shared>) {
    let mut shared = shared.borrow_mut();
    if !shared.finished {
        shared.finished = true;
        shared.report();
    }
    shared.reader = None;
    shared.writer = None;
}

/// The loop's half. Dropping it is the end of the connection for the task.
#[derive(Debug)]
pub struct HttpPeer {
    shared: Rc<RefCell<Shared>>,
    /// Handed out by `output`; `sending[sent..]` is not sent. Not touched until all of it is, so
    /// that the kernel may read it while the task writes on.
    sending: Vec<u8>,
    sent: usize,
}

impl HttpPeer {
    /// Whether the task has taken what was fed and waits for more: time for one receive.
    #[must_use]
    pub fn wants_input(&self) -> bool {
        let shared = self.shared.borrow();
        shared.reader.is_some() && !shared.ended && shared.failed.is_none() && !shared.finished
    }

    /// Bytes arrived. Those for a task that is gone are dropped.
    ///
    /// # Panics
    /// When more than [`INPUT_BYTES_MAX`] would wait: a receive was made that nobody wanted.
    pub fn feed(&mut self, bytes: &[u8]) {
        let mut shared = self.shared.borrow_mut();
        if shared.finished {
            return;
        }
        assert!(
            shared.unread().len() + bytes.len() <= INPUT_BYTES_MAX,
            "fed {} bytes on top of {} unread ones",
            bytes.len(),
            shared.unread().len()
        );
        shared.input.extend_from_slice(bytes);
        wake_reader(shared);
    }

    /// The other side will send nothing more.
    pub fn end(&mut self) {
        let mut shared = self.shared.borrow_mut();
        shared.ended = true;
        wake_reader(shared);
    }

    /// The connection is broken: what waits to be sent is dropped, and the task is told.
    pub fn fail(&mut self, error: io::Error) {
        let mut shared = self.shared.borrow_mut();
        shared.output = Vec::new();
        shared.failed = Some(error);
        let writer = shared.writer.take();
        wake_reader(shared);
        if let Some(writer) = writer {
            writer.wake();
        }
        self.sent = self.sending.len();
    }

    /// Bytes to send, oldest first; empty when there are none. The slice stays where it is until
    /// [`sent`](HttpPeer::sent) has been told of all of it, whatever the task does meanwhile.
    pub fn output(&mut self) -> &[u8] {
        if self.sent == self.sending.len() {
            self.refill();
        }
        &self.sending[self.sent..]
    }

    fn refill(&mut self) {
        recycle(&mut self.sending);
        self.sent = 0;
        let mut shared = self.shared.borrow_mut();
        std::mem::swap(&mut self.sending, &mut shared.output);
        let writer = shared.writer.take();
        drop(shared);
        if let Some(writer) = writer {
            writer.wake();
        }
    }

    /// The first `count` bytes of the last [`output`](HttpPeer::output) left.
    ///
    /// # Panics
    /// When `output` was shorter: the loop has lost count.
    pub fn sent(&mut self, count: usize) {
        assert!(count <= self.sending.len() - self.sent, "sent {count} bytes that were not there");
        self.sent += count;
    }

    /// Whether [`output`](HttpPeer::output) would return anything.
    #[must_use]
    pub fn has_output(&self) -> bool {
        self.sent < self.sending.len() || !self.shared.borrow().output.is_empty()
    }

    /// Whether the task is done and everything it wrote is sent: time to close.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.borrow().finished && !self.has_output()
    }
}

/// Wakes the task after its state was changed; the borrow ends first, as waking may run it.
fn wake_reader(mut shared: std::cell::RefMut<'_, Shared>) {
    let reader = shared.reader.take();
    drop(shared);
    if let Some(reader) = reader {
        reader.wake();
    }
}

impl Drop for HttpPeer {
    fn drop(&mut self) {
        self.shared.borrow_mut().abandoned = true;
        self.fail(io::ErrorKind::ConnectionAborted.into());
    }
}

#[cfg(test)]
mod tests {
    use super::{DirtyList, HttpPeer, HttpSocket, INPUT_BYTES_MAX, OUTPUT_BYTES_MAX, pair};
    use crate::nsqd::http::testing::Alarm;
    use hyper::rt::{Read, ReadBuf, Write};
    use std::io;
    use std::pin::Pin;
    use std::sync::Arc;
    use std::task::{Context, Poll};

    struct Setup {
        socket: HttpSocket,
        peer: HttpPeer,
        dirty: DirtyList,
        alarm: Arc<Alarm>,
    }

    fn setup() -> Setup {
        let dirty = DirtyList::default();
        let (socket, peer) = pair(7, dirty.clone());
        Setup { socket, peer, dirty, alarm: Arc::new(Alarm::default()) }
    }

    impl Setup {
        fn read(&mut self, most: usize) -> Poll<io::Result<Vec<u8>>> {
            let waker = self.alarm.clone().into();
            let mut space = vec![0; most];
            let mut buf = ReadBuf::new(&mut space);
            let socket = Pin::new(&mut self.socket);
            let outcome = socket.poll_read(&mut Context::from_waker(&waker), buf.unfilled());
            outcome.map_ok(|()| buf.filled().to_vec())
        }

        fn write(&mut self, bytes: &[u8]) -> Poll<io::Result<usize>> {
            let waker = self.alarm.clone().into();
            Pin::new(&mut self.socket).poll_write(&mut Context::from_waker(&waker), bytes)
        }

        fn news(&self) -> Vec<u64> {
            self.dirty.borrow_mut().drain(..).collect()
        }
    }

    fn bytes(outcome: Poll<io::Result<Vec<u8>>>) -> Vec<u8> {
        match outcome {
            Poll::Ready(Ok(bytes)) => bytes,
            other => panic!("not bytes: {other:?}"),
        }
    }

    #[test]
    fn asks_for_input_once_and_is_woken_by_it() {
        let mut s = setup();
        assert!(!s.peer.wants_input());
        assert!(s.read(10).is_pending());
        assert!(s.peer.wants_input());
        assert_eq!(s.news(), [7]);
        assert!(s.read(10).is_pending());
        assert!(s.news().is_empty(), "the same wish is no news");
        assert!(!s.alarm.take());
        s.peer.feed(b"hello");
        assert!(s.alarm.take());
        assert!(!s.peer.wants_input());
        assert_eq!(bytes(s.read(3)), b"hel");
        assert!(!s.peer.wants_input(), "two bytes are left");
        assert_eq!(bytes(s.read(3)), b"lo");
        assert!(s.read(3).is_pending());
        assert_eq!(s.news(), [7]);
        assert!(s.socket.ear().get());
    }

    #[test]
    fn the_end_comes_after_the_last_byte() {
        let mut s = setup();
        assert!(s.read(10).is_pending());
        s.peer.feed(b"x");
        s.peer.end();
        assert!(s.alarm.take());
        assert!(!s.peer.wants_input());
        assert_eq!(bytes(s.read(10)), b"x");
        assert_eq!(bytes(s.read(10)), b"");
    }

    #[test]
    fn output_is_bounded_and_stays_in_place_while_it_is_sent() {
        let mut s = setup();
        let chunk = vec![b'a'; OUTPUT_BYTES_MAX];
        assert!(matches!(s.write(&chunk), Poll::Ready(Ok(OUTPUT_BYTES_MAX))));
        assert!(s.write(b"b").is_pending());
        assert_eq!(s.news(), [7]);
        let start = s.peer.output().as_ptr();
        assert!(s.alarm.take(), "moving the bytes out makes room");
        assert!(matches!(s.write(b"bc"), Poll::Ready(Ok(2))));
        s.peer.sent(10);
        assert_eq!(s.peer.output().len(), OUTPUT_BYTES_MAX - 10);
        assert_eq!(s.peer.output().as_ptr(), start.wrapping_add(10));
        s.peer.sent(OUTPUT_BYTES_MAX - 10);
        assert_eq!(s.peer.output(), b"bc");
        assert!(s.peer.has_output());
        s.peer.sent(2);
        assert_eq!(s.peer.output(), b"");
        assert!(!s.peer.has_output());
    }

    #[test]
    fn is_closed_when_the_task_is_gone_and_its_words_are_sent() {
        let mut s = setup();
        assert!(matches!(s.write(b"bye"), Poll::Ready(Ok(3))));
        let Setup { socket, mut peer, dirty, .. } = s;
        drop(socket);
        assert_eq!(dirty.borrow().as_slice(), [7]);
        assert!(!peer.is_closed());
        assert_eq!(peer.output(), b"bye");
        peer.sent(3);
        assert!(peer.is_closed());
        peer.feed(b"late");
        assert!(!peer.wants_input());
    }

    #[test]
    fn a_broken_connection_is_told_to_the_task() {
        let mut s = setup();
        assert!(matches!(s.write(b"lost"), Poll::Ready(Ok(4))));
        assert!(s.read(1).is_pending());
        s.peer.fail(io::Error::from_raw_os_error(104));
        assert!(s.alarm.take());
        assert!(!s.peer.has_output());
        let Poll::Ready(Err(error)) = s.read(1) else { panic!("no error") };
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        assert!(matches!(s.write(b"x"), Poll::Ready(Err(_))));
    }

    #[test]
    fn a_task_blocked_on_output_learns_of_a_dropped_peer() {
        let mut s = setup();
        assert!(matches!(s.write(&vec![0; OUTPUT_BYTES_MAX]), Poll::Ready(Ok(_))));
        assert!(s.write(b"x").is_pending());
        let Setup { mut socket, peer, alarm, .. } = s;
        drop(peer);
        assert!(alarm.take());
        let waker = alarm.into();
        let mut cx = Context::from_waker(&waker);
        assert!(matches!(Pin::new(&mut socket).poll_write(&mut cx, b"x"), Poll::Ready(Err(_))));
    }

    #[test]
    #[should_panic(expected = "on top of")]
    fn more_input_than_the_limit_is_a_mistake_of_the_loop() {
        let mut s = setup();
        s.peer.feed(&vec![0; INPUT_BYTES_MAX]);
        s.peer.feed(b"x");
    }
}
