//! Files of a tree behind an agent on their way here, ahead of whoever opens them.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::thread;

use super::RemoteTree;
use crate::endpoint::{Job, Opened, Outcomes};
use crate::entry::Identity;
use crate::error::Error;
use crate::path::RelPath;
use crate::wire::LinkError;
use crate::wire::contents::{Arrivals, contents_of};
use crate::wire::link::Stream;
use crate::wire::message::{Part, Request, Wanted, decode, encode};

/// A stream that files come on as they are asked for.
#[derive(Debug)]
pub(super) struct Transfer {
    arrivals: Arc<Arrivals>,
    stream: Arc<Stream>,
    /// Counts what came.
    literal: Arc<AtomicU64>,
}

impl Transfer {
    /// Whether a file comes on this stream by itself.
    pub(super) fn brings(&self, path: &RelPath, expected: &Identity) -> bool {
        self.arrivals.brings(path, expected)
    }

    pub(super) fn open(&self, path: &RelPath, expected: &Identity) -> io::Result<Opened> {
        self.arrivals.open(path, expected)
    }

    pub(super) fn done_with(&self, path: &RelPath) {
        self.arrivals.done_with(path);
    }

    /// Asks for a file. False when the agent sends no more.
    fn want(&self, path: &RelPath, identity: &Identity, size: u64) -> Result<bool, LinkError> {
        self.arrivals.asked(path);
        let wanted = Wanted::File { path: path.clone(), identity: *identity, size };
        self.stream.send(&encode(&wanted))
    }

    /// Takes in what comes until the stream is closed.
    fn take_in(&self) {
        self.arrivals.take_in(|message| {
            let part = decode::<Part>(message)?;
            if let Part::Whole { bytes, .. } | Part::Data(bytes) = &part {
                self.literal.fetch_add(bytes.0.len() as u64, Ordering::Relaxed);
            }
            Ok(part)
        });
    }
}

impl RemoteTree {
    fn start_transfer(&self) -> Result<Transfer, LinkError> {
        let stream = Arc::new(self.open_stream(&Request::Fetch)?);
        let arrivals = Arrivals::asking(stream.clone(), self.patience.stuck, &self.told);
        let literal = self.literal.clone();
        Ok(Transfer { arrivals: Arc::new(arrivals), stream, literal })
    }

    /// Opens a file that nobody announced, on a stream of its own.
    pub(super) fn open_alone(&self, path: &RelPath, expected: &Identity) -> io::Result<Opened> {
        let transfer = self.start_transfer().map_err(LinkError::into_io)?;
        let wanted = transfer.want(path, expected, 0).and_then(|more| {
            more.then(|| transfer.stream.send(&encode(&Wanted::NoMore))).transpose()
        });
        wanted.map_err(LinkError::into_io)?;
        let arrivals = transfer.arrivals.clone();
        // It ends with the stream, which ends with the file.
        thread::Builder::new().name("fetch".to_owned()).spawn(move || transfer.take_in())?;
        arrivals.open(path, expected)
    }

    /// Runs `work` while the files that it will open come here in the order in which it will.
    pub(super) fn bring_ahead(
        &self,
        job: &Job<'_>,
        work: &mut dyn FnMut() -> Result<Outcomes, Error>,
    ) -> Result<Outcomes, Error> {
        let transfer = Arc::new(self.start_transfer().map_err(|error| self.failed(error))?);
        let slot = || self.transfer.lock().unwrap_or_else(PoisonError::into_inner);
        *slot() = Some(transfer.clone());
        let done = thread::scope(|scope| {
            scope.spawn(|| transfer.take_in());
            scope.spawn(|| {
                for wanted in contents_of(job.plan, job.side) {
                    // A plan that cannot be read fails in the hands of who carries it out.
                    let Ok((_, path, identity, size)) = wanted else { return };
                    if !transfer.want(&path, &identity, size).unwrap_or_default() {
                        return;
                    }
                }
            });
            let done = work();
            transfer.stream.close();
            done
        });
        *slot() = None;
        done
    }
}
