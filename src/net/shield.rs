//! Panics that end one task and not its thread.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

/// What a panic said.
pub fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

/// A task whose panic ends only itself and is logged.
///
/// What the task held is dropped; what it shares with others has to survive a panic.
pub struct Shielded<F> {
    what: &'static str,
    inner: Pin<Box<F>>,
}

impl<F: Future<Output = ()>> Shielded<F> {
    /// `what` says in the log whose panic it was.
    pub fn new(what: &'static str, task: F) -> Shielded<F> {
        Shielded { what, inner: Box::pin(task) }
    }
}

impl<F: Future<Output = ()>> Future for Shielded<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let inner = self.inner.as_mut();
        catch_unwind(AssertUnwindSafe(|| inner.poll(cx))).unwrap_or_else(|panic| {
            tracing::error!("panic in {} - {}", self.what, panic_text(&*panic));
            Poll::Ready(())
        })
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::Shielded;

    #[test]
    fn a_panic_is_the_end_of_its_task_only() {
        let mut task = pin!(Shielded::new("a test", async { panic!("on purpose") }));
        let outcome = task.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert_eq!(outcome, Poll::Ready(()));
    }
}
