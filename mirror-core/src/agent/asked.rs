//! Files that an agent asks its caller for, besides those that come by themselves.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::path::RelPath;
use crate::wire::LinkError;
use crate::wire::contents::{Arrivals, Told};

#[derive(Debug, Default)]
struct Inner {
    /// Nothing beside a path until the caller has begun to bring it.
    files: HashMap<RelPath, Option<Arc<Arrivals>>>,
    over: bool,
}

/// What was asked for and has not been opened yet.
#[derive(Debug)]
pub(super) struct Asked {
    inner: Mutex<Inner>,
    came: Condvar,
    patience: Duration,
    /// What the caller has told of changed files in this run.
    pub(super) told: Told,
}

impl Asked {
    pub(super) fn new(patience: Duration) -> Asked {
        Asked { inner: Mutex::default(), came: Condvar::new(), patience, told: Told::default() }
    }

    /// Has a file brought; returns what it arrives in. `ask` says whether anybody listens.
    pub(super) fn ask(
        &self,
        path: &RelPath,
        ask: impl FnOnce() -> Result<bool, LinkError>,
    ) -> Result<Arc<Arrivals>, LinkError> {
        self.lock().files.insert(path.clone(), None);
        if !ask()? {
            return Err(LinkError::Ended);
        }
        let waits = |inner: &mut Inner| !inner.over && matches!(inner.files.get(path), Some(None));
        let (mut inner, waited) = self
            .came
            .wait_timeout_while(self.lock(), self.patience, waits)
            .unwrap_or_else(PoisonError::into_inner);
        match inner.files.remove(path) {
            Some(Some(arrivals)) => Ok(arrivals),
            _ if waited.timed_out() => Err(LinkError::Stuck(self.patience.as_secs())),
            _ => Err(LinkError::Ended),
        }
    }

    /// Whether `path` is waited for; from now on it arrives there.
    pub(super) fn answer(&self, path: &RelPath, arrivals: &Arc<Arrivals>) -> bool {
        let mut inner = self.lock();
        let Some(slot @ None) = inner.files.get_mut(path) else { return false };
        *slot = Some(arrivals.clone());
        drop(inner);
        self.came.notify_all();
        true
    }

    /// Ends all waiting.
    pub(super) fn end(&self) {
        self.lock().over = true;
        self.came.notify_all();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
