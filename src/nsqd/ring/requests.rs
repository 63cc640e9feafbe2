//! The requests that a ring makes of the kernel, and how it takes them back.

use std::os::fd::{AsFd, AsRawFd};

use io_uring::{opcode, squeue, types};

use super::buffers::BufferRing;
use super::key::{Operation, SocketKey, Token};
use super::{Reading, Ring};

impl Ring {
    /// Shuts a socket down, one way or both.
    pub(super) fn shut_down(&mut self, key: SocketKey, how: libc::c_int) {
        if let Some(fd) = self.sockets.get(key).and_then(|socket| socket.raw_fd()) {
            // SAFETY: `fd` is open while the ring owns it. A failure means that the connection is
            // gone already, which is what was asked for.
            unsafe { libc::shutdown(fd, how) };
        }
    }

    /// Starts to receive, as the socket's way of reading says.
    pub(super) fn arm_receive(&mut self, key: SocketKey) {
        let socket = self.sockets.of_completion(key);
        assert!(!socket.receive.armed && !socket.leaving, "a socket is received from twice");
        let Some(fd) = socket.raw_fd() else { return };
        let fd = types::Fd(fd);
        let entry = match socket.reading {
            Reading::Continuous => opcode::RecvMulti::new(fd, BufferRing::GROUP).build(),
            Reading::Single => {
                opcode::Recv::new(fd, std::ptr::null_mut(), self.buffer_bytes as u32)
                    .buf_group(BufferRing::GROUP)
                    .build()
                    .flags(squeue::Flags::BUFFER_SELECT)
            }
        };
        socket.receive.armed = true;
        self.queue.push(entry, Token::of_socket(Operation::Receive, key));
    }

    /// Asks once when the socket takes bytes.
    pub(super) fn arm_writable(&mut self, key: SocketKey) {
        let socket = self.sockets.of_completion(key);
        assert!(!socket.writable.armed && !socket.leaving, "a socket is waited for twice");
        let Some(fd) = socket.raw_fd() else { return };
        socket.writable.armed = true;
        let entry = opcode::PollAdd::new(types::Fd(fd), libc::POLLOUT as u32).build();
        self.queue.push(entry, Token::of_socket(Operation::Writable, key));
    }

    /// Starts to accept, until that fails or is cancelled.
    pub(super) fn arm_accept(&mut self, listener: usize) {
        let listening = &mut self.listeners[listener];
        let Some(fd) = &listening.fd else { return };
        assert!(listening.wanted && !listening.accept.armed, "a listener accepts twice");
        listening.accept.armed = true;
        let fd = types::Fd(fd.as_raw_fd());
        let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        let entry = opcode::AcceptMulti::new(fd).flags(flags).build();
        self.queue.push(entry, Token::of_listener(listener as u32));
    }

    /// Starts to listen to the doorbell: once for all its rings, without reading its counter.
    pub(super) fn arm_doorbell(&mut self) {
        assert!(!self.doorbell_poll.armed, "the doorbell is polled twice");
        self.doorbell_poll.armed = true;
        let fd = types::Fd(self.doorbell.as_fd().as_raw_fd());
        let entry = opcode::PollAdd::new(fd, libc::POLLIN as u32).multi(true).build();
        self.queue.push(entry, Token::of_doorbell());
    }

    /// Stops a receive in flight.
    pub(super) fn cancel_receive(&mut self, key: SocketKey) {
        let receive = &mut self.sockets.of_completion(key).receive;
        if !receive.cancelling {
            receive.cancelling = true;
            self.cancel(Token::of_socket(Operation::Receive, key));
        }
    }

    /// Stops waiting until the socket takes bytes.
    pub(super) fn cancel_writable(&mut self, key: SocketKey) {
        let writable = &mut self.sockets.of_completion(key).writable;
        if !writable.cancelling {
            writable.cancelling = true;
            self.cancel(Token::of_socket(Operation::Writable, key));
        }
    }

    /// Asks the kernel to end a request early. Whether it does shows when the request completes.
    pub(super) fn cancel(&mut self, token: Token) {
        self.queue.push(opcode::AsyncCancel::new(token.to_u64()).build(), token.canceller());
    }
}
