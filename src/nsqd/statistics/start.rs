//! From the options to the running threads.

use std::sync::Arc;

use shards::upgrade::Room;

use super::latency;
use super::office::{Office, Sources};
use super::outpost::Outpost;
use super::page::BesideMetrics;
use super::statsd::{self, Statsd};
use crate::config::nsqd::NsqdOptions;
use crate::config::value::Value;
use crate::nsqd::control::Survey;
use crate::nsqd::doorbell::Doorbell;
use crate::nsqd::http::facts::Facts;

/// The threads that tell what the broker counts.
#[derive(Debug)]
pub struct Statistics {
    office: Office,
    statsd: Option<Statsd>,
}

/// What they have from the rest of the process.
pub struct Surroundings<'a> {
    /// What HTTP tells about it.
    pub facts: &'a Arc<Facts>,
    /// Asks about nsqlookupds.
    pub survey: Survey,
    /// What is left of the memory for compressed connections.
    pub room: &'a Room,
    /// What else runs in the process, as metrics.
    pub beside: Option<BesideMetrics>,
}

impl Statistics {
    /// Starts them, and gives each worker, in the order of the doorbells, its outpost.
    ///
    /// # Errors
    /// When there can be no more threads.
    pub fn start(
        options: &NsqdOptions,
        around: Surroundings<'_>,
        doorbells: &[Doorbell],
    ) -> Result<(Statistics, Vec<Outpost>), String> {
        let Surroundings { facts, survey, room, beside } = around;
        let percentiles = options.e2e_percentiles.clone();
        let sources = Sources {
            facts: facts.clone(),
            percentiles: percentiles.clone(),
            data_path: options.data_path.clone(),
            series_max: options.metrics.series_max,
            legacy_names: options.metrics.legacy_names,
            compression: (room.clone(), options.compression_memory_bytes),
            survey,
            beside,
        };
        let failed = |error| format!("cannot start a thread - {error}");
        let (office, outposts) = Office::start(sources, doorbells).map_err(failed)?;
        let statsd = (!options.statsd.address.is_empty())
            .then(|| Statsd::start(options.statsd.clone(), percentiles, office.errands()));
        let statsd = statsd.transpose().map_err(failed)?;
        Ok((Statistics { office, statsd }, outposts))
    }

    /// Ends reports; pages are written as long as there are workers to ask.
    pub fn stop_reports(&mut self) {
        self.statsd.take().into_iter().for_each(Statsd::stop);
    }

    /// Ends everything; the workers must have ended.
    pub fn stop(mut self) {
        self.stop_reports();
        self.office.stop();
    }
}

/// Completes what keys of a statsd begin with by the node's name, also where options are shown.
/// The ports must be known.
pub fn complete_prefix(options: &mut NsqdOptions) {
    let (address, port) = (&options.broadcast_address, options.broadcast_http_port);
    options.statsd.prefix = statsd::prefix(&options.statsd.prefix, address, port);
    options.settings.set("statsd-prefix", Value::Text(options.statsd.prefix.clone()));
}

/// How messages are measured, if they are to be.
#[must_use]
pub fn latency(options: &NsqdOptions) -> Option<latency::Settings> {
    let percentiles = options.e2e_percentiles.clone();
    let window_ms = options.e2e_window_ms;
    (!percentiles.is_empty()).then_some(latency::Settings { percentiles, window_ms })
}
