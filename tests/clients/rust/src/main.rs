//! Drives a broker through tokio-nsq; see ../../README.md.

mod consume;
mod plan;
mod produce;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use consume::Tally;
use plan::Plan;

/// The options of the command line, all of the form `--name value`.
struct Options(BTreeMap<String, String>);

impl Options {
    fn parse() -> Result<Options, String> {
        let mut options = BTreeMap::new();
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let name = word
                .strip_prefix("--")
                .ok_or(format!("not an option: {word}"))?;
            let (name, value) = match name.split_once('=') {
                Some((name, value)) => (name, value.to_string()),
                None => (
                    name,
                    words.next().ok_or(format!("--{name} lacks its value"))?,
                ),
            };
            options.insert(name.to_string(), value);
        }
        Ok(Options(options))
    }

    fn text(&self, name: &str, fallback: &str) -> String {
        self.0
            .get(name)
            .map_or(fallback, String::as_str)
            .to_string()
    }

    fn number(&self, name: &str, fallback: usize) -> Result<usize, String> {
        let Some(text) = self.0.get(name) else {
            return Ok(fallback);
        };
        text.parse()
            .map_err(|_| format!("--{name}: not a number: {text}"))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::from(2)
        }
    }
}

/// Whether everything was right; an error only where the options make no sense.
async fn run() -> Result<bool, String> {
    let started = Instant::now();
    let options = Options::parse()?;
    let mode = options.text("mode", "both");
    let producing = matches!(mode.as_str(), "produce" | "both");
    let consuming = matches!(mode.as_str(), "consume" | "both");
    let topic = options.text("topic", "");
    if topic.is_empty() || !(producing || consuming) {
        return Err("usage: --topic T --channel C --mode produce|consume|both".to_string());
    }
    let plan = Arc::new(Plan::new(
        topic,
        options.number("topics", 1)?,
        options.number("messages", 1000)?,
        options.number("requeue-every", 0)?,
    ));
    let tally = Arc::new(Tally::default());
    let published = Arc::new(AtomicUsize::new(0));
    let deadline = Duration::from_secs(options.number("deadline-s", 60)? as u64);
    let connections = options.number("connections", 1)?;
    let nsqd = options.text("nsqd", "127.0.0.1:4150");
    let layers = options.text("layers", "");

    let mut work = tokio::task::JoinSet::new();
    for k in 0..if producing { connections } else { 0 } {
        let to = (nsqd.clone(), layers.clone());
        let (plan, published) = (plan.clone(), published.clone());
        work.spawn(async move {
            let share = (k, connections);
            produce::produce(plan, to, share, published)
                .await
                .map_err(|e| e.to_string())
        });
    }
    if consuming {
        let from = (nsqd, options.text("channel", "c"), layers);
        work.spawn(consume::consume(
            plan.clone(),
            tally.clone(),
            from,
            connections,
        ));
    }
    let done = finish(work, deadline).await;

    let published = published.load(Ordering::Relaxed);
    report(&tally, published, started.elapsed());
    let right = tally.counts.lock().expect("no holder panics").right(&plan);
    Ok(done && (!producing || published == plan.messages) && (!consuming || right))
}

async fn finish(mut work: tokio::task::JoinSet<Result<(), String>>, deadline: Duration) -> bool {
    let all = async {
        while let Some(ended) = work.join_next().await {
            ended.map_err(|error| error.to_string())??;
        }
        Ok::<(), String>(())
    };
    match tokio::time::timeout(deadline, all).await {
        Ok(Ok(())) => return true,
        Ok(Err(message)) => eprintln!("{message}"),
        Err(_) => eprintln!("not done within {} seconds", deadline.as_secs()),
    }
    false
}

fn report(tally: &Tally, published: usize, took: Duration) {
    let counts = tally.counts.lock().expect("no holder panics");
    println!(
        "{{\"published\":{published},\"received\":{},\"distinct\":{},\"corrupt\":{},\
         \"requeued\":{},\"early\":{},\"seconds\":{:.3}}}",
        counts.received,
        counts.finished.len(),
        counts.corrupt,
        counts.requeued,
        counts.early,
        took.as_secs_f64(),
    );
}
