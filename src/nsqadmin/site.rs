//! What nsqadmin serves: pages, the original's JSON, and what is Shoal's own.

mod act;
mod config;
mod graphite;
mod messages;
mod metrics;
mod own;
mod pages;
mod read;
mod reply;
mod routes;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use hyper::StatusCode;

pub use routes::Endpoint;

use super::access::Access;
use super::actions::{Notifier, Subject};
use super::cluster::Cluster;
use super::history::History;
use super::poller::Poller;
use crate::config::host;
use crate::config::nsqadmin::{AdminOptions, GraphiteOptions, HistoryOptions};
use crate::config::settings::Settings;
use crate::http::client::{Client, Url};
use crate::http::respond::{Failure, Response, plain_text};
use crate::http::router::Router;
use crate::http::server::{Request, Site};
use crate::net::shield::Shielded;

/// Everything that handlers work with. It lives on one thread.
#[derive(Debug)]
pub struct AdminSite {
    router: Router<Endpoint>,
    base: String,
    dev_static_dir: Option<PathBuf>,
    hostname: String,
    settings: RefCell<Settings>,
    access: Access,
    client: Client,
    cluster: Rc<Cluster>,
    poller: Rc<Poller>,
    notifier: Notifier,
    graphite: GraphiteOptions,
    graphite_url: Option<Url>,
    history_options: HistoryOptions,
    /// Actions by what became of them.
    actions: RefCell<BTreeMap<&'static str, u64>>,
    requests: Cell<u64>,
}

impl AdminSite {
    /// What the options say; on the executor that will serve it.
    pub fn new(options: AdminOptions, client: Client) -> AdminSite {
        let notifier = Notifier::start(client.clone(), options.notification_endpoint);
        let cluster = Rc::new(Cluster::new(client.clone(), options.sources));
        let poller = poller(options.history, &cluster);
        AdminSite {
            router: routes::router(&options.base_path),
            base: options.base_path,
            dev_static_dir: options.dev_static_dir,
            hostname: host::hostname(),
            settings: RefCell::new(options.settings),
            access: Access::new(options.access),
            cluster,
            poller,
            client,
            notifier,
            graphite_url: Url::parse(&options.graphite.url).ok(),
            graphite: options.graphite,
            history_options: options.history,
            actions: RefCell::default(),
            requests: Cell::default(),
        }
    }

    fn count_action(&self, outcome: &'static str) {
        *self.actions.borrow_mut().entry(outcome).or_default() += 1;
    }

    async fn answer(&self, endpoint: Endpoint, request: &Request<'_>) -> Result<Response, Failure> {
        use Endpoint as E;
        let (method, headers) = (&request.parts.method, &request.parts.headers);
        self.access.admit_host(headers)?;
        self.access.admit_origin(method, headers)?;
        match endpoint {
            E::Create
            | E::ChangeTopic
            | E::DeleteTopic
            | E::ChangeChannel
            | E::DeleteChannel
            | E::Tombstone
            | E::Publish
            | E::Peek => self.act(endpoint, request).await,
            E::Config => config::config(self, request),
            endpoint => self.read(endpoint, request).await,
        }
    }

    /// Requests for admins only: they change something, or show what messages say.
    async fn act(&self, endpoint: Endpoint, request: &Request<'_>) -> Result<Response, Failure> {
        use Endpoint as E;
        // Before the body is looked at, as in the original.
        self.access.admit_admin(&request.parts.headers, request.remote)?;
        let channel = request.params.get("channel");
        let topic = request.params.get("topic").unwrap_or_default();
        let subject = Subject { topic, channel };
        match endpoint {
            E::Create => act::create(self, request).await,
            E::DeleteTopic | E::DeleteChannel => Ok(act::delete(self, request, subject).await),
            E::Tombstone => {
                let node = request.params.get("node").unwrap_or_default();
                act::tombstone(self, request, node).await
            }
            E::Publish => messages::publish(self, request).await,
            E::Peek => messages::peek(self, request).await,
            _ => act::change(self, request, subject).await,
        }
    }

    async fn read(&self, endpoint: Endpoint, request: &Request<'_>) -> Result<Response, Failure> {
        use Endpoint as E;
        let cluster = &self.cluster;
        let param = |name| request.params.get(name).unwrap_or_default();
        Ok(match endpoint {
            E::Page => pages::page(self, request),
            E::Asset => pages::asset(self, &request.parts.headers, param("asset")),
            E::Ping => plain_text(StatusCode::OK, "OK"),
            E::Healthz => own::healthz(),
            E::Readyz => own::readyz(self).await,
            E::Metrics => metrics::metrics(self)?,
            E::Overview => own::overview(self).await,
            E::History => own::history(self, request.query()?)?,
            E::Health => own::health(self).await,
            E::Topics => read::topics(cluster, request.parts.uri.query()).await?,
            E::Topic => read::topic(cluster, param("topic")).await,
            E::Channel => read::channel(cluster, param("topic"), param("channel")).await,
            E::Nodes => read::nodes(cluster).await,
            E::Node => read::node(cluster, param("node")).await,
            E::Counter => read::counter(cluster).await,
            E::GraphiteRate => graphite::rate(self, request.query()?).await?,
            E::Render => graphite::render(self, request).await,
            // The others change something.
            _ => return Err(Failure::internal()),
        })
    }
}

/// Polls from now on, if it is wanted.
fn poller(options: HistoryOptions, cluster: &Rc<Cluster>) -> Rc<Poller> {
    let interval = options.interval.unwrap_or(Duration::ZERO);
    let history = History::new(interval, options.span, options.memory_bytes);
    let poller = Rc::new(Poller::new(history, options.interval.is_some()));
    if options.interval.is_some() {
        let work = poller.clone().run(cluster.clone(), interval);
        glommio::spawn_local(Shielded::new("the poller", work)).detach();
    }
    poller
}

impl Site for AdminSite {
    type Endpoint = Endpoint;

    fn routes(&self) -> &Router<Endpoint> {
        &self.router
    }

    fn body_bytes_max(&self, endpoint: Endpoint) -> Option<u64> {
        endpoint.body_bytes_max()
    }

    fn is_logged(&self, endpoint: Endpoint) -> bool {
        endpoint.is_logged()
    }

    async fn handle(&self, endpoint: Endpoint, request: Request<'_>) -> Result<Response, Failure> {
        self.requests.set(self.requests.get() + 1);
        let outcome = self.answer(endpoint, &request).await;
        let response = outcome.unwrap_or_else(|failure| failure.v1());
        Ok(reply::finish(endpoint, &request.parts.headers, response).await)
    }
}
