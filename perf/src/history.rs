//! Results of earlier runs: found in their files by `FILE`, `FILE@COMMIT` or `FILE@NUMBER`.

use std::error::Error;
use std::fs;

use serde_json::Value;

use crate::sample::Sample;

/// One run, or all runs of a file together.
#[derive(Debug, Default)]
pub struct History {
    /// When, on what, and from which sources: a line for each run.
    pub headings: Vec<String>,
    /// What was measured.
    pub samples: Vec<Sample>,
}

/// One run in a file.
#[derive(Debug)]
struct Run {
    header: Value,
    samples: Vec<Sample>,
}

/// Reads what a name stands for; several runs count as one with more rounds.
pub fn read(name: &str) -> Result<History, Box<dyn Error>> {
    let (path, chosen) = match name.rsplit_once('@') {
        Some((path, chosen)) => (path, Some(chosen)),
        None => (name, None),
    };
    let text = fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
    let runs = choose(parse(&text).map_err(|error| format!("{path}: {error}"))?, chosen);
    if runs.iter().all(|run| run.samples.is_empty()) {
        return Err(format!("{name}: no such run").into());
    }
    let mut history = History::default();
    let mut rounds = 0;
    for run in runs {
        history.headings.push(heading(&run.header));
        let next = run.samples.iter().map(|sample| sample.round + 1).max().unwrap_or(0);
        // Rounds of different runs are different rounds.
        history.samples.extend(run.samples.into_iter().map(|mut sample| {
            sample.round += rounds;
            sample
        }));
        rounds += next;
    }
    Ok(history)
}

/// A run begins with its header; lines without one belong to nothing.
fn parse(text: &str) -> Result<Vec<Run>, Box<dyn Error>> {
    let mut runs: Vec<Run> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let named = |error: serde_json::Error| format!("line {number}: {error}");
        let value: Value = serde_json::from_str(line).map_err(named)?;
        if value.get("machine").is_some() {
            runs.push(Run { header: value, samples: Vec::new() });
        } else {
            let sample = serde_json::from_value(value).map_err(named)?;
            let run = runs.last_mut().ok_or("it does not begin with a run's header")?;
            run.samples.push(sample);
        }
    }
    Ok(runs)
}

fn choose(mut runs: Vec<Run>, chosen: Option<&str>) -> Vec<Run> {
    /// What is longer is a commit.
    const DIGITS_MAX: usize = 4;
    let Some(chosen) = chosen else { return runs };
    let number = chosen.parse::<isize>().ok().filter(|_| chosen.len() <= DIGITS_MAX);
    let Some(number) = number else {
        runs.retain(|run| {
            let commit = run.header["machine"]["commit"].as_str();
            commit.is_some_and(|commit| commit.starts_with(chosen))
        });
        return runs;
    };
    let count = runs.len().cast_signed();
    let index = if number < 0 { count + number } else { number - 1 };
    match usize::try_from(index) {
        Ok(index) if index < runs.len() => vec![runs.swap_remove(index)],
        _ => Vec::new(),
    }
}

fn heading(header: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("unknown").to_owned();
    let machine = &header["machine"];
    format!(
        "{}, {} ({}, {} cores, {}), commit {}",
        text(&header["started_at"]),
        text(&machine["host"]),
        text(&machine["cpu"]),
        machine["cores"],
        text(&machine["kernel"]),
        text(&machine["commit"]),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(commit: &str, cost: f64) -> String {
        let sample = |round| {
            format!(
                r#"{{"row":"mpub","broker":"shoal","round":{round},"problem":null,"rest":null,
                "report":{{"mode":"mpub","messages":1,"published":1,"received":0,"seconds":1.0,
                "rate":1.0,"driver_cpu_seconds":0.1,"broker_cpu_seconds":1.0,
                "broker_us_per_message":{cost},"other_cpu_seconds":null,"broker_memory":null,
                "limited_by":"broker","latency":null,"total_published":1,"total_received":0}}}}"#
            )
            .replace('\n', "")
        };
        let header = format!(r#"{{"started_at":"now","machine":{{"commit":"{commit}"}}}}"#);
        format!("{header}\n{}\n{}\n", sample(0), sample(1))
    }

    #[test]
    fn runs_are_found_by_commit_and_by_number() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("results.jsonl");
        fs::write(&path, run("abcdef123", 1.0) + &run("123456789", 2.0) + &run("abcdef456", 3.0))
            .unwrap();
        let costs = |chosen: &str| {
            let history = read(&format!("{}{chosen}", path.display())).unwrap();
            let cost = |sample: &Sample| sample.report.broker_us_per_message.unwrap();
            history.samples.iter().map(cost).collect::<Vec<_>>()
        };
        assert_eq!(costs(""), [1.0, 1.0, 2.0, 2.0, 3.0, 3.0]);
        assert_eq!(costs("@abcdef"), [1.0, 1.0, 3.0, 3.0]);
        assert_eq!(costs("@123456"), [2.0, 2.0]);
        assert_eq!(costs("@1"), [1.0, 1.0]);
        assert_eq!(costs("@-1"), [3.0, 3.0]);
        let all = read(&path.display().to_string()).unwrap();
        let rounds: Vec<usize> = all.samples.iter().map(|sample| sample.round).collect();
        assert_eq!(rounds, [0, 1, 2, 3, 4, 5]);
        assert!(all.headings[1].contains("commit 123456789"), "{:?}", all.headings);
        for wrong in ["@4", "@-4", "@fff"] {
            assert!(read(&format!("{}{wrong}", path.display())).is_err(), "{wrong}");
        }
        fs::write(&path, "not JSON\n").unwrap();
        assert!(read(&path.display().to_string()).is_err());
    }
}
