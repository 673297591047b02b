//! Reading directories ahead of whoever consumes them, and yielding them in order.
//!
//! Directories that were found and not read yet are a stack, deepest and first on top, from which
//! the workers take. The consumer goes through the tree in order; what a worker has not begun it
//! reads itself, so that nobody ever waits for anybody who waits. Workers rest while too much lies
//! read and not consumed.

use std::fmt;
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use super::{Context, directory};
use crate::entry::Kind;
use crate::listing::Listing;
use crate::path::RelPath;

/// How many entries may lie read and not consumed.
const AHEAD: usize = 20_000;

enum Cell {
    Waiting,
    Reading,
    Done(Listing, Vec<Arc<Node>>),
    Taken,
}

struct Node {
    path: RelPath,
    cell: Mutex<Cell>,
}

#[derive(Default)]
struct Queue {
    unread: Vec<Arc<Node>>,
    /// Entries that lie read and not consumed.
    ahead: usize,
    stopped: bool,
}

struct Shared {
    context: Context,
    queue: Mutex<Queue>,
    /// There is something to read, or room for what is read, or an end.
    work: Condvar,
    /// A directory has been read.
    done: Condvar,
}

/// A poisoned lock means that a thread panicked, which nothing here does on any input; what it
/// guards is whole between any two statements.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Reads a directory and offers those in it to the workers.
    fn read(&self, node: &Node) -> (Listing, Vec<Arc<Node>>) {
        let listing = directory::list(&self.context, node.path.clone());
        let directories = listing.entries.iter().filter(|entry| entry.kind == Kind::Directory);
        let children: Vec<Arc<Node>> = directories
            .map(|entry| {
                let path = node.path.join_unchecked(&entry.name);
                Arc::new(Node { path, cell: Mutex::new(Cell::Waiting) })
            })
            .collect();
        if !children.is_empty() {
            lock(&self.queue).unread.extend(children.iter().rev().cloned());
            self.work.notify_all();
        }
        (listing, children)
    }

    fn work(&self) {
        loop {
            let node = {
                let mut queue = lock(&self.queue);
                loop {
                    if queue.stopped {
                        return;
                    }
                    match queue.unread.pop() {
                        Some(node) if queue.ahead < AHEAD => break node,
                        Some(node) => queue.unread.push(node),
                        None => {}
                    }
                    queue = self.work.wait(queue).unwrap_or_else(PoisonError::into_inner);
                }
            };
            {
                let mut cell = lock(&node.cell);
                if !matches!(*cell, Cell::Waiting) {
                    continue;
                }
                *cell = Cell::Reading;
            }
            let (listing, children) = self.read(&node);
            let mut queue = lock(&self.queue);
            queue.ahead += listing.entries.len();
            *lock(&node.cell) = Cell::Done(listing, children);
            drop(queue);
            self.done.notify_all();
        }
    }
}

/// The listings of a tree in order, read ahead by workers.
pub(super) struct Ahead {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    /// The directories that come next, the nearest last.
    stack: Vec<Arc<Node>>,
}

impl fmt::Debug for Ahead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ahead").field("workers", &self.workers.len()).finish_non_exhaustive()
    }
}

impl Ahead {
    pub(super) fn start(context: Context, threads: usize) -> Ahead {
        let root = Arc::new(Node { path: RelPath::root(), cell: Mutex::new(Cell::Waiting) });
        let queue = Queue { unread: vec![root.clone()], ..Queue::default() };
        let shared = Arc::new(Shared {
            context,
            queue: Mutex::new(queue),
            work: Condvar::new(),
            done: Condvar::new(),
        });
        let workers = (0..threads).filter_map(|_| {
            let shared = shared.clone();
            // Without a thread the consumer reads everything itself.
            thread::Builder::new().name("scan".to_owned()).spawn(move || shared.work()).ok()
        });
        Ahead { workers: workers.collect(), shared: shared.clone(), stack: vec![root] }
    }

    /// Takes what a worker has read or is reading; None when it falls to the caller.
    fn await_worker(&self, node: &Node) -> Option<(Listing, Vec<Arc<Node>>)> {
        let mut queue = lock(&self.shared.queue);
        loop {
            let mut cell = lock(&node.cell);
            match mem::replace(&mut *cell, Cell::Taken) {
                Cell::Waiting | Cell::Taken => return None,
                Cell::Done(listing, children) => {
                    queue.ahead -= listing.entries.len();
                    drop(queue);
                    self.shared.work.notify_all();
                    return Some((listing, children));
                }
                Cell::Reading => *cell = Cell::Reading,
            }
            drop(cell);
            queue = self.shared.done.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Iterator for Ahead {
    type Item = Listing;

    fn next(&mut self) -> Option<Listing> {
        let node = self.stack.pop()?;
        let (listing, children) =
            self.await_worker(&node).unwrap_or_else(|| self.shared.read(&node));
        self.stack.extend(children.into_iter().rev());
        Some(listing)
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        lock(&self.shared.queue).stopped = true;
        self.shared.work.notify_all();
        for worker in self.workers.drain(..) {
            // It cannot have panicked with anything that we still need.
            let _ = worker.join();
        }
    }
}
