//! A disk queue as the original writes it: a meta file, and data files of bounded size.

use std::fs::File;
use std::path::{Path, PathBuf};

use shards::nsq_format::{self, Message, Meta, Position, Queue};

use crate::nsqd::takeover::disk::{create, sync, write_at, write_file};

/// Bytes that are written at once.
const WRITE_BYTES: usize = 256 << 10;

/// A queue in the making.
pub struct QueueWriter {
    directory: PathBuf,
    queue: Queue,
    file_bytes_max: u64,
    /// The file being written, once there is one.
    file: Option<(File, PathBuf)>,
    at: Position,
    depth: i64,
    buffer: Vec<u8>,
}

impl QueueWriter {
    /// An empty queue.
    pub fn new(directory: &Path, queue: Queue, file_bytes_max: u64) -> QueueWriter {
        QueueWriter {
            directory: directory.to_owned(),
            queue,
            file_bytes_max,
            file: None,
            at: Position::default(),
            depth: 0,
            buffer: Vec::new(),
        }
    }

    /// Appends a message.
    ///
    /// # Errors
    /// What failed.
    pub fn push(&mut self, message: &Message<'_>) -> Result<(), String> {
        let bytes = nsq_format::record_bytes(message.body.len()) as u64;
        // One that does not fit a file has a file of its own.
        if self.at.offset > 0 && self.at.offset + bytes > self.file_bytes_max {
            self.end_file()?;
            self.at = Position { file: self.at.file + 1, offset: 0 };
        }
        nsq_format::write(&mut self.buffer, message);
        self.at.offset += bytes;
        self.depth += 1;
        if self.buffer.len() >= WRITE_BYTES { self.write_buffer() } else { Ok(()) }
    }

    fn write_buffer(&mut self) -> Result<(), String> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        if self.file.is_none() {
            let path = self.directory.join(self.queue.data_file(self.at.file));
            self.file = Some((create(&path)?, path));
        }
        if let Some((file, path)) = &self.file {
            write_at(file, path, &self.buffer, self.at.offset - self.buffer.len() as u64)?;
        }
        self.buffer.clear();
        self.buffer.shrink_to(2 * WRITE_BYTES);
        Ok(())
    }

    fn end_file(&mut self) -> Result<(), String> {
        self.write_buffer()?;
        self.file.take().map_or(Ok(()), |(file, path)| sync(&file, &path))
    }

    /// Writes the rest and the meta file; everything is on the disk then. The answer is how many
    /// messages there are.
    ///
    /// # Errors
    /// What failed.
    pub fn finish(mut self) -> Result<u64, String> {
        self.end_file()?;
        let meta = Meta { depth: self.depth, read: Position::default(), write: self.at };
        let path = self.directory.join(self.queue.meta_file());
        write_file(&path, meta.text().as_bytes())?;
        Ok(self.depth.unsigned_abs())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use shards::nsq_format::{Message, Queue};
    use shards::wire::names::Name;

    use super::QueueWriter;

    fn written(directory: &Path, bodies: &[&[u8]], file_bytes_max: u64) -> Vec<(String, Vec<u8>)> {
        let topic = Name::parse(b"t").unwrap();
        let queue = Queue { topic, channel: Name::parse(b"c") };
        let mut writer = QueueWriter::new(directory, queue, file_bytes_max);
        for body in bodies {
            let id = *b"0123456789abcdef";
            writer.push(&Message { timestamp_ns: 1, attempts: 2, id, body }).unwrap();
        }
        assert_eq!(writer.finish().unwrap(), bodies.len() as u64);
        let entries = fs::read_dir(directory).unwrap();
        let mut files: Vec<_> = entries
            .map(|entry| {
                let entry = entry.unwrap();
                (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())
            })
            .collect();
        files.sort();
        files
    }

    #[test]
    fn files_roll_as_in_the_original() {
        let directory = tempfile::tempdir().unwrap();
        // Records of 40 bytes: two fill a file of 80 exactly, and a large one is alone in its own.
        let bodies: [&[u8]; 5] = [&[0; 10], &[1; 10], &[2; 10], &[3; 100], &[4; 10]];
        let files = written(directory.path(), &bodies, 80);
        let lengths: Vec<_> =
            files.iter().map(|(name, bytes)| (name.as_str(), bytes.len())).collect();
        assert_eq!(
            lengths,
            [
                ("t:c.diskqueue.000000.dat", 80),
                ("t:c.diskqueue.000001.dat", 40),
                ("t:c.diskqueue.000002.dat", 130),
                ("t:c.diskqueue.000003.dat", 40),
                ("t:c.diskqueue.meta.dat", 11),
            ]
        );
        assert_eq!(files[4].1, b"5\n0,0\n3,40\n");
        assert_eq!(files[3].1[..4], [0, 0, 0, 36]);
    }

    #[test]
    fn an_empty_queue_has_only_a_meta_file() {
        let directory = tempfile::tempdir().unwrap();
        let files = written(directory.path(), &[], 80);
        assert_eq!(files, [("t:c.diskqueue.meta.dat".to_owned(), b"0\n0,0\n0,0\n".to_vec())]);
    }
}
