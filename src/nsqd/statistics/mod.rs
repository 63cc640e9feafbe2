//! What the broker tells about itself: `/stats`, `/metrics`, and reports to a statsd.
//!
//! Shards only count. A thread, the [`Office`], asks all workers through their [`Outpost`]s, part
//! by part, puts the answers together and writes pages out of them, so that a shard spends no more
//! than a bounded part of a turn on any of this, whatever there is to tell. An HTTP connection
//! orders its page there and gets it with a ring of its worker's doorbell; `statsd` is a thread of
//! its own that orders totals. Orders wait in a bounded line.
//!
//! Reading order: `durations` and `latency` (what is measured), `outpost` (a worker's end),
//! `office` (asking all of them), `page` (what comes of it), `metrics`, `statsd`.

pub mod durations;
pub mod latency;
pub mod publishing;

pub mod outpost;

pub mod office;
pub mod page;

mod metrics;
mod statsd;

pub mod start;

pub use metrics::early as early_metrics;
pub use outpost::Outpost;
pub use page::{Page, Wanted};
