//! Waking one task of this thread.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use glommio::timer::Timer;

/// A word to one waiting task. Several before it looks are one.
#[derive(Debug, Default)]
pub struct Stir {
    stirred: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Stir {
    /// Wakes the task.
    pub fn stir(&self) {
        self.stirred.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Ready once after each time that it was stirred.
    pub fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.stirred.take() {
            return Poll::Ready(());
        }
        self.waker.replace(Some(cx.waker().clone()));
        Poll::Pending
    }

    /// Waits for so long, or until it is stirred.
    pub async fn pause(&self, time: Duration) {
        let mut timer = Timer::new(time);
        poll_fn(|cx| match self.poll(cx) {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => Pin::new(&mut timer).poll(cx).map(drop),
        })
        .await;
    }
}
