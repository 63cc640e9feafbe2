//! Whether the data path takes files, tried by a thread of its own whenever somebody asks: a disk
//! that hangs holds up nobody else.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use flume::{Receiver, Sender};

use crate::config::go_text::errno_text;

/// The file that is written and removed again.
const FILE: &str = ".writable";

/// The thread, as those see it who ask.
#[derive(Debug)]
pub struct Probe {
    wake: Sender<()>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    directory: PathBuf,
    /// The last question.
    asked: AtomicU64,
    /// The last question that is answered.
    answered: AtomicU64,
    trouble: Mutex<Option<String>>,
}

impl Probe {
    /// Starts the thread, for this directory.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn start(directory: PathBuf) -> Result<Probe, String> {
        // One wake-up in store is enough: it answers all questions asked before it was taken.
        let (wake, woken) = flume::bounded(1);
        let shared = Arc::new(Shared {
            directory,
            asked: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            trouble: Mutex::new(None),
        });
        let mine = shared.clone();
        std::thread::Builder::new()
            .name("probe".to_owned())
            .spawn(move || mine.run(&woken))
            .map_err(|error| format!("cannot start a thread - {error}"))?;
        Ok(Probe { wake, shared })
    }

    /// Asks; the number is that of the question.
    pub fn ask(&self) -> u64 {
        let question = self.shared.asked.fetch_add(1, Ordering::AcqRel) + 1;
        // Full means that a look is due anyway.
        let _ = self.wake.try_send(());
        question
    }

    /// Whether a question is answered.
    pub fn is_answered(&self, question: u64) -> bool {
        self.shared.answered.load(Ordering::Acquire) >= question
    }

    /// What is wrong, as far as the answer goes.
    pub fn trouble(&self, question: u64) -> Option<String> {
        let directory = self.shared.directory.display();
        if !self.is_answered(question) {
            let patience = super::ANSWER_TIMEOUT;
            return Some(format!("the data path {directory} took no file within {patience:?}"));
        }
        let trouble = self.shared.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        trouble.map(|why| format!("the data path {directory} cannot be written to: {why}"))
    }
}

impl Shared {
    fn run(&self, woken: &Receiver<()>) {
        while woken.recv().is_ok() {
            let question = self.asked.load(Ordering::Acquire);
            let trouble = write(&self.directory).err().map(|error| errno_text(&error));
            *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
            self.answered.store(question, Ordering::Release);
        }
    }
}

/// Makes a small file and removes it. A full disk refuses its block, one mounted read-only its
/// name.
pub fn write(directory: &Path) -> io::Result<()> {
    let path = directory.join(FILE);
    let written = fs::write(&path, b"this file may be removed\n");
    let removed = fs::remove_file(&path);
    written.and(removed)
}

#[cfg(test)]
mod tests {
    use super::write;

    #[test]
    fn nothing_is_left_behind() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path()).unwrap();
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
        assert!(write(&directory.path().join("gone")).is_err());
    }
}
