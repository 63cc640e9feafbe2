//! How many requests of HTTP were answered, by what they were about and how.

use hyper::StatusCode;

use super::routes::Endpoint;

/// What requests are about.
pub const CLASSES: [&str; 9] =
    ["publish", "stats", "metrics", "manage", "messages", "config", "health", "debug", "other"];
/// Statuses that are told apart; all others are counted together, as `other`.
pub const STATUSES: [&str; 13] =
    ["200", "301", "307", "400", "401", "403", "404", "405", "413", "429", "500", "503", "other"];

/// The class of a request that no endpoint answers.
const OTHER: usize = CLASSES.len() - 1;

/// The counts of one worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestCounts([[u64; STATUSES.len()]; CLASSES.len()]);

impl RequestCounts {
    /// Counts a request; `None` is one that no endpoint answers.
    pub fn count(&mut self, endpoint: Option<Endpoint>, status: StatusCode) {
        self.0[endpoint.map_or(OTHER, class)][column(status)] += 1;
    }

    /// Adds up.
    pub fn add(&mut self, other: &RequestCounts) {
        for (row, more) in self.0.iter_mut().zip(&other.0) {
            for (count, more) in row.iter_mut().zip(more) {
                *count += more;
            }
        }
    }

    /// Class, status and count of all that there were; those that went well are always told.
    pub fn rows(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        CLASSES.iter().zip(&self.0).flat_map(|(class, row)| {
            let row = STATUSES
                .iter()
                .zip(row)
                .filter(|(status, count)| **status == STATUSES[0] || **count > 0);
            row.map(move |(status, count)| (*class, *status, *count))
        })
    }
}

fn class(endpoint: Endpoint) -> usize {
    use Endpoint as E;
    let name = match endpoint {
        E::Publish | E::PublishMany => "publish",
        E::Stats | E::Info => "stats",
        E::Metrics => "metrics",
        E::CreateTopic | E::Topic(_) => "manage",
        E::CreateChannel | E::Channel(_) | E::Seek | E::Redrive => "manage",
        E::Messages => "messages",
        E::Config | E::Policy(_) | E::Drain => "config",
        E::Ping | E::Healthz | E::Readyz => "health",
        E::Profile(_) | E::SetBlockRate | E::FreeMemory => "debug",
    };
    CLASSES.iter().position(|class| *class == name).unwrap_or(OTHER)
}

fn column(status: StatusCode) -> usize {
    // The one that nearly all have needs no search.
    if status == StatusCode::OK {
        return 0;
    }
    STATUSES.iter().position(|known| *known == status.as_str()).unwrap_or(STATUSES.len() - 1)
}

#[cfg(test)]
mod tests {
    use super::{CLASSES, RequestCounts, STATUSES, class};
    use crate::nsqd::http::routes::Endpoint;
    use hyper::StatusCode;

    #[test]
    fn requests_are_counted_by_class_and_status() {
        let mut counts = RequestCounts::default();
        counts.count(Some(Endpoint::Publish), StatusCode::OK);
        counts.count(Some(Endpoint::PublishMany), StatusCode::OK);
        counts.count(Some(Endpoint::Readyz), StatusCode::SERVICE_UNAVAILABLE);
        counts.count(None, StatusCode::NOT_FOUND);
        counts.count(None, StatusCode::IM_A_TEAPOT);
        let mut twice = counts;
        twice.add(&counts);
        let rows: Vec<_> = twice.rows().filter(|(.., count)| *count > 0).collect();
        let expected = [
            ("publish", "200", 4),
            ("health", "503", 2),
            ("other", "404", 2),
            ("other", "other", 2),
        ];
        assert_eq!(rows, expected);
        assert_eq!(CLASSES[class(Endpoint::Publish)], "publish");
        assert_eq!(STATUSES[0], "200");
    }
}
