//! Files of a tree behind an agent on their way here, ahead of whoever opens them.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::Duration;

use super::RemoteTree;
use crate::endpoint::{Job, Opened, Outcomes};
use crate::entry::Identity;
use crate::error::Error;
use crate::path::RelPath;
use crate::wire::LinkError;
use crate::wire::contents::{Arrivals, contents_of};
use crate::wire::link::{Came, Stream};
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
        let ended = loop {
            match self.stream.receive_within(Duration::from_secs(3600)) {
                Ok(Came::Message(owed)) => {
                    let part = decode::<Part>(&owed.body);
                    let taken = part.and_then(|part| {
                        if let Part::Whole { bytes, .. } | Part::Data(bytes) = &part {
                            self.literal.fetch_add(bytes.0.len() as u64, Ordering::Relaxed);
                        }
                        self.arrivals.deliver(part, owed.cost)
                    });
                    if let Err(error) = taken {
                        self.stream.fail(error.clone());
                        break error;
                    }
                }
                Ok(Came::Nothing) => {}
                Ok(Came::Closed) => break LinkError::Ended,
                Err(error) => break error,
            }
        };
        self.arrivals.end(ended);
    }
}

impl RemoteTree {
    fn start_transfer(&self) -> Result<Transfer, LinkError> {
        let stream = Arc::new(self.open_stream(&Request::Fetch)?);
        let asking = stream.clone();
        let ask = move |path: &RelPath, identity: &Identity| {
            let wanted = Wanted::File { path: path.clone(), identity: *identity, size: 0 };
            asking.send(&encode(&wanted)).map(drop)
        };
        let arrivals = Arrivals::asking(stream.clone(), self.patience.stuck, Box::new(ask));
        let literal = self.literal.clone();
        Ok(Transfer { arrivals: Arc::new(arrivals), stream, literal })
    }

    /// Opens a file that nobody announced.
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
