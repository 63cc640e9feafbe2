//! `/readyz`: whether requests should come here.

use std::time::Duration;

use serde_json::Map;

use crate::http::health;
use crate::http::respond::Response;
use crate::nsqd::life::ANSWER_TIMEOUT;
use crate::nsqd::startup::progress::Step;

use super::Call;
use super::desk::Desk;

/// How often it is looked whether all have answered.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// Asks every worker and the data path, and waits for them as long as that is reasonable. (While
/// files are read, others answer: see `startup::reception`.)
pub async fn readyz<D: Desk>(call: &Call<'_, D>) -> Response {
    let facts = call.desk.facts();
    let question = facts.life.ask();
    let give_up_at = call.timers.now() + ANSWER_TIMEOUT;
    while !facts.life.is_answered(question) && call.timers.now() < give_up_at {
        call.timers.sleep(LOOK_AGAIN).await;
    }
    let mut reasons = facts.life.troubles(question);
    if facts.progress.step() != Step::Done {
        reasons.push(facts.progress.text());
    }
    if !facts.health.is_ok() {
        reasons.push(format!("publishes are refused: {}", facts.health));
    }
    let mut details = Map::new();
    details.insert("shards".to_owned(), facts.life.shards().into());
    details.insert("listeners".to_owned(), facts.life.listeners().into());
    details.insert("draining".to_owned(), facts.life.is_draining().into());
    health::readyz(&reasons, details)
}
