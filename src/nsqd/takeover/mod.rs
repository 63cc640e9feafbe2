//! Takes over the data path of the original: the messages in its disk queues become messages of
//! ours, in ordinary log files that the recovery behind it reads like any others.
//!
//! It runs on every start, before the recovery; without files of the original it does nothing.
//! Every step may be the last one before a crash:
//!
//! 1. Log files are written as `.takeover-<name>`, which the recovery does not look at, and synced.
//!    A start that finds such files without a plan removes them and begins anew: the original's
//!    files are all still there.
//! 2. The plan is written beside them, synced and renamed to `.takeover.plan`. This one rename is
//!    the commit: before it the messages are the original's, behind it they are ours.
//! 3. The log files get their own names.
//! 4. The original's files are renamed into `<data path>/nsq-backup-<time>/`, with a copy of
//!    `nsqd.dat`, which stays in use. Nothing is deleted.
//! 5. The plan is removed.
//!
//! A start that finds a plan does steps 3 to 5, each as far as it is not done, before anything
//! reads log files. So a message is taken over once, whenever the process is killed.
//!
//! Reading order: `queues` (what the original left), `topic` (who gets what), `writer` (log files),
//! `commit` (the plan), and here how it goes together.

mod commit;
pub mod disk;
pub mod past;
mod queues;
mod topic;
mod writer;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Instant;

use shards::disk::Role;
use shards::id;
use shards::metadata::{ChannelMetadata, TopicMetadata};
use shards::nsq_format::{self, Queue};
use shards::wire::names::Name;

use super::metadata::Topics;
use super::startup::{self, memory::size_text};
use commit::{Paths, Plan};
use queues::{QueueFiles, QueueReader, Queues, Skipped};
use topic::{AttemptsBudget, Existing, Given, TopicTakeover};
use writer::{LogWriter, Origin};

/// Where log files are, in the data path.
pub const LOG_DIRECTORY: &str = "log";
/// What names of unfinished files begin with.
const UNFINISHED: &str = ".takeover-";
/// Messages between two looks at the clock.
const PROGRESS_MESSAGES: u64 = 256;

/// The delay of a message that was delivered before: over by now, whenever it was published.
const PAST_DELAY_MS: u64 = 1;

/// What a takeover needs to know.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The data path, whose lock the caller holds.
    pub directory: &'a Path,
    /// Of this broker, 0 to 1023.
    pub node_id: u64,
    /// A larger body has to look like a message to be taken for one.
    pub max_msg_bytes: usize,
    /// Size at which a store file is full.
    pub max_bytes_per_file: u64,
    /// The wall clock, nanoseconds since the Unix epoch.
    pub now_ns: i64,
    /// Told how far it is.
    pub progress: &'a startup::progress::Progress,
}

/// What was taken over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Topics and channels with messages.
    pub queues: usize,
    /// Messages in them; one in several channels counts for each.
    pub messages: u64,
    /// Those that were stored already, for another channel.
    pub shared: u64,
    /// Bytes of files that made no sense; the files are in the backup.
    pub skipped_bytes: u64,
    /// Files that have such.
    pub skipped_files: u64,
}

/// Takes over what the original has left in a data path; `None` when there is nothing. It says in
/// the log what it does. Topics and channels that have messages but are missing in `topics`, for
/// which the original was killed before it wrote them down, are added there.
///
/// To be called with the data path locked, before log files are read.
///
/// # Errors
/// What could not be done, on which file and why. The next start goes on where this one ended;
/// until the commit the original can still be started instead.
pub fn take_over(request: &Request<'_>, topics: &mut Topics) -> Result<Option<Report>, String> {
    let paths = Paths::new(request.directory);
    if let Some(plan) = commit::pending(&paths)? {
        tracing::info!("TAKEOVER: finishing one that was interrupted");
        commit::finish(&paths, &plan)?;
    }
    commit::remove_unfinished(&paths)?;
    let queues = queues::find(request.directory)?;
    if queues.files.is_empty() {
        return Ok(None);
    }
    let bytes: u64 = queues.lasting.values().map(QueueFiles::bytes).sum();
    let (count, size) = (queues.lasting.len(), size_text(bytes));
    tracing::info!("TAKEOVER: the data path has {count} queues of the original nsqd, {size}");
    queues.warnings.iter().for_each(|warning| tracing::warn!("TAKEOVER: {warning}"));
    let started = Instant::now();
    let (plan, report) = write_all(request, &paths, &queues, topics).map_err(|problem| {
        // What cannot be removed now is removed at the next start.
        let _ = commit::remove_unfinished(&paths);
        format!("{problem} (nothing has changed yet; it needs about {size} of free disk space)")
    })?;
    commit::commit(&paths, &plan)?;
    commit::finish(&paths, &plan)?;
    let Report { messages, shared, .. } = report;
    tracing::info!(
        "TAKEOVER: {messages} messages taken over in {} ms, {shared} of them shared by channels; \
         the original's files are kept in {}",
        started.elapsed().as_millis(),
        paths.backup(&plan).display()
    );
    Ok(Some(report))
}

