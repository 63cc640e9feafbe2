//! The consumers of one run, and what they have seen together.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::Notify;
use tokio_nsq::{
    NSQChannel, NSQConsumer, NSQConsumerConfig, NSQConsumerConfigSources, NSQMessage,
    NSQRequeueDelay, NSQTopic,
};

use crate::plan::{Plan, deferred};
use crate::produce::{DEFERRAL_MS, shared};

const REQUEUE_DELAY: Duration = Duration::from_millis(50);

/// Clocks and timers may round, but not by more than this.
const EARLY_SLACK_MS: u32 = 5;

/// How long to wait for what must not come once everything is there.
const LINGER: Duration = Duration::from_millis(300);

/// What all consumers of a run have counted.
#[derive(Default)]
pub struct Counts {
    pub finished: BTreeSet<usize>,
    pub received: usize,
    pub corrupt: usize,
    pub requeued: usize,
    pub early: usize,
}

impl Counts {
    pub fn right(&self, plan: &Plan) -> bool {
        self.finished.len() == plan.messages
            && self.received == plan.messages + plan.requeues()
            && self.requeued == plan.requeues()
            && self.corrupt == 0
            && self.early == 0
    }
}

/// The counts, and the bell that rings once everything is there.
#[derive(Default)]
pub struct Tally {
    pub counts: Mutex<Counts>,
    done: Notify,
}

/// Runs `connections` consumers of every topic until every message came.
pub async fn consume(
    plan: Arc<Plan>,
    tally: Arc<Tally>,
    (nsqd, channel, layers): (String, String, String),
    connections: usize,
) -> Result<(), String> {
    let channel = NSQChannel::new(channel).ok_or("a bad channel name")?;
    let mut running = tokio::task::JoinSet::new();
    for number in 0..plan.topics {
        let topic = NSQTopic::new(plan.topic_name(number)).ok_or("a bad topic name")?;
        for _ in 0..connections {
            let consumer = NSQConsumerConfig::new(topic.clone(), channel.clone())
                .set_max_in_flight(200)
                .set_sources(NSQConsumerConfigSources::Daemons(vec![nsqd.clone()]))
                .set_shared(shared(&layers))
                .build();
            running.spawn(take(plan.clone(), tally.clone(), number, consumer));
        }
    }
    tally.done.notified().await;
    tokio::time::sleep(LINGER).await;
    running.shutdown().await;
    Ok(())
}

async fn take(plan: Arc<Plan>, tally: Arc<Tally>, number: usize, mut consumer: NSQConsumer) {
    while let Some(message) = consumer.consume_filtered().await {
        match judge(&plan, &tally, number, &message) {
            Some(delay) => message.requeue(delay).await,
            None => message.finish().await,
        }
        let counts = tally.counts.lock().expect("no holder panics");
        if counts.finished.len() == plan.messages {
            tally.done.notify_one();
        }
    }
}

/// Counts one delivery and says how long to requeue it, or None to finish it.
fn judge(
    plan: &Plan,
    tally: &Tally,
    number: usize,
    message: &NSQMessage,
) -> Option<NSQRequeueDelay> {
    let mut counts = tally.counts.lock().expect("no holder panics");
    counts.received += 1;
    let Some(i) = plan.index(&message.body, number) else {
        counts.corrupt += 1;
        return None;
    };
    let first = message.attempt == 1;
    let held_back = Duration::from_millis((DEFERRAL_MS - EARLY_SLACK_MS).into());
    if first && deferred(i) && age(message) < held_back {
        counts.early += 1;
    }
    if first && plan.to_requeue(i) {
        counts.requeued += 1;
        let at_once = (i / plan.requeue).is_multiple_of(2);
        return Some(if at_once {
            NSQRequeueDelay::NoDelay
        } else {
            NSQRequeueDelay::CustomDelay(REQUEUE_DELAY)
        });
    }
    counts.finished.insert(i);
    None
}

fn age(message: &NSQMessage) -> Duration {
    let published = UNIX_EPOCH + Duration::from_nanos(message.timestamp);
    SystemTime::now()
        .duration_since(published)
        .unwrap_or_default()
}
