//! The table of nsqadmin's URLs.

use hyper::Method;

use crate::http::router::{Route, Router};

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A page; the browser finds out which.
    Page,
    /// Is the process there?
    Ping,
    /// As above, for machines.
    Healthz,
    /// Does it see its cluster?
    Readyz,
    /// Numbers for Prometheus.
    Metrics,
    /// A file that pages are made of.
    Asset,
    /// A picture from Graphite.
    Render,
    /// All topics.
    Topics,
    /// Create a topic, and perhaps a channel.
    Create,
    /// One topic.
    Topic,
    /// Pause, unpause or empty it.
    ChangeTopic,
    /// Delete it.
    DeleteTopic,
    /// One channel.
    Channel,
    /// Pause, unpause or empty it.
    ChangeChannel,
    /// Delete it.
    DeleteChannel,
    /// All nodes.
    Nodes,
    /// One node.
    Node,
    /// Take a topic away from it.
    Tombstone,
    /// Messages of all channels.
    Counter,
    /// A rate from Graphite.
    GraphiteRate,
    /// Look at an option or set it.
    Config,
    /// All topics with their numbers, from the last poll.
    Overview,
    /// Numbers of the last polls.
    History,
    /// What is wrong with the cluster.
    Health,
    /// Publish a message.
    Publish,
    /// Look at messages.
    Peek,
}

impl Endpoint {
    /// The largest body that it takes; `None` when it does not look at bodies.
    pub fn body_bytes_max(self) -> Option<u64> {
        use Endpoint as E;
        match self {
            E::Create | E::ChangeTopic | E::ChangeChannel | E::Tombstone => Some(64 << 10),
            // Larger than any value or message, so that the handler says what is wrong.
            E::Config | E::Publish => Some(8 << 20),
            _ => None,
        }
    }

    /// Whether its requests are logged: those of machines that come every few seconds are not.
    pub fn is_logged(self) -> bool {
        !matches!(self, Endpoint::Healthz | Endpoint::Readyz | Endpoint::Metrics)
    }

    /// Whether its answers must not be kept by anybody.
    pub fn is_live(self) -> bool {
        !matches!(self, Endpoint::Asset | Endpoint::Render)
    }
}

/// All URLs, below a base path (empty, or `/x`).
pub fn router(base: &str) -> Router<Endpoint> {
    use Endpoint as E;
    let (get, post, put, delete) = (Method::GET, Method::POST, Method::PUT, Method::DELETE);
    let table = [
        (&get, "/", E::Page),
        (&get, "/topics", E::Page),
        (&get, "/topics/{topic}", E::Page),
        (&get, "/topics/{topic}/{channel}", E::Page),
        (&get, "/nodes", E::Page),
        (&get, "/nodes/{node}", E::Page),
        (&get, "/counter", E::Page),
        (&get, "/lookup", E::Page),
        (&get, "/health", E::Page),
        (&get, "/ping", E::Ping),
        (&get, "/healthz", E::Healthz),
        (&get, "/readyz", E::Readyz),
        (&get, "/metrics", E::Metrics),
        (&get, "/static/{asset}", E::Asset),
        (&get, "/fonts/{asset}", E::Asset),
        (&get, "/render", E::Render),
        (&get, "/api/topics", E::Topics),
        (&post, "/api/topics", E::Create),
        (&get, "/api/topics/{topic}", E::Topic),
        (&post, "/api/topics/{topic}", E::ChangeTopic),
        (&delete, "/api/topics/{topic}", E::DeleteTopic),
        (&get, "/api/topics/{topic}/{channel}", E::Channel),
        (&post, "/api/topics/{topic}/{channel}", E::ChangeChannel),
        (&delete, "/api/topics/{topic}/{channel}", E::DeleteChannel),
        (&get, "/api/nodes", E::Nodes),
        (&get, "/api/nodes/{node}", E::Node),
        (&delete, "/api/nodes/{node}", E::Tombstone),
        (&get, "/api/counter", E::Counter),
        (&get, "/api/graphite", E::GraphiteRate),
        (&get, "/api/overview", E::Overview),
        (&get, "/api/history", E::History),
        (&get, "/api/health", E::Health),
        (&post, "/api/publish", E::Publish),
        (&get, "/api/peek", E::Peek),
        (&get, "/config/{opt}", E::Config),
        (&put, "/config/{opt}", E::Config),
    ];
    let routes: Vec<Route<Endpoint>> = table
        .into_iter()
        .map(|(method, path, endpoint)| (method.clone(), below(base, path), endpoint))
        .collect();
    Router::new(&routes)
}

/// The pattern below a base path. It is made once for the whole run of the program.
fn below(base: &str, path: &'static str) -> &'static str {
    if base.is_empty() {
        return path;
    }
    let path = if path == "/" { "" } else { path };
    String::leak(format!("{base}{path}"))
}

#[cfg(test)]
mod tests {
    use hyper::Method;

    use super::{Endpoint, router};
    use crate::http::router::Found;

    #[test]
    fn urls_stand_below_the_base_path() {
        let plain = router("");
        let based = router("/nsq/x");
        let endpoint = |router: &crate::http::router::Router<Endpoint>, path: &str| match router
            .find(&Method::GET, path)
        {
            Found::Endpoint(endpoint, _) => Some(endpoint),
            _ => None,
        };
        assert_eq!(endpoint(&plain, "/"), Some(Endpoint::Page));
        assert_eq!(endpoint(&plain, "/topics/a/b"), Some(Endpoint::Page));
        assert_eq!(endpoint(&plain, "/config/log_level"), Some(Endpoint::Config));
        assert_eq!(endpoint(&based, "/nsq/x"), Some(Endpoint::Page));
        assert_eq!(endpoint(&based, "/nsq/x/ping"), Some(Endpoint::Ping));
        assert_eq!(endpoint(&based, "/"), None);
        assert_eq!(endpoint(&based, "/ping"), None);
        let fixed = based.find(&Method::GET, "/nsq/x/");
        assert!(matches!(fixed, Found::Elsewhere(path) if path == "/nsq/x"));
    }
}