/// Whether a data path holds nothing of the original that would still have to be taken over.
///
/// # Errors
/// What there is, and what helps.
pub fn check_nothing_is_left(directory: &Path) -> Result<(), String> {
    let left = commit::pending(&Paths::new(directory))?.is_some();
    if left || !queues::find(directory)?.files.is_empty() {
        return Err(format!(
            "{} has disk queues of the original nsqd that no start has taken over yet: start \
             nsqd on it once, and stop it again",
            directory.display()
        ));
    }
    Ok(())
}

/// Writes everything into log files that are not ours yet.
fn write_all(
    request: &Request<'_>,
    paths: &Paths,
    queues: &Queues,
    topics: &mut Topics,
) -> Result<(Plan, Report), String> {
    disk::create_directory(&paths.log)?;
    let past = past::read(&paths.log, topics)?;
    let origin = Origin {
        directory: paths.log.clone(),
        number: past.next_number,
        generation: past.generation,
        file_bytes_max: request.max_bytes_per_file,
        node_id: request.node_id,
        sequence_floor: past.sequence_floor,
    };
    let base = id::first_sequence(request.now_ns).max(past.sequence_floor);
    let mut work = Work {
        writer: LogWriter::new(origin)?,
        attempts: AttemptsBudget::default(),
        progress: Progress::new(queues, request.progress),
        report: Report::default(),
        max_msg_bytes: request.max_msg_bytes,
    };
    for (name, queues) in by_topic(queues) {
        let existing = past.topics.get(&name);
        let base = existing.map_or(base, |existing| existing.state.head.max(base));
        work.take_topic(TopicQueues { base, existing, ..queues }, topics)?;
    }
    let Work { writer, attempts, report, .. } = work;
    if attempts.forgotten > 0 {
        let forgotten = attempts.forgotten;
        tracing::warn!("TAKEOVER: the attempts of {forgotten} messages are counted from 0 again");
    }
    let written = writer.finish()?;
    Ok((Plan::new(paths, &written, &queues.files), report))
}

/// A topic's queues: its own, and those of its channels.
struct TopicQueues<'a> {
    name: Name,
    /// The first message's sequence number.
    base: u64,
    existing: Option<&'a Existing>,
    own: Option<&'a QueueFiles>,
    channels: Vec<(Name, &'a QueueFiles)>,
}

fn by_topic(queues: &Queues) -> BTreeMap<Name, TopicQueues<'_>> {
    let mut topics: BTreeMap<Name, TopicQueues<'_>> = BTreeMap::new();
    for (queue, files) in &queues.lasting {
        let topic = topics.entry(queue.topic).or_insert_with(|| TopicQueues {
            name: queue.topic,
            base: 0,
            existing: None,
            own: None,
            channels: Vec::new(),
        });
        match queue.channel {
            Some(channel) => topic.channels.push((channel, files)),
            None => topic.own = Some(files),
        }
    }
    for topic in topics.values_mut() {
        // What the others have is in the fullest one, most likely, so its order is theirs too.
        topic.channels.sort_by_key(|(name, files)| (std::cmp::Reverse(files.bytes()), *name));
    }
    topics
}

/// A takeover under way.
struct Work<'a> {
    writer: LogWriter,
    attempts: AttemptsBudget,
    progress: Progress<'a>,
    report: Report,
    max_msg_bytes: usize,
}

