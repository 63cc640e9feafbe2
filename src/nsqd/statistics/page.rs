//! The pages that can be ordered, and what comes of an order.

use hyper::StatusCode;
use prometheus::proto::MetricFamily;
use shards::stats::StatsQuery;

use crate::http::exposition;
use crate::http::respond::{Failure, Response, v1_json_text, v1_text};

/// What else runs in the process, as metrics; empty when it does not answer in time.
pub type BesideMetrics = Box<dyn Fn() -> Vec<MetricFamily> + Send>;

/// A page that somebody wants.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// `/stats`.
    Stats {
        /// What of it.
        query: StatsQuery,
        /// With what is known of the process's memory.
        memory: bool,
        /// As JSON, or else as text.
        json: bool,
    },
    /// `/metrics`.
    Metrics(Detail),
}

/// How much `/metrics` tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Detail {
    /// Series of each connection.
    pub clients: bool,
    /// What shards count, of each shard instead of all together.
    pub shards: bool,
}

/// What an order comes to.
#[derive(Clone, Debug)]
pub enum Page {
    /// `/stats` as JSON.
    Json(Vec<u8>),
    /// `/stats` as text.
    Text(Vec<u8>),
    /// `/metrics`.
    Metrics(Vec<u8>),
    /// Nothing, for this reason.
    Failed(Failure),
}

impl Page {
    /// What is answered when there are too many orders.
    #[must_use]
    pub fn too_busy() -> Page {
        Page::Failed(Failure::new(StatusCode::SERVICE_UNAVAILABLE, "TOO_MANY_REQUESTS"))
    }

    /// As an answer to a request.
    ///
    /// # Errors
    /// When it failed.
    pub fn response(self) -> Result<Response, Failure> {
        Ok(match self {
            Page::Json(json) => v1_json_text(json),
            Page::Text(text) => v1_text(text),
            Page::Metrics(text) => exposition::response(text),
            Page::Failed(failure) => return Err(failure),
        })
    }
}
