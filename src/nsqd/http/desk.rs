//! Where HTTP hands in what it wants of the shards, and how their answers find back.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use hyper::StatusCode;
use shards::auth::Question;
use shards::request::{Reply, Request};
use slab::Slab;

use super::facts::Facts;
use super::routes::Endpoint;
use super::timers::remember;
use crate::nsqd::control::auth::Outcome;
use crate::nsqd::statistics::{Page, Wanted};

/// The most requests of one shard's HTTP connections that may wait for answers at a time.
pub const WAITING_REQUESTS_MAX: usize = 64 * 1024;

/// What the turn loop offers to HTTP tasks. Cheap to clone; stays on its thread.
pub trait Desk: Clone + 'static {
    /// How many shards there are.
    fn shards(&self) -> u16;

    /// The shard that owns a topic of this name, existing or not.
    fn owner(&self, topic: &[u8]) -> u16;

    /// Sends a request to a shard. When it cannot be taken now, the answer is `Refused`.
    fn ask(&self, shard: u16, request: Request) -> impl Future<Output = Reply> + 'static;

    /// Finds out what a request may do.
    fn authorize(&self, question: Question) -> impl Future<Output = Outcome> + 'static;

    /// Orders a page that tells of all shards.
    fn page(&self, wanted: Wanted) -> impl Future<Output = Page> + 'static;

    /// A request was answered; `None` stands for one that no endpoint answers.
    fn count(&self, endpoint: Option<Endpoint>, status: StatusCode);

    /// What does not change while requests are answered, or is not a shard's.
    fn facts(&self) -> &Facts;
}

/// Requests that wait for their answers. Clones share them.
#[derive(Debug)]
pub struct Answers<T = Reply> {
    inner: Rc<RefCell<Inner<T>>>,
}

impl<T> Clone for Answers<T> {
    fn clone(&self) -> Answers<T> {
        Answers { inner: self.inner.clone() }
    }
}

#[derive(Debug)]
struct Inner<T> {
    slots: Slab<Slot<T>>,
    /// Counts the slots ever used, so that a late answer meets no later question.
    serial: u32,
    most: usize,
}

#[derive(Debug)]
struct Slot<T> {
    serial: u32,
    state: State<T>,
}

#[derive(Debug)]
enum State<T> {
    Waiting(Option<Waker>),
    Answered(T),
    Taken,
}

impl<T> Default for Answers<T> {
    fn default() -> Answers<T> {
        Answers::new(WAITING_REQUESTS_MAX)
    }
}

impl<T> Answers<T> {
    /// Lets at most `most` requests wait.
    #[must_use]
    pub fn new(most: usize) -> Answers<T> {
        let inner = Inner { slots: Slab::new(), serial: 0, most };
        Answers { inner: Rc::new(RefCell::new(inner)) }
    }

    /// A ticket to send along with a request, and the answer to wait for. `None` when too many
    /// wait: refuse the request.
    #[must_use]
    pub fn expect(&self) -> Option<(u64, impl Future<Output = T> + use<T>)> {
        let ticket = self.inner.borrow_mut().open()?;
        let answer = Answer { inner: self.inner.clone(), ticket };
        Some((ticket, poll_fn(move |cx| answer.poll(cx))))
    }

    /// Delivers an answer. Nobody may be waiting any more; then it is dropped.
    pub fn answer(&self, ticket: u64, reply: T) {
        let waker = self.inner.borrow_mut().settle(ticket, reply);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// How many requests wait.
    pub fn waiting(&self) -> usize {
        self.inner.borrow().slots.len()
    }
}

impl<T> Inner<T> {
    fn open(&mut self) -> Option<u64> {
        if self.slots.len() >= self.most {
            return None;
        }
        self.serial = self.serial.wrapping_add(1);
        let slot = Slot { serial: self.serial, state: State::Waiting(None) };
        let key = u32::try_from(self.slots.insert(slot)).ok()?;
        Some(u64::from(self.serial) << 32 | u64::from(key))
    }

    fn find(&mut self, ticket: u64) -> Option<&mut Slot<T>> {
        let (serial, key) = split(ticket);
        self.slots.get_mut(key).filter(|slot| slot.serial == serial)
    }

