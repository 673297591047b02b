//! Directories, moves and links: what changes names and no content.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::FileType;
use rustix::io::Errno;

use super::place::{Staged, Wanted};
use super::{Applier, Failure, check, standing, without_stamp};
use crate::endpoint::{Durability, Outcome};
use crate::entry::{Identity, Kind, Meta, Timestamp};
use crate::error::Error;
use crate::fs::{Opening, Status};
use crate::path::{Name, RelPath};
use crate::plan::{Counts, Expected, Op, Stage, Step};
use crate::policy::Direction;

impl Applier<'_> {
    /// Makes, replaces or moves one directory.
    pub(super) fn structure(&self, step: &Step) {
        let done = match &step.op {
            Op::MakeDirectory { path, meta } => self.make_directory(path, meta),
            Op::ReplaceWithDirectory { path, meta, expected, keep_old } => self
                .keep_if(*keep_old, path)
                .and_then(|()| self.replace_with_directory(path, meta, expected)),
            Op::MoveDirectory { from, to, expected } => {
                match self.move_directory(from, to, expected) {
                    // Moving a directory changes its own link to its parent, for which it has to
                    // be writable itself.
                    Err(Failure::Io(_, error))
                        if error.kind() == std::io::ErrorKind::PermissionDenied
                            && self.unlock(from) =>
                    {
                        self.move_directory(from, to, expected)
                    }
                    result => result,
                }
            }
            _ => return,
        };
        match done {
            Ok(status) => self.done(step.id, &step.op, status.identity),
            Err(failure) => self.failed_to_create(step.op.path(), &failure),
        }
    }

    /// A directory that no file of the source is read for. Where both sides are changed, one that
    /// a power cut left with half its metadata would pass for somebody's wish.
    fn new_directory<'a>(&self, path: &'a RelPath, meta: &'a Meta) -> Wanted<'a> {
        const NOBODY: Identity =
            Identity { device: 0, inode: 0, ctime: Timestamp { seconds: 0, nanos: 0 }, links: 0 };
        let sync =
            self.job.policy.direction == Direction::Both && self.job.durability != Durability::None;
        Wanted { path, kind: &Kind::Directory, meta, source: &NOBODY, sync }
    }

    fn split(&self, path: &RelPath) -> Result<(RelPath, Name), Failure> {
        path.split().ok_or(Failure::Changed("the root itself cannot be replaced"))
    }

    fn make_directory(&self, path: &RelPath, meta: &Meta) -> Result<Status, Failure> {
        let (directory, name) = self.split(path)?;
        let wanted = self.new_directory(path, meta);
        self.within(&directory, |dir| {
            let staged = self.stage(dir, &wanted, &mut Vec::new())?;
            self.wrote_in(dir);
            self.place_staged(dir, &staged, &name, &Expected::Absent)
        })
    }

    fn replace_with_directory(
        &self,
        path: &RelPath,
        meta: &Meta,
        expected: &Expected,
    ) -> Result<Status, Failure> {
        let (directory, _) = self.split(path)?;
        let wanted = self.new_directory(path, meta);
        self.within(&directory, |dir| {
            let staged = self.stage(dir, &wanted, &mut Vec::new())?;
            let status = self.exchange(dir, &staged, path, expected)?;
            self.wrote_in(dir);
            Ok(status)
        })
    }

    fn move_directory(
        &self,
        from: &RelPath,
        to: &RelPath,
        expected: &Expected,
    ) -> Result<Status, Failure> {
        let (from_directory, from_name) = self.split(from)?;
        let (to_directory, to_name) = self.split(to)?;
        self.within(&from_directory, |from_dir| {
            check(expected, standing(self.fs(), from_dir, &from_name)?.as_ref())?;
            self.check_links_in(from, to)?;
            self.within(&to_directory, |to_dir| {
                let moved =
                    self.rename_over(from_dir, &from_name, to_dir, &to_name, &Expected::Absent);
                moved?;
                self.unlocked_move_along(from, to);
                self.wrote_in(to_dir);
                self.wrote_in(from_dir);
                let moved = standing(self.fs(), to_dir, &to_name)?;
                moved.ok_or(Failure::Changed("it vanished again"))
            })
        })
    }

    /// Directories that were unlocked are where the one that they are in has gone.
    fn unlocked_move_along(&self, from: &RelPath, to: &RelPath) {
        let mut unlocked = super::lock(&self.unlocked);
        let all = std::mem::take(&mut *unlocked);
        unlocked.extend(
            all.into_iter().map(|(path, was)| (path.rebase(from, to).unwrap_or(path), was)),
        );
    }

    /// Gives files other names. Those whose old name gets other content are linked first, so that
    /// no name is missing in between and every order is right.
    pub(super) fn move_files(&self) -> Result<(), Error> {
        let all = || self.steps(Stage::Moves).map(|step| step.map_err(Error::Spool));
        for step in all() {
            let step = step?;
            if let Op::MoveFile { keeps_old_name: true, to, .. } = &step.op {
                if let Err(failure) = self.link_aside(&step) {
                    self.failed_to_create(to, &failure);
                }
                self.go_on()?;
            }
        }
        for step in all() {
            let step = step?;
            if let Err(failure) = self.move_file(&step) {
                self.failed_to_create(step.op.path(), &failure);
            }
            self.job.cancel.check()?;
            self.go_on()?;
        }
        // Only now no further rename changes what was moved.
        for step in all() {
            let step = step?;
            let Ok(place) = self.split(step.op.path()) else {
                continue;
            };
            if !self.was_moved(step.id) {
                continue;
            }
            let status = self.within(&place.0, |dir| standing(self.fs(), dir, &place.1));
            if let Ok(Some(status)) = status {
                self.note_identity(step.id, status.identity);
            }
        }
        Ok(())
    }

    fn aside(&self, step: &Step) -> Name {
        self.temporary_name_of("m", step.id.into())
    }

    fn link_aside(&self, step: &Step) -> Result<(), Failure> {
        let Op::MoveFile { from, to, expected, .. } = &step.op else {
            return Ok(());
        };
        let (from_directory, from_name) = self.split(from)?;
        let (to_directory, _) = self.split(to)?;
        let aside = self.aside(step);
        self.within(&from_directory, |from_dir| {
            let status = standing(self.fs(), from_dir, &from_name)?;
            check(expected, status.as_ref())?;
            self.check_link(from_dir, &from_name, status.as_ref(), to)?;
            self.within(&to_directory, |to_dir| {
                let linked =
                    self.fs().link_at(from_dir, from_name.as_bytes(), to_dir, aside.as_bytes());
                match linked {
                    Err(error) if is_elsewhere(&error) => {
                        let staged = self.stage_copy(to_dir, to)?;
                        self.rename_over(
                            to_dir,
                            &staged.temporary,
                            to_dir,
                            &aside,
                            &Expected::Absent,
                        )
                    }
                    linked => linked.map_err(Failure::io("give the file a second name")),
                }
            })
        })
    }

    fn move_file(&self, step: &Step) -> Result<(), Failure> {
        let Op::MoveFile { from, to, expected, replaces, keeps_old_name, meta } = &step.op else {
            return Ok(());
        };
        let (from_directory, from_name) = self.split(from)?;
        let (to_directory, to_name) = self.split(to)?;
        let fs = self.fs();
        let status = if *keeps_old_name {
            let aside = self.aside(step);
            self.within(&to_directory, |to_dir| {
                if standing(fs, to_dir, &aside)?.is_none() {
                    // It could not be linked, which has been reported.
                    return Ok(None);
                }
                let replaces = without_stamp(replaces);
                let moved = self.rename_over(to_dir, &aside, to_dir, &to_name, &replaces);
                if moved.is_err() {
                    self.discard(to_dir, &aside);
                }
                moved?;
                self.wrote_in(to_dir);
                standing(fs, to_dir, &to_name)
            })?
        } else {
            self.within(&from_directory, |from_dir| {
                let status = standing(fs, from_dir, &from_name)?;
                check(expected, status.as_ref())?;
                self.check_link(from_dir, &from_name, status.as_ref(), to)?;
                self.within(&to_directory, |to_dir| {
                    let replaces = without_stamp(replaces);
                    let renamed =
                        self.rename_over(from_dir, &from_name, to_dir, &to_name, &replaces);
                    match renamed {
                        Err(Failure::Io(_, error)) if is_elsewhere(&error) => {
                            let staged = self.stage_copy(to_dir, to)?;
                            self.place(to_dir, &staged.temporary, &to_name, &replaces)?;
                            fs.unlink_at(from_dir, from_name.as_bytes())
                                .map_err(Failure::io("remove the old name of what was moved"))?;
                        }
                        renamed => {
                            renamed?;
                            if let Some(meta) = meta {
                                self.set_meta_of(to_dir, &to_name, meta)?;
                            }
                        }
                    }
                    self.wrote_in(to_dir);
                    self.wrote_in(from_dir);
                    standing(fs, to_dir, &to_name)
                })
            })?
        };
        if let Some(status) = status {
            self.done(step.id, &step.op, status.identity);
        }
        Ok(())
    }

    /// Copies from the source what cannot be moved, since another mount is in between.
    fn stage_copy(&self, dir: BorrowedFd<'_>, path: &RelPath) -> Result<Staged, Failure> {
        // No version is like this one, so that the source's own metadata are taken.
        let any = Identity { device: 0, inode: 0, ctime: Default::default(), links: 0 };
        let meta = Meta {
            mode: 0o600,
            uid: 0,
            gid: 0,
            mtime: Default::default(),
            xattrs: Default::default(),
        };
        let sync = self.job.durability != Durability::None;
        let kind = &Kind::File { size: 0 };
        let wanted = Wanted { path, kind, meta: &meta, source: &any, sync };
        let staged = self.stage(dir, &wanted, &mut Vec::new());
        self.job.source.done_with(path);
        let staged = staged?;
        super::lock(&self.outcomes).bytes_copied += staged.bytes;
        Ok(staged)
    }

    /// Sets the metadata of a file that has just got its name.
    fn set_meta_of(&self, dir: BorrowedFd<'_>, name: &Name, meta: &Meta) -> Result<(), Failure> {
        let handle = self.fs().open_at(dir, name.as_bytes(), Opening::Handle);
        let handle = handle.map_err(Failure::io("open the moved file"))?;
        let status = self.fs().status(handle.as_fd()).map_err(Failure::io("look at it"))?;
        if status.file_type != FileType::RegularFile {
            return Err(Failure::Changed("somebody put something else in its place"));
        }
        self.set_meta(handle.as_fd(), &Kind::File { size: status.size }, meta, &status)
    }

    fn was_moved(&self, id: u32) -> bool {
        super::lock(&self.outcomes).steps.get(id as usize).is_some_and(Option::is_some)
    }

    fn note_identity(&self, id: u32, identity: Identity) {
        if let Some(Some(outcome)) = super::lock(&self.outcomes).steps.get_mut(id as usize) {
            let ours = outcome.identity.is_same_inode(&identity);
            outcome.identity = if ours { identity } else { outcome.identity.without_version() };
        }
    }

    /// Makes names of one inode.
    pub(super) fn link(&self, step: &Step) {
        let Op::Link { leader, after, leader_expected, members, keep_old } = &step.op else {
            return;
        };
        let leader = Leader { path: leader, after: *after, expected: leader_expected.as_ref() };
        let mut counts = Counts::default();
        let mut whole = true;
        for (member, expected) in members {
            let keep_old = *keep_old && *expected != Expected::Absent;
            let linked = self
                .keep_if(keep_old, member)
                .and_then(|()| self.link_member(&leader, member, expected));
            match linked {
                Ok(()) if *expected == Expected::Absent => counts.created += 1,
                Ok(()) => counts.updated += 1,
                Err(failure) => {
                    self.failed(member, &failure);
                    whole = false;
                }
            }
        }
        let status = self
            .split(leader.path)
            .and_then(|(directory, name)| {
                self.within(&directory, |dir| standing(self.fs(), dir, &name))
            })
            .ok()
            .flatten();
        match status.filter(|_| whole) {
            Some(status) => {
                let outcome = Outcome { identity: status.identity, digest: None, fresh: None };
                self.done_with(step.id, &counts, outcome, 0);
            }
            None => super::lock(&self.outcomes).counts.add(&counts),
        }
    }

    /// Makes sure that a file is what names are to be linked to: the one that its step has brought
    /// level, or the one that the scan saw.
    pub(super) fn check_leader(
        &self,
        leader: &Leader<'_>,
        status: Option<&Status>,
    ) -> Result<(), Failure> {
        let status = status
            .filter(|status| status.file_type != FileType::Directory)
            .ok_or(Failure::Changed("the file that it is another name of is not there"))?;
        let level = match (leader.after, leader.expected) {
            (Some(id), _) => {
                let outcomes = super::lock(&self.outcomes);
                let outcome = outcomes.steps.get(id as usize).and_then(Option::as_ref);
                outcome.is_some_and(|outcome| outcome.identity.is_same_inode(&status.identity))
            }
            // Our own links stamp it.
            (None, Some(expected)) => check(&without_stamp(expected), Some(status)).is_ok(),
            (None, None) => false,
        };
        if level {
            return Ok(());
        }
        Err(Failure::Changed("the file that it is another name of could not be brought level"))
    }

    /// Gives a leader another, temporary name in `dir`, on its way to be `to`.
    pub(super) fn link_leader(
        &self,
        leader: &Leader<'_>,
        leader_dir: BorrowedFd<'_>,
        leader_name: &Name,
        dir: BorrowedFd<'_>,
        to: &RelPath,
    ) -> Result<Staged, Failure> {
        let fs = self.fs();
        let temporary = self.temporary_name();
        fs.link_at(leader_dir, leader_name.as_bytes(), dir, temporary.as_bytes())
            .map_err(Failure::io("give the file another name"))?;
        // What was linked is looked at, not what had the name a moment before.
        let linked = standing(fs, dir, &temporary).and_then(|status| {
            self.check_leader(leader, status.as_ref())?;
            self.check_link(dir, &temporary, status.as_ref(), to)?;
            status.ok_or(Failure::Changed("its new name vanished again"))
        });
        match linked {
            Ok(status) => {
                let (digest, fresh) = (None, None);
                Ok(Staged { temporary, digest, fresh, bytes: 0, status, as_wanted: true })
            }
            Err(failure) => {
                self.discard(dir, &temporary);
                Err(failure)
            }
        }
    }

    fn link_member(
        &self,
        leader: &Leader<'_>,
        member: &RelPath,
        expected: &Expected,
    ) -> Result<(), Failure> {
        let fs = self.fs();
        let (leader_directory, leader_name) = self.split(leader.path)?;
        let (directory, name) = self.split(member)?;
        self.within(&leader_directory, |leader_dir| {
            let status = standing(fs, leader_dir, &leader_name)?;
            self.check_leader(leader, status.as_ref())?;
            self.within(&directory, |dir| {
                let now = standing(fs, dir, &name)?;
                let is_same = |(now, status): (&Status, &Status)| {
                    now.identity.is_same_inode(&status.identity)
                };
                if now.as_ref().zip(status.as_ref()).is_some_and(is_same) {
                    return Ok(());
                }
                check(expected, now.as_ref())?;
                let staged = self.link_leader(leader, leader_dir, &leader_name, dir, member)?;
                self.place_staged(dir, &staged, &name, expected)?;
                self.wrote_in(dir);
                Ok(())
            })
        })
    }
}

/// A file that gets further names, and what it must be for that.
#[derive(Debug)]
pub(super) struct Leader<'a> {
    pub(super) path: &'a RelPath,
    /// The step that brings it level.
    pub(super) after: Option<u32>,
    /// What it is, where no step has to.
    pub(super) expected: Option<&'a Expected>,
}

/// Whether a rename or a link failed because the places are on different mounts, or because the
/// file system gives a file no second name.
fn is_elsewhere(error: &std::io::Error) -> bool {
    let elsewhere = [Errno::XDEV, Errno::PERM, Errno::MLINK, Errno::OPNOTSUPP];
    Errno::from_io_error(error).is_some_and(|errno| elsewhere.contains(&errno))
}
