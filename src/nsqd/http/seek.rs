//! `/channel/seek`, and `/channel/create` with `from`: a channel stands where somebody wants it to.

use jiff::Timestamp;
use serde::Serialize;
use shards::id;
use shards::request::{Reply, Request, Seek, SeekAction, Sought, Target};
use shards::wire::names::Name;

use super::Call;
use super::desk::Desk;
use super::manage::names;
use super::publish::refusal;
use crate::http::query::Query;
use crate::http::respond::{Failure, Response, v1_json};

/// What was done, or would be.
#[derive(Serialize)]
struct Answer<'a> {
    topic: &'a str,
    channel: &'a str,
    dry_run: bool,
    /// `backward`: messages come again. `forward`: they are finished.
    direction: &'static str,
    /// How many, at least and at most. The two differ where that would have to be read.
    messages_min: u64,
    messages_max: u64,
    /// What was asked for is older than the oldest message that there is: that one is the next.
    clamped: bool,
}

/// Moves a channel, or says what that would mean.
///
/// # Errors
/// Bad names, no such topic or channel, a place that is none, or a shard that refuses.
pub async fn seek<D: Desk>(call: &Call<'_, D>) -> Result<Response, Failure> {
    let query = call.query()?;
    let (topic, channel) = names(&query)?;
    only(&query, &["topic", "channel", "to", "dry_run"])?;
    let dry_run = match query.get("dry_run").as_deref() {
        None | Some(b"" | b"false") => false,
        Some(b"true") => true,
        Some(other) => {
            let shown = String::from_utf8_lossy(other);
            let text = format!("must be true or false, not {shown:?}");
            return Err(Failure::invalid("dry_run", &text));
        }
    };
    let to = query.get("to").ok_or(Failure::bad_request("MISSING_ARG_TO"))?;
    let action = if dry_run { SeekAction::DryRun } else { SeekAction::Move };
    let to = target(&to, action)?;
    ask(call, Seek { topic, channel, to, action }).await
}

/// Makes a channel that starts somewhere.
///
/// # Errors
/// No such topic, a place that is none, a channel that exists, or a shard that refuses.
pub async fn create_from<D: Desk>(
    call: &Call<'_, D>,
    (topic, channel): (Name, Name),
    from: &[u8],
) -> Result<Response, Failure> {
    let action = SeekAction::Create;
    let to = target(from, action)?;
    ask(call, Seek { topic, channel, to, action }).await
}

async fn ask<D: Desk>(call: &Call<'_, D>, seek: Seek) -> Result<Response, Failure> {
    let shard = call.desk.owner(seek.topic.as_bytes());
    match call.desk.ask(shard, Request::Seek(seek)).await {
        Reply::Sought(sought) => Ok(answer(&seek, &sought)),
        reply => Err(refusal(reply)),
    }
}

fn answer(seek: &Seek, sought: &Sought) -> Response {
    v1_json(&Answer {
        topic: seek.topic.as_str(),
        channel: seek.channel.as_str(),
        dry_run: seek.action == SeekAction::DryRun,
        direction: if sought.forward { "forward" } else { "backward" },
        messages_min: sought.messages.0,
        messages_max: sought.messages.1,
        clamped: sought.clamped,
    })
}

/// Nothing but these parameters, each once: a misspelt `dry_run` would move the channel.
fn only(query: &Query<'_>, known: &[&str]) -> Result<(), Failure> {
    let mut seen = Vec::new();
    for (key, _) in query.pairs() {
        let key = String::from_utf8_lossy(&key).into_owned();
        if !known.contains(&key.as_str()) {
            return Err(Failure::invalid(&key, &format!("is none of {}", known.join(", "))));
        }
        if seen.contains(&key) {
            return Err(Failure::invalid(&key, "is given twice"));
        }
        seen.push(key);
    }
    Ok(())
}

/// A place, as somebody wrote it.
fn target(text: &[u8], action: SeekAction) -> Result<Target, Failure> {
    let time = || {
        let time: Timestamp = std::str::from_utf8(text).ok()?.trim().parse().ok()?;
        // What has no number is before or behind every message.
        let time_ns = time.as_nanosecond().clamp(0, i64::MAX.into());
        i64::try_from(time_ns).ok().map(Target::Time)
    };
    let message = || {
        let id = id::parse(text.try_into().ok()?)?;
        Some(Target::Message(id::any_sequence(id)))
    };
    let found = match text {
        b"earliest" => Some(Target::Earliest),
        b"latest" => Some(Target::Latest),
        _ => message().or_else(time),
    };
    found.ok_or_else(|| {
        let shown = String::from_utf8_lossy(text);
        let wanted = "must be earliest, latest, a time like 2026-01-31T12:00:00Z or a message id \
                      of 16 hexadecimal digits";
        Failure::invalid(action.parameter(), &format!("{wanted}, not {shown:?}"))
    })
}

#[cfg(test)]
mod tests {
    use shards::request::{SeekAction, Target};

    use super::target;

    fn read(text: &str) -> Option<Target> {
        target(text.as_bytes(), SeekAction::Move).ok()
    }

    #[test]
    fn places_are_read() {
        assert_eq!(read("earliest"), Some(Target::Earliest));
        assert_eq!(read("latest"), Some(Target::Latest));
        let noon = Target::Time(1_767_268_800_000_000_000);
        assert_eq!(read("2026-01-01T12:00:00Z"), Some(noon));
        assert_eq!(read("2026-01-01T14:00:00+02:00"), Some(noon));
        let later = Target::Time(1_767_268_800_250_000_000);
        assert_eq!(read("2026-01-01T12:00:00.25Z"), Some(later));
        assert_eq!(read("2999-01-01T00:00:00+02:00"), Some(Target::Time(i64::MAX)));
        assert_eq!(read("1066-10-14T09:00:00Z"), Some(Target::Time(0)));
        assert_eq!(read("0000000000000c01"), Some(Target::Message(3)));
    }

    #[test]
    fn what_is_no_place_is_refused() {
        for wrong in [
            "",
            "Earliest",
            "now",
            "2026-01-01",
            "2026-01-01T12:00:00",
            "2026-13-01T12:00:00Z",
            "0000000000000C01",
            "c01",
            "00000000000000c010",
            "1767268800",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
