//! `shoal export`: the way back to the original. The messages of a stopped broker become disk
//! queues in an empty directory, on which the original can be started.
//!
//! The data path is locked, recovered as at a start, and left as it is. What the recovery would
//! rewrite goes to a nameless file in the directory that is written to. `nsqd.dat` comes last:
//! without it the original finds nothing, so an export that was cut off is not taken for a whole
//! one.
//!
//! Reading order: `source` (what is read), `wanted` (what of it is in which queue), `queue` (how
//! it is written), and here how it goes together.

mod queue;
mod source;
mod wanted;

#[cfg(test)]
mod tests;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use shards::log::record::{self, Checked, Salt};
use shards::metadata::{ChannelMetadata, TopicMetadata};
use shards::nsq_format::{Message, Queue};
use shards::recover::{LogFile, Recovered, RecoveredTopic};
use shards::wire::frame::MESSAGE_HEADER_BYTES;
use shards::wire::names::Name;

use super::disk::FileReader;
use super::metadata::file::MetadataFile;
use super::metadata::{self, Topics};
use super::startup::data_path::DataPathLock;
use super::startup::memory::size_text;
use super::takeover;
use super::takeover::disk::{create_directory, failed, sync_directory};
use super::takeover::past;
use crate::config::export::ExportOptions;
use crate::config::stop::Stop;
use queue::QueueWriter;
use source::Scratch;
use wanted::{Known, Wanted};

const PROGRAM: &str = "export";
/// Time between two lines that say how far it is.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// What was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Topics.
    pub topics: u64,
    /// Disk queues: one for each topic and each channel.
    pub queues: u64,
    /// Messages in them; one in several channels counts for each.
    pub messages: u64,
    /// Those that were to come later, and come at once now.
    pub deferred: u64,
    /// Messages that were damaged and are left out.
    pub damaged: u64,
}

/// Runs to its end.
#[must_use]
pub fn run(options: &ExportOptions) -> ExitCode {
    match export(options) {
        Ok(report) => {
            warn_of(&report);
            let Report { topics, queues, messages, .. } = report;
            let to = options.to.display();
            let line = format!("{messages} messages in {queues} queues of {topics} topics: {to}");
            // Nobody is left to be told that standard output is closed.
            let _ = writeln!(std::io::stdout(), "{line}");
            ExitCode::SUCCESS
        }
        Err(problem) => Stop::Plain(format!("{PROGRAM}: {problem}")).report(PROGRAM),
    }
}

fn warn_of(report: &Report) {
    if report.deferred > 0 {
        say(&format!(
            "{} deferred messages lose their due times, for which the original's format has no \
             place: they come at once",
            report.deferred
        ));
    }
    if report.damaged > 0 {
        say(&format!("{} messages are damaged and left out", report.damaged));
    }
}

fn say(text: &str) {
    eprintln!("{PROGRAM}: {text}");
}

/// Writes an original's data path.
///
/// # Errors
/// What could not be done, and what helps.
pub fn export(options: &ExportOptions) -> Result<Report, String> {
    let ExportOptions { data_path, to, .. } = options;
    let _from_lock = DataPathLock::take(data_path).map_err(|problem| {
        format!("failed to lock data-path: {problem}: the broker has to be stopped")
    })?;
    takeover::check_nothing_is_left(data_path)?;
    let loaded = metadata::load(data_path)
        .map_err(|problem| format!("failed to load metadata - {problem}"))?;
    let logs = past::log_files(&data_path.join(takeover::LOG_DIRECTORY))?;
    if logs.files.is_empty() && !loaded.file.path().exists() {
        let shown = data_path.display();
        return Err(format!("{shown} is no data path: it has neither nsqd.dat nor log files"));
    }
    for warning in &loaded.content.warnings {
        say(warning);
    }
    let _to_lock = prepare(to)?;
    let first_scratch = logs.number_max.checked_add(1);
    let first_scratch = first_scratch.ok_or("the numbers of log files are used up")?;
    let mut scratch = Scratch::new(to, first_scratch)?;
    let content = loaded.content.topics;
    let mut progress = Progress::default();
    let tell = |done, of| {
        progress.say(|| format!("{} of {} of log files read", size_text(done), size_text(of)));
    };
    let recovered = past::recover(&content, &logs.files, &mut scratch, tell);
    let topics = all_topics(content, &recovered);
    let mut work = Work {
        options,
        logs: &logs.files,
        scratch: &scratch,
        report: Report::default(),
        progress: Progress::default(),
    };
    let written = work.write_all(&topics, &recovered).and_then(|()| {
        MetadataFile::new(to).write(&metadata::text(&topics))?;
        sync_directory(to)
    });
    written.map_err(|problem| {
        let to = to.display();
        format!("{problem} ({to} is not complete: remove what is in it before the next try)")
    })?;
    let mut report = work.report;
    report.damaged += recovered.report.records_lost;
    if let Some(error) = recovered.report.read_error {
        say(&format!("not everything could be read: {}", error.text));
    }
    Ok(report)
}

