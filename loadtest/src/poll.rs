//! A level-triggered epoll set: one wait, then one read per ready connection.
//!
//! Level-triggered because an edge-triggered set asks for a second read that only says "nothing
//! left", which would double the system calls of every request.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

const EVENTS_MAX: usize = 256;

/// What a connection waits for besides input, which it always waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Input only.
    Read,
    /// Input, and room for output that did not fit.
    ReadWrite,
}

/// One ready connection.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// The number given when the connection was added.
    pub token: usize,
    /// Input, end of input or an error waits.
    pub readable: bool,
    /// There is room for output again.
    pub writable: bool,
}

/// The set of connections of one run.
pub struct Poller {
    epoll: OwnedFd,
    ready: Vec<libc::epoll_event>,
}

impl Poller {
    /// An empty set.
    pub fn new() -> io::Result<Self> {
        // SAFETY: takes no pointers.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `fd` was just returned by the kernel and nobody else owns it.
        let epoll = unsafe { OwnedFd::from_raw_fd(fd) };
        let ready = vec![libc::epoll_event { events: 0, u64: 0 }; EVENTS_MAX];
        Ok(Self { epoll, ready })
    }

    /// Adds a connection, waiting for input.
    pub fn add(&self, fd: impl AsFd, token: usize) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, token, Interest::Read)
    }

    /// Changes what a connection waits for.
    pub fn set(&self, fd: impl AsFd, token: usize, interest: Interest) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, token, interest)
    }

    /// Waits for ready connections, at most `timeout`; returns how many there are.
    pub fn wait(&mut self, timeout: Duration) -> io::Result<usize> {
        let limit = libc::timespec {
            tv_sec: timeout.as_secs() as libc::time_t,
            tv_nsec: libc::c_long::from(timeout.subsec_nanos()),
        };
        // SAFETY: `ready` holds EVENTS_MAX entries, `limit` lives across the call, and a null
        // signal mask means that the mask stays as it is.
        let count = unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                self.epoll.as_raw_fd(),
                self.ready.as_mut_ptr(),
                EVENTS_MAX as libc::c_int,
                &raw const limit,
                std::ptr::null::<libc::sigset_t>(),
                0_usize,
            )
        };
        if count >= 0 {
            return Ok(count as usize);
        }
        let error = io::Error::last_os_error();
        if error.kind() == io::ErrorKind::Interrupted { Ok(0) } else { Err(error) }
    }

    /// The `index`-th ready connection of the last wait.
    pub fn event(&self, index: usize) -> Event {
        let event = self.ready[index];
        let read = (libc::EPOLLIN | libc::EPOLLHUP | libc::EPOLLERR | libc::EPOLLRDHUP) as u32;
        Event {
            token: event.u64 as usize,
            readable: event.events & read != 0,
            writable: event.events & libc::EPOLLOUT as u32 != 0,
        }
    }

    fn control(
        &self,
        operation: libc::c_int,
        fd: impl AsFd,
        token: usize,
        interest: Interest,
    ) -> io::Result<()> {
        let output = match interest {
            Interest::Read => 0,
            Interest::ReadWrite => libc::EPOLLOUT,
        };
        let mut event =
            libc::epoll_event { events: (libc::EPOLLIN | output) as u32, u64: token as u64 };
        let fd = fd.as_fd().as_raw_fd();
        // SAFETY: both descriptors are open and `event` lives across the call.
        let rc = unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), operation, fd, &mut event) };
        if rc < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}
