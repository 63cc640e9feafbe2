//! The table of nsqd's HTTP endpoints.

use std::sync::LazyLock;

use hyper::Method;
use shards::request::{ChannelAction, TopicAction};

use crate::http::profiles::{self, Profile};
use crate::http::router::{Route, Router};

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// Is the process well?
    Ping,
    /// Does the process work?
    Healthz,
    /// Should messages be sent to it?
    Readyz,
    /// Who is it?
    Info,
    /// Queue one message.
    Publish,
    /// Queue several messages.
    PublishMany,
    /// How is everything?
    Stats,
    /// The same, for Prometheus.
    Metrics,
    /// Create a topic.
    CreateTopic,
    /// Do something to a topic.
    Topic(TopicAction),
    /// Create a channel.
    CreateChannel,
    /// Do something to a channel.
    Channel(ChannelAction),
    /// Look at messages.
    Messages,
    /// Look at an option or set it.
    Config,
    /// Give everything out and end.
    Drain,
    /// A profile.
    Profile(Profile),
    /// Look at what is asked of a topic or channel, or set it.
    Policy(Subject),
    /// Bring dead letters back, or look how far that is.
    Redrive,
    /// Move a channel in its topic's messages.
    Seek,
    /// How often Go looks at blocked goroutines.
    SetBlockRate,
    /// Give memory back.
    FreeMemory,
}

impl Endpoint {
    /// Whether its requests are logged. Publishes are not: there are too many; nor are those of
    /// machines that come every few seconds.
    #[must_use]
    pub fn is_logged(self) -> bool {
        use Endpoint::{Healthz, Profile, Publish, PublishMany, Readyz};
        !matches!(self, Publish | PublishMany | Profile(_) | Healthz | Readyz)
    }
}

/// What something is asked of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A topic.
    Topic,
    /// A channel.
    Channel,
}

/// All endpoints.
pub static ROUTES: LazyLock<Router<Endpoint>> = LazyLock::new(|| Router::new(&table()));

fn table() -> Vec<Route<Endpoint>> {
    use Endpoint as E;
    let (get, post, put) = (Method::GET, Method::POST, Method::PUT);
    let routes = [
        (&get, "/ping", E::Ping),
        (&get, "/healthz", E::Healthz),
        (&get, "/readyz", E::Readyz),
        (&get, "/info", E::Info),
        (&post, "/pub", E::Publish),
        (&post, "/mpub", E::PublishMany),
        (&get, "/stats", E::Stats),
        (&get, "/metrics", E::Metrics),
        (&post, "/topic/create", E::CreateTopic),
        (&post, "/topic/delete", E::Topic(TopicAction::Delete)),
        (&post, "/topic/empty", E::Topic(TopicAction::Empty)),
        (&post, "/topic/pause", E::Topic(TopicAction::Pause)),
        (&post, "/topic/unpause", E::Topic(TopicAction::Unpause)),
        (&post, "/channel/create", E::CreateChannel),
        (&post, "/channel/delete", E::Channel(ChannelAction::Delete)),
        (&post, "/channel/empty", E::Channel(ChannelAction::Empty)),
        (&post, "/channel/pause", E::Channel(ChannelAction::Pause)),
        (&post, "/channel/unpause", E::Channel(ChannelAction::Unpause)),
        (&get, "/channel/messages", E::Messages),
        (&get, "/topic/config", E::Policy(Subject::Topic)),
        (&post, "/topic/config", E::Policy(Subject::Topic)),
        (&get, "/channel/config", E::Policy(Subject::Channel)),
        (&post, "/channel/config", E::Policy(Subject::Channel)),
        (&get, "/channel/redrive", E::Redrive),
        (&post, "/channel/redrive", E::Redrive),
        (&post, "/channel/seek", E::Seek),
        (&get, "/config/{opt}", E::Config),
        (&put, "/config/{opt}", E::Config),
        (&get, "/config/drain", E::Drain),
        (&put, "/config/drain", E::Drain),
        (&put, "/debug/setblockrate", E::SetBlockRate),
        (&post, "/debug/freememory", E::FreeMemory),
    ];
    let mut table = profiles::routes("/debug/pprof/", E::Profile);
    table.extend(routes.map(|(method, pattern, endpoint)| (method.clone(), pattern, endpoint)));
    table
}
