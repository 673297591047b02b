//! Deleting, when everything else is done and durable.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::FileType;

use super::place::{Staged, Wanted};
use super::structure::Leader;
use super::{Applier, Failure, check, standing};
use crate::endpoint::{Durability, Outcome};
use crate::entry::Identity;
use crate::error::Error;
use crate::path::{HISTORY_DIRECTORY, Name, RelPath};
use crate::plan::{Expected, Op, Stage, Step};

/// What was staged to take the places of directories, by the numbers of the steps.
pub(super) type Replacements = BTreeMap<u32, (RelPath, Staged)>;

impl Applier<'_> {
    /// Stages what takes the places of directories before anything in them goes: it has to be on
    /// the disk by then, and where it cannot be had the directory is to stay as it is.
    pub(super) fn stage_replacements(&self, staged: &mut Replacements) -> Result<(), Error> {
        for step in self.steps(Stage::Deletions) {
            let step = step.map_err(Error::Spool)?;
            let Op::ReplaceDirectory { path, kind, meta, source, leader: None, .. } = &step.op
            else {
                continue;
            };
            let wanted = Wanted { path, kind, meta, source, sync: false };
            let directory = path.parent();
            let made = self.within(&directory, |dir| {
                self.wrote_in(dir);
                self.stage(dir, &wanted, &mut Vec::new())
            });
            match made {
                Ok(made) => drop(staged.insert(step.id, (directory, made))),
                Err(failure) => self.failed_to_create(path, &failure),
            }
            self.job.cancel.check()?;
            self.go_on()?;
        }
        Ok(())
    }

    /// Removes what was staged and came to nothing.
    pub(super) fn discard_replacements(&self, staged: Replacements) {
        for (directory, staged) in staged.into_values() {
            if let Ok(dir) = self.root.directory(&directory) {
                self.discard(dir.as_fd(), &staged.temporary);
            }
        }
    }

    /// Removes one entry, or puts something in the place of an emptied directory.
    pub(super) fn delete(&self, step: &Step, replacements: &mut Replacements) {
        let path = step.op.path();
        let Some((directory, name)) = path.split() else {
            return;
        };
        let deleted = match &step.op {
            Op::Remove { expected, keep_old, .. } => {
                if let Err(failure) = self.keep_if(*keep_old, path) {
                    return self.failed(path, &failure);
                }
                self.within(&directory, |dir| self.remove(dir, &name, expected))
            }
            Op::ReplaceDirectory { .. } => {
                let staged = replacements.remove(&step.id).map(|(_, staged)| staged);
                return self.replace_directory(step, staged);
            }
            _ => return,
        };
        match deleted {
            Ok(()) => self.done_away(step),
            Err(failure) => self.failed(path, &failure),
        }
    }

    /// Removes what an interrupted run left.
    pub(super) fn sweep(&self, step: &Step) {
        let path = step.op.path();
        let Some((directory, name)) = path.split() else {
            return;
        };
        let swept = self.within(&directory, |dir| {
            let swept = self.sweep_name(dir, &name);
            swept.map_err(Failure::io("remove what an interrupted run left"))
        });
        match swept {
            Ok(()) => self.done_away(step),
            Err(failure) => self.failed(path, &failure),
        }
    }

    /// Notes that nothing is left of what a step was about.
    fn done_away(&self, step: &Step) {
        let nothing = Identity { device: 0, inode: 0, ctime: Default::default(), links: 0 };
        self.done(step.id, &step.op, nothing);
    }

    fn remove(&self, dir: BorrowedFd<'_>, name: &Name, expected: &Expected) -> Result<(), Failure> {
        let fs = self.fs();
        let Some(status) = standing(fs, dir, name)? else {
            // Gone already: that is what was wanted.
            return Ok(());
        };
        check(expected, Some(&status))?;
        self.wrote_in(dir);
        if status.file_type == FileType::Directory {
            fs.remove_directory_at(dir, name.as_bytes())
                .map_err(Failure::io("remove the directory"))
        } else {
            fs.unlink_at(dir, name.as_bytes()).map_err(Failure::io("remove it"))
        }
    }

    fn replace_directory(&self, step: &Step, staged: Option<Staged>) {
        let Op::ReplaceDirectory { path, expected, leader, after, leader_expected, .. } = &step.op
        else {
            return;
        };
        let Some((directory, _)) = path.split() else {
            return;
        };
        let replaced = self.within(&directory, |dir| {
            let linked;
            let staged = match (leader, &staged) {
                (Some(leader), _) => {
                    let expected = leader_expected.as_ref();
                    let leader = Leader { path: leader, after: *after, expected };
                    linked = self.stage_link(dir, &leader, path)?;
                    &linked
                }
                (None, Some(staged)) => staged,
                // It could not be staged, which has been reported.
                (None, None) => return Ok(None),
            };
            let status = self.exchange(dir, staged, path, expected)?;
            self.wrote_in(dir);
            Ok(Some(status))
        });
        self.job.source.done_with(path);
        match replaced {
            Ok(Some(status)) => {
                let as_wanted = staged.as_ref().is_none_or(|staged| staged.as_wanted);
                let identity = match as_wanted {
                    true => status.identity,
                    false => status.identity.without_version(),
                };
                let (digest, fresh, bytes) =
                    staged.map_or((None, None, 0), |s| (s.digest, s.fresh, s.bytes));
                let outcome = Outcome { identity, digest, fresh };
                self.done_with(step.id, &step.op.counts(), outcome, bytes);
            }
            Ok(None) => {}
            Err(failure) => self.failed(path, &failure),
        }
    }

    /// Gives an inode of the target another, temporary name in `dir`, on its way to be `to`.
    fn stage_link(
        &self,
        dir: BorrowedFd<'_>,
        leader: &Leader<'_>,
        to: &RelPath,
    ) -> Result<Staged, Failure> {
        let gone = Failure::Changed("the file that it is another name of is not there");
        let (directory, name) = leader.path.split().ok_or(gone)?;
        self.within(&directory, |from| self.link_leader(leader, from, &name, dir, to))
    }

    /// Removes what has a temporary name. A directory that a run left is empty; one that is not is
    /// somebody else's under a name of ours, and stays.
    fn sweep_name(&self, dir: BorrowedFd<'_>, name: &Name) -> io::Result<()> {
        let fs = self.fs();
        let status = match fs.status_at(dir, name.as_bytes()) {
            Ok(status) => status,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        self.wrote_in(dir);
        match status.file_type {
            FileType::Directory => fs.remove_directory_at(dir, name.as_bytes()),
            _ => fs.unlink_at(dir, name.as_bytes()),
        }
    }

    /// Gives what stands at `path` a second name under the history directory of this run.
    pub(super) fn keep_if(&self, keep: bool, path: &RelPath) -> Result<(), Failure> {
        let (true, Some((directory, name))) = (keep, path.split()) else {
            return Ok(());
        };
        let fs = self.fs();
        // It has to be on the disk before anything takes its place: its other name may be all that
        // a power cut leaves of it.
        let sync = |dir: BorrowedFd<'_>| match self.job.durability {
            Durability::None => Ok(()),
            _ => fs.sync(dir).map_err(Failure::io("bring the history to the disk")),
        };
        let mut kept = RelPath::root();
        let run = self.job.run.as_bytes();
        let above = directory.as_bytes().split(|&byte| byte == b'/').filter(|n| !n.is_empty());
        for component in [HISTORY_DIRECTORY, run].into_iter().chain(above) {
            let component = Name::new(component)
                .map_err(|_| Failure::Changed("it cannot be kept under its name"))?;
            self.within(&kept, |dir| {
                match fs.make_directory_at(dir, component.as_bytes(), 0o700) {
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                    result => {
                        result.map_err(Failure::io("make the history directory"))?;
                        sync(dir)
                    }
                }
            })?;
            kept = kept
                .join(&component)
                .map_err(|_| Failure::Changed("its path is too long to be kept"))?;
        }
        self.within(&directory, |from| {
            self.within(&kept, |to| {
                self.wrote_in(to);
                match fs.link_at(from, name.as_bytes(), to, name.as_bytes()) {
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                    result => {
                        result.map_err(Failure::io("keep the old version"))?;
                        sync(to)
                    }
                }
            })
        })
    }
}
