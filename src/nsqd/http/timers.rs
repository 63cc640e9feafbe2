//! Timers of a shard's HTTP tasks, driven by the turn loop instead of the executor.
//!
//! The loop says what time it is once per turn, before it lets tasks run. A connection keeps one
//! slot for its whole life, so that postponing a deadline, which happens with every request, costs
//! nothing: the queue learns of it when the old time comes.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};
use send_wrapper::SendWrapper;
use slab::Slab;

/// All timers of one thread. Clones share them.
#[derive(Clone, Debug)]
pub struct Timers {
    inner: Rc<RefCell<Inner>>,
}

#[derive(Debug)]
struct Inner {
    now: Instant,
    slots: Slab<Slot>,
    /// At most one entry per slot, at or before its deadline.
    queue: BTreeSet<(Instant, usize)>,
}

#[derive(Debug, Default)]
struct Slot {
    deadline: Option<Instant>,
    queued: Option<Instant>,
    waker: Option<Waker>,
}

impl Timers {
    /// No timers yet; `now` is the time until the first [`advance`](Timers::advance).
    #[must_use]
    pub fn new(now: Instant) -> Timers {
        let inner = Inner { now, slots: Slab::new(), queue: BTreeSet::new() };
        Timers { inner: Rc::new(RefCell::new(inner)) }
    }

    /// Sets the time and wakes the tasks whose deadline has come. Call it in every turn, before
    /// tasks run: they take this time for the present.
    pub fn advance(&self, now: Instant) {
        self.inner.borrow_mut().now = now;
        loop {
            let due = self.inner.borrow_mut().pop_due();
            match due {
                Some(Some(waker)) => waker.wake(),
                Some(None) => {}
                None => break,
            }
        }
    }

    /// When `advance` should be called again. It may be too early, never too late.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.inner.borrow().queue.first().map(|(at, _)| *at)
    }

    /// The time as the loop last told it.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.inner.borrow().now
    }

    /// Waits until `after` has passed. It is for the rare wait whose length matters, so it reads
    /// the clock: a loop that has slept may not have said what time it is since.
    pub fn sleep(&self, after: Duration) -> impl Future<Output = ()> + use<> {
        let alarm = AlarmClock::new(self);
        alarm.set(Some(self.now().max(Instant::now()) + after));
        poll_fn(move |cx| alarm.poll(cx))
    }
}

impl Inner {
    /// Takes one queue entry that is due: `None` when there is none, else whom to wake, if anyone.
    fn pop_due(&mut self) -> Option<Option<Waker>> {
        let (at, key) = *self.queue.first()?;
        if at > self.now {
            return None;
        }
        self.queue.pop_first();
        let slot = &mut self.slots[key];
        slot.queued = None;
        let Some(deadline) = slot.deadline else {
            return Some(None);
        };
        if deadline <= self.now {
            return Some(slot.waker.take());
        }
        slot.queued = Some(deadline);
        self.queue.insert((deadline, key));
        Some(None)
    }

    fn set(&mut self, key: usize, deadline: Option<Instant>) {
        let slot = &mut self.slots[key];
        slot.deadline = deadline;
        let Some(deadline) = deadline else { return };
        if slot.queued.is_some_and(|queued| queued <= deadline) {
            return;
        }
        let earlier = slot.queued.replace(deadline);
        if let Some(queued) = earlier {
            self.queue.remove(&(queued, key));
        }
        self.queue.insert((deadline, key));
    }

    fn poll(&mut self, key: usize, cx: &Context<'_>) -> Poll<()> {
        let slot = &mut self.slots[key];
        match slot.deadline {
            Some(deadline) if deadline <= self.now => Poll::Ready(()),
            _ => {
                remember(&mut slot.waker, cx);
                Poll::Pending
            }
        }
    }

    fn remove(&mut self, key: usize) {
        let slot = self.slots.remove(key);
        if let Some(queued) = slot.queued {
            self.queue.remove(&(queued, key));
        }
    }
}

/// Keeps the task's waker, without a clone when it is the one that is kept already.
pub(super) fn remember(kept: &mut Option<Waker>, cx: &Context<'_>) {
    match kept {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *kept = Some(cx.waker().clone()),
    }
}

/// One slot, freed when dropped.
#[derive(Debug)]
struct AlarmClock {
    timers: Timers,
    key: usize,
}

impl AlarmClock {
    fn new(timers: &Timers) -> AlarmClock {
        let key = timers.inner.borrow_mut().slots.insert(Slot::default());
        AlarmClock { timers: timers.clone(), key }
    }

    fn set(&self, deadline: Option<Instant>) {
        self.timers.inner.borrow_mut().set(self.key, deadline);
    }

    fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        self.timers.inner.borrow_mut().poll(self.key, cx)
    }
}

impl Drop for AlarmClock {
    fn drop(&mut self) {
        self.timers.inner.borrow_mut().remove(self.key);
    }
}

/// hyper's timer for one connection, used for nothing but its limit on reading a request's head.
///
/// hyper starts that limit while the connection is still idle. NSQ never ends an idle keep-alive
/// connection, and a client's pool may hold one for hours: so as long as no byte of a request has
/// come the limit starts again, and a head has between one and two periods to arrive.
#[derive(Debug)]
pub struct HeadTimer {
    // hyper asks for Send and Sync, the timers are neither. A connection never leaves its thread;
    // the wrapper checks that and panics rather than race.
    inner: SendWrapper<Rc<HeadTimerInner>>,
}

