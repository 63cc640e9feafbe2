//! Telling an HTTP endpoint of every action, one after the other, without ever waiting for it.

use std::cell::Cell;
use std::rc::Rc;

use serde::Serialize;

use crate::http::client::{Client, Request, Url};

/// Notices that wait for the endpoint; what comes on top is dropped and counted.
const QUEUED_MAX: usize = 1000;
/// As much of the endpoint's answer as is read; nobody looks at it.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// What is told of one action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Notice {
    /// `pause_channel` and its like.
    pub action: String,
    /// What was acted on.
    pub topic: String,
    /// As above.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub channel: String,
    /// As above.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub node: String,
    /// When, by the calendar.
    pub timestamp: i64,
    /// The user of HTTP's basic authorization.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// The user whom a proxy names; ours.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub acl_user: String,
    /// The other side's `ip:port`.
    pub remote_ip: String,
    /// The client's name for itself.
    pub user_agent: String,
    /// What was called.
    pub url: String,
    /// This host.
    pub via: String,
}

/// What became of notices so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NotifierCounts {
    /// The endpoint answered.
    pub sent: u64,
    /// It did not.
    pub failed: u64,
    /// There were too many to wait.
    pub dropped: u64,
}

/// The way to the endpoint.
#[derive(Debug)]
pub struct Notifier {
    queue: Option<flume::Sender<Notice>>,
    counts: Rc<Cell<NotifierCounts>>,
}

impl Notifier {
    /// Sends notices from a task of this thread's executor; without an endpoint it does nothing.
    pub fn start(client: Client, endpoint: Option<Url>) -> Notifier {
        let counts = Rc::<Cell<NotifierCounts>>::default();
        let queue = endpoint.map(|endpoint| {
            let (sender, receiver) = flume::bounded(QUEUED_MAX);
            let work = send_all(client, endpoint, receiver, counts.clone());
            glommio::spawn_local(work).detach();
            sender
        });
        Notifier { queue, counts }
    }

    /// What became of notices so far.
    pub fn counts(&self) -> NotifierCounts {
        self.counts.get()
    }

    /// Tells of an action, soon.
    pub fn tell(&self, notice: Notice) {
        let Some(queue) = &self.queue else { return };
        if queue.try_send(notice).is_err() {
            let mut counts = self.counts.get();
            counts.dropped += 1;
            self.counts.set(counts);
            tracing::error!("a notification is dropped: {QUEUED_MAX} wait for the endpoint");
        }
    }
}

async fn send_all(
    client: Client,
    endpoint: Url,
    queue: flume::Receiver<Notice>,
    counts: Rc<Cell<NotifierCounts>>,
) {
    while let Ok(notice) = queue.recv_async().await {
        tracing::info!("POSTing notification to {endpoint}");
        let sent = send(&client, &endpoint, &notice).await;
        let mut now = counts.get();
        match sent {
            Ok(()) => now.sent += 1,
            Err(problem) => {
                now.failed += 1;
                tracing::error!("failed to POST notification - {problem}");
            }
        }
        counts.set(now);
    }
}

async fn send(client: &Client, endpoint: &Url, notice: &Notice) -> Result<(), String> {
    let json = serde_json::to_vec(notice).map_err(|error| error.to_string())?;
    let request = Request::post(endpoint.clone(), json)
        .content_type("application/json")
        .at_most(ANSWER_BYTES_MAX);
    let reply = client.send(request).await.map_err(|error| error.to_string())?;
    if reply.status.is_success() {
        return Ok(());
    }
    Err(format!("the endpoint says {}", reply.status_text))
}

#[cfg(test)]
mod tests {
    use super::Notice;

    #[test]
    fn a_notice_is_the_originals() {
        let notice = Notice {
            action: "pause_channel".to_owned(),
            topic: "clicks".to_owned(),
            channel: "archive".to_owned(),
            node: String::new(),
            timestamp: 1_795_418_416,
            user: "u1".to_owned(),
            acl_user: String::new(),
            remote_ip: "127.0.0.1:43230".to_owned(),
            user_agent: "curl/7.88.1".to_owned(),
            url: "https://127.0.0.1:14172/nsq/x/api/topics/clicks/archive".to_owned(),
            via: "vm".to_owned(),
        };
        let wanted = r#"{"action":"pause_channel","topic":"clicks","channel":"archive","timestamp":1795418416,"user":"u1","remote_ip":"127.0.0.1:43230","user_agent":"curl/7.88.1","url":"https://127.0.0.1:14172/nsq/x/api/topics/clicks/archive","via":"vm"}"#;
        assert_eq!(serde_json::to_string(&notice).unwrap(), wanted);
    }
}