/// Makes and locks the directory that is written to.
fn prepare(to: &Path) -> Result<DataPathLock, String> {
    create_directory(to)?;
    let lock =
        DataPathLock::take(to).map_err(|problem| format!("failed to lock --to: {problem}"))?;
    let mut entries = fs::read_dir(to).map_err(|error| failed("open", to, &error))?;
    match entries.next() {
        None => Ok(lock),
        Some(_) => Err(format!("{} is not empty: --to needs an empty directory", to.display())),
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// The topics and channels that there are, by the metadata or by the log files.
fn all_topics(mut topics: Topics, recovered: &Recovered) -> Topics {
    for found in &recovered.topics {
        let name = found.name;
        let new = TopicMetadata::new(name);
        let topic = topics.entry(name).or_insert(new);
        for (channel, _) in &found.channels {
            if !topic.channels.iter().any(|known| known.name == *channel) {
                topic.channels.push(ChannelMetadata::new(*channel, false));
            }
        }
    }
    for topic in topics.values_mut() {
        topic.channels.retain(|channel| !channel.name.is_ephemeral());
    }
    topics.retain(|name, _| !name.is_ephemeral());
    topics
}

/// An export under way.
struct Work<'a> {
    options: &'a ExportOptions,
    logs: &'a [LogFile<FileReader>],
    scratch: &'a Scratch,
    report: Report,
    progress: Progress,
}

impl Work<'_> {
    fn write_all(&mut self, topics: &Topics, recovered: &Recovered) -> Result<(), String> {
        for (name, metadata) in topics {
            let found = recovered.topics.iter().find(|topic| topic.name == *name);
            self.report.topics += 1;
            self.write_queue(Queue { topic: *name, channel: None }, found)?;
            for channel in &metadata.channels {
                self.write_queue(Queue { topic: *name, channel: Some(channel.name) }, found)?;
            }
        }
        Ok(())
    }

    fn write_queue(&mut self, queue: Queue, topic: Option<&RecoveredTopic>) -> Result<(), String> {
        let ExportOptions { to, max_bytes_per_file, .. } = self.options;
        let mut writer = QueueWriter::new(to, queue, *max_bytes_per_file);
        let found = topic.and_then(|topic| Some((topic, wanted(topic, queue.channel)?)));
        if let Some((topic, wanted)) = found {
            self.copy(topic, &wanted, &mut writer)?;
        }
        self.report.messages += writer.finish()?;
        self.report.queues += 1;
        Ok(())
    }

    /// Writes all messages that belong to a queue.
    fn copy(
        &mut self,
        topic: &RecoveredTopic,
        wanted: &Wanted<'_>,
        writer: &mut QueueWriter,
    ) -> Result<(), String> {
        let now_ms = now_ms();
        for segment in &topic.segments {
            if !wanted.may_have(segment.first, segment.last) {
                continue;
            }
            let bytes = source::read(self.logs, self.scratch, segment.place)?;
            for found in record::walk(&bytes, Salt::of(&topic.name)) {
                let Ok((at, checked)) = found else {
                    self.report.damaged += 1;
                    continue;
                };
                let known = (segment.first..=segment.last)
                    .contains(&checked.sequence)
                    .then(|| wanted.find(checked.sequence));
                let Some(known) = known.flatten() else { continue };
                let record = &bytes[at as usize..at as usize + checked.bytes];
                writer.push(&message(
                    record::frame(record),
                    checked.timestamp_ns,
                    known.attempts,
                ))?;
                self.report.deferred += u64::from(due_ms(&checked, known) > now_ms);
            }
            let Report { messages, queues, .. } = self.report;
            self.progress.say(|| {
                let name = topic.name;
                format!("{messages} messages in {queues} queues so far, now those of {name}")
            });
        }
        Ok(())
    }
}

/// What of a topic belongs to its own queue or a channel's; `None` for a channel without messages.
fn wanted(topic: &RecoveredTopic, channel: Option<Name>) -> Option<Wanted<'_>> {
    let Some(name) = channel else {
        return Some(Wanted::of_topic(&topic.state, !topic.channels.is_empty()));
    };
    let (_, state) = topic.channels.iter().find(|(channel, _)| *channel == name)?;
    Some(Wanted::of_channel(&topic.state, state))
}

/// When a message may be delivered: a delay counts from when it was published, until something
/// else was said.
fn due_ms(checked: &Checked, known: Known) -> u64 {
    if checked.delay_ms == 0 || known != Known::default() {
        return known.due_ms;
    }
    let published_ms = u64::try_from(checked.timestamp_ns / 1_000_000).unwrap_or(0);
    published_ms.saturating_add(checked.delay_ms)
}

/// Says now and then how far something is.
struct Progress {
    said: Instant,
}

impl Default for Progress {
    fn default() -> Self {
        Progress { said: Instant::now() }
    }
}

impl Progress {
    fn say(&mut self, text: impl FnOnce() -> String) {
        if self.said.elapsed() >= PROGRESS_INTERVAL {
            self.said = Instant::now();
            say(&text());
        }
    }
}

/// The message in a frame, as the original keeps it.
fn message(frame: &[u8], timestamp_ns: i64, attempts: u16) -> Message<'_> {
    let (header, body) = frame.split_at(MESSAGE_HEADER_BYTES);
    let mut id = [0; 16];
    id.copy_from_slice(&header[MESSAGE_HEADER_BYTES - 16..]);
    Message { timestamp_ns, attempts, id, body }
}
