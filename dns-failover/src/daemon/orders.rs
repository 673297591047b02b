//! Files through which people and the status page speak with a running controller.
//!
//! An order is a file in `orders/`, taken once and answered by a file beside it. What the other
//! controllers make of it all is kept in `views/`.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::decision::{Command, Timestamp};
use crate::observe::View;

/// A longer file is not read.
const LONGEST: u64 = 64 * 1024;
/// More orders at once are left for the next time.
const AT_ONCE: usize = 64;

/// Why an order could not be given or a view not be kept.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} {}: {source}", path.display())]
pub struct OrderError {
    what: &'static str,
    path: PathBuf,
    source: io::Error,
}

fn failed<'a>(what: &'static str, path: &'a Path) -> impl Fn(io::Error) -> OrderError + 'a {
    move |source| OrderError { what, path: path.to_owned(), source }
}

/// The folder of orders.
#[derive(Debug, Clone)]
pub struct Orders {
    folder: PathBuf,
}

/// An order that was given.
#[derive(Debug)]
pub struct Order {
    path: PathBuf,
    /// What is ordered, or why that cannot be read.
    pub command: Result<Command, String>,
}

impl Orders {
    /// Those of the controller that keeps its state in `folder`.
    pub fn of(folder: &Path) -> Orders {
        Orders { folder: folder.join("orders") }
    }

    /// Gives an order. The name that comes back is to ask for the answer with.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn give(&self, command: &Command, now: Timestamp) -> Result<PathBuf, OrderError> {
        fs::create_dir_all(&self.folder).map_err(failed("create", &self.folder))?;
        let name = format!("{}-{}", now.as_millis(), std::process::id());
        let path = self.folder.join(format!("{name}.order"));
        let fresh = self.folder.join(format!("{name}.new"));
        let json = serde_json::to_vec(command).expect("orders hold nothing that fails to encode");
        fs::write(&fresh, json).map_err(failed("write", &fresh))?;
        fs::rename(&fresh, &path).map_err(failed("write", &path))?;
        Ok(path)
    }

    /// The answer to an order, once there is one.
    pub fn answer(&self, order: &Path) -> Option<String> {
        let path = order.with_extension("answer");
        let answer = read(&path).ok()?;
        let _ = fs::remove_file(path);
        Some(String::from_utf8_lossy(&answer).into_owned())
    }

    /// Takes an order back that nobody took. False when somebody has.
    pub fn take_back(&self, order: &Path) -> bool {
        fs::remove_file(order).is_ok()
    }

    /// The orders that wait, the oldest first.
    pub fn waiting(&self) -> Vec<Order> {
        let Ok(entries) = fs::read_dir(&self.folder) else { return Vec::new() };
        let paths = entries.flatten().map(|entry| entry.path());
        let is_order = |path: &PathBuf| path.extension().is_some_and(|of| of == "order");
        let mut paths: Vec<_> = paths.filter(is_order).collect();
        paths.sort();
        paths.truncate(AT_ONCE);
        let order = |path: PathBuf| {
            let command = read(&path).map_err(|error| error.to_string()).and_then(|text| {
                serde_json::from_slice(&text).map_err(|error| format!("it cannot be read: {error}"))
            });
            Order { path, command }
        };
        paths.into_iter().map(order).collect()
    }
}

impl Order {
    /// Answers it and takes it away. To be called when it is in the journal.
    pub fn done(self, answer: &str) {
        // Whoever gave it learns from the status what came of it, should this fail.
        let _ = fs::write(self.path.with_extension("answer"), answer);
        let _ = fs::remove_file(&self.path);
    }
}

/// What other controllers told last.
#[derive(Debug, Clone)]
pub struct Views {
    folder: PathBuf,
}

impl Views {
    /// Those that the controller knows which keeps its state in `folder`.
    pub fn of(folder: &Path) -> Views {
        Views { folder: folder.join("views") }
    }

    /// Keeps a view in place of the last one of the same controller.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep(&self, view: &View) -> Result<(), OrderError> {
        fs::create_dir_all(&self.folder).map_err(failed("create", &self.folder))?;
        let path = self.folder.join(format!("{}.json", view.controller));
        let fresh = self.folder.join(format!("{}.new", view.controller));
        let json = serde_json::to_vec(view).expect("views hold nothing that fails to encode");
        fs::write(&fresh, json).map_err(failed("write", &fresh))?;
        fs::rename(&fresh, &path).map_err(failed("replace", &path))
    }

    /// All of them; one that cannot be read is left out.
    pub fn all(&self) -> Vec<View> {
        let Ok(entries) = fs::read_dir(&self.folder) else { return Vec::new() };
        let paths = entries.flatten().map(|entry| entry.path());
        let mut paths: Vec<_> =
            paths.filter(|path| path.extension().is_some_and(|of| of == "json")).collect();
        paths.sort();
        let read = |path: &PathBuf| serde_json::from_slice(&read(path).ok()?).ok();
        paths.iter().take(16).filter_map(read).collect()
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    fs::File::open(path)?.take(LONGEST).read_to_end(&mut text)?;
    Ok(text)
}
