//! One connection that publishes its share of the blocks.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio_nsq::{
    NSQConfigShared, NSQConfigSharedCompression, NSQConfigSharedTLS, NSQDeflateLevel, NSQEvent,
    NSQProducer, NSQProducerConfig, NSQTopic,
};

use crate::plan::{BLOCK_SIZE, Plan, deferred, multi};

/// How long a message of DPUB is held back.
pub const DEFERRAL_MS: u32 = 100;

/// How long the library may keep what was written; its default is a quarter of a second.
pub const FLUSH: Duration = Duration::from_millis(5);

/// What connections have in common: the layers of the command line. The certificate is not looked
/// at, which is what the library does unless it is told to.
pub fn shared(layers: &str) -> NSQConfigShared {
    let mut shared = NSQConfigShared::new().set_flush_interval(FLUSH);
    if layers.contains("tls") {
        shared = shared.set_tls(NSQConfigSharedTLS::new("localhost"));
    }
    if layers.contains("snappy") {
        shared = shared.set_compression(NSQConfigSharedCompression::Snappy);
    }
    if let (true, Some(level)) = (layers.contains("deflate"), NSQDeflateLevel::new(6)) {
        shared = shared.set_compression(NSQConfigSharedCompression::Deflate(level));
    }
    shared
}

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Publishes every block whose turn it is on connection `k` of `connections`.
pub async fn produce(
    plan: Arc<Plan>,
    (nsqd, layers): (String, String),
    (k, connections): (usize, usize),
    published: Arc<AtomicUsize>,
) -> Outcome<()> {
    let mut producer = NSQProducerConfig::new(nsqd)
        .set_shared(shared(&layers))
        .build();
    match producer.consume().await {
        Some(NSQEvent::Healthy()) => {}
        other => return Err(format!("connecting: {other:?}").into()),
    }
    let mut topics = Vec::new();
    for number in 0..plan.topics {
        topics.push(NSQTopic::new(plan.topic_name(number)).ok_or("a bad topic name")?);
    }
    for start in (0..plan.messages).step_by(BLOCK_SIZE) {
        if start / BLOCK_SIZE / 2 % connections == k {
            publish_block(&plan, &mut producer, &topics, start).await?;
            let end = (start + BLOCK_SIZE).min(plan.messages);
            published.fetch_add(end - start, Ordering::Relaxed);
        }
    }
    Ok(())
}

/// All commands of a block are on their way before the first answer is awaited.
async fn publish_block(
    plan: &Plan,
    producer: &mut NSQProducer,
    topics: &[Arc<NSQTopic>],
    start: usize,
) -> Outcome<()> {
    let block = start..(start + BLOCK_SIZE).min(plan.messages);
    let mut batches = BTreeMap::<usize, Vec<Vec<u8>>>::new();
    let mut sent = 0;
    for i in block {
        let topic = &topics[i % plan.topics];
        if multi(i) {
            batches
                .entry(i % plan.topics)
                .or_default()
                .push(plan.body(i));
            continue;
        } else if deferred(i) {
            producer
                .publish_deferred(topic, plan.body(i), DEFERRAL_MS)
                .await?;
        } else {
            producer.publish(topic, plan.body(i)).await?;
        }
        sent += 1;
    }
    for (number, bodies) in batches {
        producer.publish_multiple(&topics[number], bodies).await?;
        sent += 1;
    }
    for _ in 0..sent {
        match producer.consume().await {
            Some(NSQEvent::Ok()) => {}
            other => return Err(format!("publishing the block at {start}: {other:?}").into()),
        }
    }
    Ok(())
}