#[derive(Debug)]
struct HeadTimerInner {
    alarm: AlarmClock,
    period: Duration,
    ear: Rc<Cell<bool>>,
}

impl HeadTimer {
    /// A timer for the connection that owns `ear`, a flag set whenever it reads bytes. Give hyper
    /// the same `period`.
    #[must_use]
    pub fn new(timers: &Timers, period: Duration, ear: Rc<Cell<bool>>) -> HeadTimer {
        let inner = HeadTimerInner { alarm: AlarmClock::new(timers), period, ear };
        HeadTimer { inner: SendWrapper::new(Rc::new(inner)) }
    }
}

impl Timer for HeadTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        self.inner.ear.set(false);
        self.inner.alarm.set(Some(deadline));
        let timer = SendWrapper::new(Rc::clone(&self.inner));
        Box::pin(HeadSleep { timer, started: false })
    }

    fn now(&self) -> Instant {
        self.inner.alarm.timers.now()
    }
}

/// The wait for one head.
struct HeadSleep {
    timer: SendWrapper<Rc<HeadTimerInner>>,
    /// Whether part of the head was there when the last period ended.
    started: bool,
}

impl Future for HeadSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        while self.timer.alarm.poll(cx).is_ready() {
            if self.started {
                return Poll::Ready(());
            }
            self.started = self.timer.ear.get();
            let next = self.timer.alarm.timers.now() + self.timer.period;
            self.timer.alarm.set(Some(next));
        }
        Poll::Pending
    }
}

impl Sleep for HeadSleep {}

impl Drop for HeadSleep {
    fn drop(&mut self) {
        self.timer.alarm.set(None);
    }
}

#[cfg(test)]
mod tests {
    use super::{HeadTimer, Timers};
    use crate::nsqd::http::testing::Alarm;
    use hyper::rt::Timer;
    use std::cell::Cell;
    use std::future::Future;
    use std::pin::pin;
    use std::rc::Rc;
    use std::sync::Arc;
    use std::task::Context;
    use std::time::{Duration, Instant};

    const SECOND: Duration = Duration::from_secs(1);

    /// A time that the real clock does not reach during a test.
    fn far_ahead() -> Instant {
        Instant::now() + Duration::from_secs(3600)
    }

    #[test]
    fn a_loop_that_has_not_told_the_time_for_long_does_not_shorten_a_wait() {
        let timers = Timers::new(Instant::now());
        std::thread::sleep(Duration::from_millis(20));
        let asked_at = Instant::now();
        let _wait = timers.sleep(SECOND);
        assert!(timers.next_deadline().is_some_and(|at| at >= asked_at + SECOND));
    }

    #[test]
    fn wakes_when_the_time_has_come_and_not_before() {
        let start = far_ahead();
        let timers = Timers::new(start);
        let alarm = Arc::new(Alarm::default());
        let waker = alarm.clone().into();
        let mut cx = Context::from_waker(&waker);
        let mut late = pin!(timers.sleep(3 * SECOND));
        {
            let mut early = pin!(timers.sleep(SECOND));
            assert!(late.as_mut().poll(&mut cx).is_pending());
            assert!(early.as_mut().poll(&mut cx).is_pending());
            assert_eq!(timers.next_deadline(), Some(start + SECOND));
            timers.advance(start + SECOND - Duration::from_nanos(1));
            assert!(!alarm.take());
            timers.advance(start + SECOND);
            assert!(alarm.take());
            assert!(early.as_mut().poll(&mut cx).is_ready());
        }
        assert_eq!(timers.next_deadline(), Some(start + 3 * SECOND));
        timers.advance(start + 4 * SECOND);
        assert!(late.as_mut().poll(&mut cx).is_ready());
        assert_eq!(timers.next_deadline(), None);
    }

    #[test]
    fn a_dropped_sleep_leaves_nothing_behind() {
        let start = Instant::now();
        let timers = Timers::new(start);
        drop(timers.sleep(SECOND));
        assert_eq!(timers.next_deadline(), None);
        assert!(timers.inner.borrow().slots.is_empty());
    }

    #[test]
    fn an_idle_connection_lives_and_a_slow_head_does_not() {
        let start = Instant::now();
        let timers = Timers::new(start);
        let ear = Rc::new(Cell::new(false));
        let timer = HeadTimer::new(&timers, SECOND, ear.clone());
        let alarm = Arc::new(Alarm::default());
        let waker = alarm.clone().into();
        let mut cx = Context::from_waker(&waker);
        let mut sleep = timer.sleep_until(timer.now() + SECOND);
        for second in 1..100 {
            assert!(sleep.as_mut().poll(&mut cx).is_pending());
            timers.advance(start + second * SECOND);
            assert!(alarm.take());
        }
        ear.set(true);
        assert!(sleep.as_mut().poll(&mut cx).is_pending(), "the head has just begun");
        timers.advance(start + 100 * SECOND);
        assert!(alarm.take());
        assert!(sleep.as_mut().poll(&mut cx).is_ready());
    }

    #[test]
    fn a_thousand_requests_of_one_connection_keep_one_entry() {
        let start = Instant::now();
        let timers = Timers::new(start);
        let timer = HeadTimer::new(&timers, SECOND, Rc::default());
        for millis in 0..1000 {
            timers.advance(start + Duration::from_millis(millis));
            drop(timer.sleep_until(timer.now() + SECOND));
            assert!(timers.inner.borrow().queue.len() <= 1);
        }
        drop(timer);
        assert_eq!(timers.next_deadline(), None);
    }
}