impl Work<'_> {
    fn take_topic(&mut self, queues: TopicQueues<'_>, topics: &mut Topics) -> Result<(), String> {
        let TopicQueues { name, base, existing, own, channels } = queues;
        let mut topic = TopicTakeover::new(base);
        let mut with_messages = BTreeSet::new();
        let mut channels = channels.into_iter().peekable();
        while let Some((channel, files)) = channels.next() {
            topic.start_channel(channel);
            let queue = Queue { topic: name, channel: Some(channel) };
            let more = channels.peek().is_some();
            if self.take_queue(&queue, files, &mut topic, more)? > 0 {
                with_messages.insert(channel);
            }
        }
        topic.start_own();
        if let Some(files) = own {
            self.take_queue(&Queue { topic: name, channel: None }, files, &mut topic, false)?;
        }
        if topic.is_empty() {
            return Ok(());
        }
        self.report.shared += topic.shared;
        let metadata = known(topics, name, &with_messages);
        let names = metadata.channels.iter().map(|channel| channel.name);
        let names: Vec<Name> = names.filter(|name| !name.is_ephemeral()).collect();
        let flows = !metadata.paused && !names.is_empty();
        warn_of_handing_over(name, &topic, existing);
        let (state, channels) = topic.states(&names, flows, existing);
        self.writer.state(&name, &state, &channels)
    }

    /// Takes all messages of a queue, and says how many there were.
    fn take_queue(
        &mut self,
        queue: &Queue,
        files: &QueueFiles,
        topic: &mut TopicTakeover,
        more: bool,
    ) -> Result<u64, String> {
        let mut reader = QueueReader::new(files, self.max_msg_bytes);
        let mut messages = 0;
        while let Some(message) = reader.next()? {
            messages += 1;
            self.progress.message(nsq_format::record_bytes(message.body.len()));
            let (sequence, delay_ms) = match topic.take(&message, more, &mut self.attempts) {
                Given::New(sequence) => (sequence, 0),
                Given::Again(sequence) => (sequence, PAST_DELAY_MS),
                Given::Known(_) => continue,
            };
            self.writer.message(queue.topic, sequence, delay_ms, &message)?;
        }
        self.progress.queues_done += 1;
        self.report.messages += messages;
        self.report.queues += usize::from(messages > 0);
        for skipped in &reader.skipped {
            self.report.skipped_files += 1;
            self.report.skipped_bytes += skipped.bytes;
            self.progress.bytes_done += skipped.bytes;
            warn_of(skipped);
        }
        Ok(messages)
    }
}

fn warn_of(skipped: &Skipped) {
    let Skipped { path, offset, bytes, reason } = skipped;
    tracing::warn!(
        "TAKEOVER: {} makes no sense from byte {offset} on: {reason}; {bytes} bytes are skipped, \
         the file is kept in the backup",
        path.display()
    );
}

fn warn_of_handing_over(name: Name, topic: &TopicTakeover, existing: Option<&Existing>) {
    let waits = existing.and_then(Existing::waits_from);
    if waits.is_some() && topic.has_channel_messages() {
        tracing::warn!(
            "TAKEOVER: the messages that waited in topic {name} from an earlier run of this \
             broker go to its channels now"
        );
    }
}

/// The metadata of a topic with messages, completed by what is missing there.
fn known<'t>(
    topics: &'t mut Topics,
    name: Name,
    with_messages: &BTreeSet<Name>,
) -> &'t TopicMetadata {
    let new = TopicMetadata::new(name);
    let topic = topics.entry(name).or_insert_with(|| {
        tracing::warn!("TAKEOVER: topic {name} has messages, but nsqd.dat lacks it: it is created");
        new
    });
    for &channel in with_messages {
        if !topic.channels.iter().any(|known| known.name == channel) {
            tracing::warn!(
                "TAKEOVER: channel {channel} of topic {name} has messages, but nsqd.dat lacks it: \
                 it is created"
            );
            topic.channels.push(ChannelMetadata::new(channel, false));
        }
    }
    topic
}

/// The name of a log file.
fn log_file(role: Role, number: u32) -> String {
    match role {
        Role::Journal => format!("{number:010}.journal"),
        Role::Store => format!("{number:010}.store"),
    }
}

/// Says every second how far it is.
struct Progress<'a> {
    of: &'a startup::progress::Progress,
    messages: u64,
    queues: usize,
    queues_done: usize,
    bytes: u64,
    bytes_done: u64,
}

impl<'a> Progress<'a> {
    fn new(queues: &Queues, of: &'a startup::progress::Progress) -> Progress<'a> {
        Progress {
            of,
            messages: 0,
            queues: queues.lasting.len(),
            queues_done: 0,
            bytes: queues.lasting.values().map(QueueFiles::bytes).sum(),
            bytes_done: 0,
        }
    }

    /// A message more, of so many bytes.
    fn message(&mut self, bytes: usize) {
        self.messages += 1;
        self.bytes_done += bytes as u64;
        let due = self.messages.is_multiple_of(PROGRESS_MESSAGES);
        if !due || !self.of.note(self.bytes_done, self.bytes) {
            return;
        }
        let Progress { messages, queues, queues_done, .. } = self;
        let (done, bytes) = (size_text(self.bytes_done), size_text(self.bytes));
        tracing::info!(
            "TAKEOVER: {messages} messages, {done} of {bytes}, {queues_done} of {queues} queues"
        );
    }
}
