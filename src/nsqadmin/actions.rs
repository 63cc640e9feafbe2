//! What an admin can do to the cluster, over all nodes, with a result for each.

mod notify;

pub use notify::{Notice, Notifier};

use bytes::Bytes;
use hyper::Method;
use serde::Serialize;

use super::cluster::{Cluster, Failed, Kind, Node, TopicNodes, Unanswered, each, escape, warning};

/// An action by its name in notifications and in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Make it.
    Create,
    /// Remove it with its messages.
    Delete,
    /// Drop its messages.
    Empty,
    /// Hold its messages back.
    Pause,
    /// Hold them back no longer.
    Unpause,
}

impl Verb {
    /// As `{"action": …}` spells it; creating and deleting have methods of their own.
    pub fn parse(text: &str) -> Option<Verb> {
        match text {
            "empty" => Some(Verb::Empty),
            "pause" => Some(Verb::Pause),
            "unpause" => Some(Verb::Unpause),
            _ => None,
        }
    }

    /// In paths of nodes and in names of actions.
    pub fn name(self) -> &'static str {
        match self {
            Verb::Create => "create",
            Verb::Delete => "delete",
            Verb::Empty => "empty",
            Verb::Pause => "pause",
            Verb::Unpause => "unpause",
        }
    }
}

/// A topic, or a channel of it.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The channel; `None` for the topic itself.
    pub channel: Option<&'a str>,
}

impl Subject<'_> {
    /// `topic` or `channel`.
    pub fn noun(self) -> &'static str {
        if self.channel.is_some() { "channel" } else { "topic" }
    }

    /// The node's path that does this to it.
    fn path(self, verb: Verb) -> String {
        let mut path = format!("{}/{}?topic={}", self.noun(), verb.name(), escape(self.topic));
        if let Some(channel) = self.channel {
            path.push_str(&format!("&channel={}", escape(channel)));
        }
        path
    }
}

/// What became of an action at one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// What the node is.
    pub kind: Kind,
    /// Its HTTP address.
    pub address: String,
    /// Whether it did it.
    pub ok: bool,
    /// Why not.
    pub error: String,
    /// The status of its answer; 0 for none.
    pub status: u16,
}

impl Outcome {
    fn failure(&self) -> Failed {
        Failed {
            kind: self.kind,
            address: self.address.clone(),
            error: self.error.clone(),
            status: None,
        }
    }
}

/// What became of an action.
#[derive(Debug, Default)]
pub struct Done {
    /// At each node that was told, in the order in which they were.
    pub outcomes: Vec<Outcome>,
    /// Who could not be asked which nodes to tell.
    pub failed: Vec<Failed>,
    /// Why nothing more was done.
    pub stopped: Option<Stopped>,
}

/// Why an action was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// Nobody says which nodes to tell.
    Unanswered(Unanswered),
    /// No such topic.
    UnknownTopic,
    /// The node is not of this cluster.
    UnknownNode,
}

impl Done {
    fn tell(&mut self, outcomes: Vec<Outcome>) {
        self.outcomes.extend(outcomes);
    }

    fn stop(mut self, stopped: Stopped) -> Done {
        self.stopped = Some(stopped);
        self
    }

    /// `message` of the answer.
    pub fn message(&self) -> String {
        let refused = self.outcomes.iter().filter(|outcome| !outcome.ok).map(Outcome::failure);
        let all: Vec<Failed> = self.failed.iter().cloned().chain(refused).collect();
        warning(&[&all])
    }

    /// How many nodes did it, and how many did not.
    pub fn counts(&self) -> (usize, usize) {
        let ok = self.outcomes.iter().filter(|outcome| outcome.ok).count();
        (ok, self.outcomes.len() - ok)
    }
}

/// Creates a topic, and a channel where one is named.
///
/// Where there are lookup servers they are told, so that the first node to have the topic makes
/// the channel; nodes that have the topic make it now. Listed nodes all make both.
pub async fn create(cluster: &Cluster, subject: Subject<'_>) -> Done {
    let lookupds = cluster.lookupds();
    let topic = Subject { channel: None, ..subject };
    let mut done = Done::default();
    done.tell(post_all(cluster, Kind::Lookupd, &lookupds, &topic.path(Verb::Create)).await);
    if subject.channel.is_some() {
        let path = subject.path(Verb::Create);
        done.tell(post_all(cluster, Kind::Lookupd, &lookupds, &path).await);
    }
    if lookupds.is_empty() {
        return create_on_listed(cluster, subject, done).await;
    }
    if subject.channel.is_none() {
        return done;
    }
    match cluster.topic_nodes(subject.topic).await {
        Ok(found) => {
            done.failed = found.failed;
            let addresses = addresses(&found.value.nodes);
            let path = subject.path(Verb::Create);
            done.tell(post_all(cluster, Kind::Nsqd, &addresses, &path).await);
            done
        }
        Err(nobody) => done.stop(Stopped::Unanswered(nobody)),
    }
}

async fn create_on_listed(cluster: &Cluster, subject: Subject<'_>, mut done: Done) -> Done {
    let found = match cluster.nodes().await {
        Ok(found) => found,
        Err(nobody) => return done.stop(Stopped::Unanswered(nobody)),
    };
    done.failed = found.failed;
    let addresses = addresses(&found.value);
    let topic = Subject { channel: None, ..subject };
    done.tell(post_all(cluster, Kind::Nsqd, &addresses, &topic.path(Verb::Create)).await);
    if subject.channel.is_some() {
        let path = subject.path(Verb::Create);
        done.tell(post_all(cluster, Kind::Nsqd, &addresses, &path).await);
    }
    done
}