    fn settle(&mut self, ticket: u64, reply: T) -> Option<Waker> {
        let slot = self.find(ticket)?;
        let State::Waiting(waker) = &mut slot.state else {
            return None;
        };
        let waker = waker.take();
        slot.state = State::Answered(reply);
        waker
    }

    fn poll(&mut self, ticket: u64, cx: &Context<'_>) -> Poll<T> {
        let slot = self.find(ticket).expect("the slot lives as long as its answer");
        if let State::Waiting(waker) = &mut slot.state {
            remember(waker, cx);
            return Poll::Pending;
        }
        match std::mem::replace(&mut slot.state, State::Taken) {
            State::Answered(reply) => Poll::Ready(reply),
            State::Waiting(_) | State::Taken => Poll::Pending,
        }
    }
}

fn split(ticket: u64) -> (u32, usize) {
    ((ticket >> 32) as u32, (ticket & u64::from(u32::MAX)) as usize)
}

/// The right to one answer; dropping it frees the slot.
#[derive(Debug)]
struct Answer<T> {
    inner: Rc<RefCell<Inner<T>>>,
    ticket: u64,
}

impl<T> Answer<T> {
    fn poll(&self, cx: &Context<'_>) -> Poll<T> {
        self.inner.borrow_mut().poll(self.ticket, cx)
    }
}

impl<T> Drop for Answer<T> {
    fn drop(&mut self) {
        let mut inner = self.inner.borrow_mut();
        assert!(inner.find(self.ticket).is_some(), "a slot was freed behind its answer's back");
        inner.slots.remove(split(self.ticket).1);
    }
}

#[cfg(test)]
mod tests {
    use super::Answers;
    use crate::nsqd::http::testing::Alarm;
    use shards::request::Reply;
    use std::future::Future;
    use std::pin::pin;
    use std::sync::Arc;
    use std::task::{Context, Poll};

    #[test]
    fn an_answer_wakes_and_reaches_who_asked() {
        let answers = Answers::<Reply>::default();
        let alarm = Arc::new(Alarm::default());
        let waker = alarm.clone().into();
        let mut cx = Context::from_waker(&waker);
        let (first, wait_first) = answers.expect().expect("room");
        let (second, wait_second) = answers.expect().expect("room");
        let (mut wait_first, mut wait_second) = (pin!(wait_first), pin!(wait_second));
        assert!(wait_first.as_mut().poll(&mut cx).is_pending());
        assert!(wait_second.as_mut().poll(&mut cx).is_pending());
        answers.answer(second, Reply::TopicNotFound);
        assert!(alarm.take());
        assert!(wait_first.as_mut().poll(&mut cx).is_pending());
        let outcome = wait_second.as_mut().poll(&mut cx);
        assert!(matches!(outcome, Poll::Ready(Reply::TopicNotFound)));
        answers.answer(first, Reply::Done);
        assert!(matches!(wait_first.as_mut().poll(&mut cx), Poll::Ready(Reply::Done)));
    }

    #[test]
    fn a_late_answer_does_not_reach_the_next_question() {
        let answers = Answers::<Reply>::default();
        let (old, wait) = answers.expect().expect("room");
        drop(wait);
        assert_eq!(answers.waiting(), 0);
        let (new, wait) = answers.expect().expect("room");
        assert_ne!(old, new);
        let mut wait = pin!(wait);
        let mut cx = Context::from_waker(std::task::Waker::noop());
        answers.answer(old, Reply::Done);
        assert!(wait.as_mut().poll(&mut cx).is_pending());
        answers.answer(new, Reply::ChannelNotFound);
        answers.answer(new, Reply::Done);
        let outcome = wait.as_mut().poll(&mut cx);
        assert!(matches!(outcome, Poll::Ready(Reply::ChannelNotFound)), "the first answer counts");
    }

    #[test]
    fn too_many_questions_are_refused() {
        let answers = Answers::<Reply>::new(2);
        let first = answers.expect();
        let second = answers.expect();
        assert!(first.is_some() && second.is_some());
        assert!(answers.expect().is_none());
        drop(first);
        assert!(answers.expect().is_some());
    }
}
