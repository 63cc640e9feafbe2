//! What the connections of the one thread share: the registry, the time, and who waits for a
//! change.
//!
//! Nothing of it is borrowed across an await.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use glommio::timer::Timer;
use slab::Slab;

use super::registry::{Now, Registry, RegistryCounts, RegistrySettings};

/// The registry and those who wait for it. One thread has one.
#[derive(Debug)]
pub struct Shared {
    registry: RefCell<Registry>,
    started: Instant,
    /// Those who wait, by topic. A topic is watched as long as somebody waits for it.
    waiting: RefCell<HashMap<Rc<str>, Slab<Waker>>>,
    stopping: Cell<bool>,
}

impl Shared {
    /// An empty registry.
    pub fn new(settings: RegistrySettings) -> Rc<Shared> {
        // Whoever waits with a number of an earlier process is not to wait in vain.
        let first_index = u64::try_from(unix_ns() / 1000).unwrap_or(1).max(1);
        Rc::new(Shared {
            registry: RefCell::new(Registry::new(settings, first_index)),
            started: Instant::now(),
            waiting: RefCell::default(),
            stopping: Cell::new(false),
        })
    }

    /// Works with the registry as it is now, and wakes those who wait for what was changed.
    pub fn with<T>(&self, work: impl FnOnce(&mut Registry, Now) -> T) -> T {
        let steady_ns = u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let now = Now { steady_ns, unix_ns: unix_ns() };
        let (outcome, changed) = {
            let registry = &mut *self.registry.borrow_mut();
            registry.advance(now);
            let outcome = work(registry, now);
            (outcome, registry.take_changed())
        };
        for topic in changed {
            self.wake(&topic);
        }
        outcome
    }

    /// How much there is of what.
    pub fn counts(&self) -> RegistryCounts {
        self.with(|registry, _| registry.counts())
    }

    /// How many wait for a change.
    pub fn waiting(&self) -> usize {
        self.waiting.borrow().values().map(Slab::len).sum()
    }

    /// Waits until the number of a topic's last change is another, but not longer than `wait`.
    pub async fn changed(&self, topic: &str, index: u64, wait: Duration) {
        let mut timer = pin!(Timer::new(wait));
        let mut place = Waiting { shared: self, topic, key: None };
        poll_fn(|cx| {
            let current = self.with(|registry, _| registry.index_of(topic));
            if self.stopping.get() || current != index || timer.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            place.wait(cx);
            Poll::Pending
        })
        .await;
    }

    /// Nobody is to wait any more.
    pub fn stop(&self) {
        self.stopping.set(true);
        let topics: Vec<Rc<str>> = self.waiting.borrow().keys().cloned().collect();
        topics.iter().for_each(|topic| self.wake(topic));
    }

    /// Whether [`stop`](Shared::stop) was called.
    pub fn is_stopping(&self) -> bool {
        self.stopping.get()
    }

    fn wake(&self, topic: &str) {
        let waiting = self.waiting.borrow();
        let wakers = waiting.get(topic).into_iter().flatten();
        wakers.for_each(|(_, waker)| waker.wake_by_ref());
    }
}

/// A place among those who wait for a topic.
struct Waiting<'a> {
    shared: &'a Shared,
    topic: &'a str,
    key: Option<usize>,
}

impl Waiting<'_> {
    fn wait(&mut self, cx: &Context<'_>) {
        // Being named ends the watch, so it is renewed each time.
        self.shared.registry.borrow_mut().watch(self.topic);
        let mut waiting = self.shared.waiting.borrow_mut();
        let wakers = match waiting.get_mut(self.topic) {
            Some(wakers) => wakers,
            None => waiting.entry(self.topic.into()).or_default(),
        };
        match self.key {
            Some(key) => wakers[key].clone_from(cx.waker()),
            None => self.key = Some(wakers.insert(cx.waker().clone())),
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let Some(key) = self.key else { return };
        let mut waiting = self.shared.waiting.borrow_mut();
        let wakers = waiting.get_mut(self.topic).expect("who waits has a place in the list");
        wakers.remove(key);
        if wakers.is_empty() {
            waiting.remove(self.topic);
            self.shared.registry.borrow_mut().unwatch(self.topic);
        }
    }
}

fn unix_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}