/// Deletes a topic or a channel: first at the lookup servers, so that no node makes it again.
pub async fn delete(cluster: &Cluster, subject: Subject<'_>) -> Done {
    // Once the lookup servers have forgotten it nobody knows where it was.
    let (mut done, nodes) = find(cluster, subject).await;
    let Some(nodes) = nodes else { return done };
    let path = subject.path(Verb::Delete);
    done.tell(post_all(cluster, Kind::Lookupd, &cluster.lookupds(), &path).await);
    done.tell(post_all(cluster, Kind::Nsqd, &addresses(&nodes.nodes), &path).await);
    done
}

/// Pauses, unpauses or empties a topic or a channel wherever it is.
pub async fn change(cluster: &Cluster, subject: Subject<'_>, verb: Verb) -> Done {
    let (mut done, nodes) = find(cluster, subject).await;
    let Some(nodes) = nodes else { return done };
    let path = subject.path(verb);
    done.tell(post_all(cluster, Kind::Nsqd, &addresses(&nodes.nodes), &path).await);
    done
}

/// The nodes to tell; `None` when the action ends here.
async fn find(cluster: &Cluster, subject: Subject<'_>) -> (Done, Option<TopicNodes>) {
    let done = Done::default();
    match cluster.topic_nodes(subject.topic).await {
        Ok(found) if !found.value.known && !cluster.lookupds().is_empty() => {
            (Done { failed: found.failed, ..done }.stop(Stopped::UnknownTopic), None)
        }
        Ok(found) => (Done { failed: found.failed, ..done }, Some(found.value)),
        Err(nobody) => (done.stop(Stopped::Unanswered(nobody)), None),
    }
}

/// Takes a topic away from a node: consumers are not sent there any more, and it forgets it.
pub async fn tombstone(cluster: &Cluster, topic: &str, address: &str) -> Done {
    let mut done = Done::default();
    let nodes = match cluster.nodes().await {
        Ok(found) => {
            done.failed = found.failed;
            found.value
        }
        Err(nobody) => return done.stop(Stopped::Unanswered(nobody)),
    };
    // Nothing is sent to an address that somebody just typed.
    let Some(node) = nodes.into_iter().find(|node| node.http_address() == address) else {
        return done.stop(Stopped::UnknownNode);
    };
    let plain = format!("{}:{}", node.broadcast_address, node.http_port);
    let path = format!("topic/tombstone?topic={}&node={}", escape(topic), escape(&plain));
    done.tell(post_all(cluster, Kind::Lookupd, &cluster.lookupds(), &path).await);
    let path = Subject { topic, channel: None }.path(Verb::Delete);
    let told = post_all(cluster, Kind::Nsqd, &[address.to_owned()], &path).await;
    let silent = told.iter().filter(|outcome| !outcome.ok && outcome.status == 0);
    let failed: Vec<Failed> = silent.map(Outcome::failure).collect();
    done.tell(told);
    match failed.is_empty() {
        true => done,
        // The node still has the topic, although nobody is sent there any more.
        false => done.stop(Stopped::Unanswered(Unanswered { kind: Kind::Nsqd, failed })),
    }
}

/// `POST` of the same path to many, at once.
async fn post_all(cluster: &Cluster, kind: Kind, addresses: &[String], path: &str) -> Vec<Outcome> {
    each(addresses.to_vec(), |address| async move {
        let outcome = cluster.call(kind, &address, (Method::POST, path), Bytes::new()).await;
        match outcome {
            Ok(_) => Outcome { kind, address, ok: true, error: String::new(), status: 200 },
            Err(error) => Outcome {
                kind,
                address,
                ok: false,
                status: error.status().map_or(0, |status| status.as_u16()),
                error: error.to_string(),
            },
        }
    })
    .await
}

fn addresses(nodes: &[Node]) -> Vec<String> {
    nodes.iter().map(Node::http_address).collect()
}

#[cfg(test)]
mod tests {
    use super::{Done, Kind, Outcome, Subject, Verb};

    #[test]
    fn paths_carry_escaped_names() {
        let topic = Subject { topic: "a#ephemeral", channel: None };
        assert_eq!(topic.path(Verb::Pause), "topic/pause?topic=a%23ephemeral");
        let channel = Subject { topic: "a&b=c", channel: Some("x y+") };
        let path = "channel/empty?topic=a%26b%3Dc&channel=x%20y%2B";
        assert_eq!(channel.path(Verb::Empty), path);
    }

    #[test]
    fn what_failed_is_told() {
        let outcome = |ok, error: &str| Outcome {
            kind: Kind::Nsqd,
            address: "a:1".to_owned(),
            ok,
            error: error.to_owned(),
            status: 0,
        };
        let outcomes = vec![outcome(true, ""), outcome(false, "x"), outcome(false, "y")];
        let done = Done { outcomes, ..Done::default() };
        assert_eq!((done.message().as_str(), done.counts()), ("WARNING: x\ny", (1, 2)));
        assert_eq!(Done::default().message(), "");
    }
}
