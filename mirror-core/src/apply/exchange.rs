//! Putting something in the place of what no rename replaces.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::Errno;

use super::place::{Staged, is_unsupported};
use super::{Applier, Failure, check, standing, without_stamp};
use crate::endpoint::Durability;
use crate::error::explain;
use crate::fs::{Opening, Renaming, Status};
use crate::path::{Name, RelPath};
use crate::plan::Expected;

impl Applier<'_> {
    /// Puts what was staged in the place of a directory, or a directory in the place of anything.
    /// Both change places; both are looked at; and what was replaced goes.
    pub(super) fn exchange(
        &self,
        dir: BorrowedFd<'_>,
        staged: &Staged,
        path: &RelPath,
        expected: &Expected,
    ) -> Result<Status, Failure> {
        let (fs, name) = (self.fs(), &path.name());
        let goes = matches!(expected, Expected::Directory { .. });
        let aside = self
            .await_place(dir, staged)
            .and_then(|()| check(expected, standing(fs, dir, name)?.as_ref()))
            .and_then(|()| if goes { self.sync_emptied(dir, name) } else { Ok(()) })
            .and_then(|()| self.change_places(dir, &staged.temporary, name));
        let aside = aside.inspect_err(|_| self.discard(dir, &staged.temporary))?;
        // What changed places is looked at, not what had the names a moment before.
        let placed = self.placed(dir, staged, name).and_then(|placed| {
            // Renaming has stamped it.
            let replaced = standing(fs, dir, &aside)?;
            check(&without_stamp(expected), replaced.as_ref()).map(|()| placed)
        });
        let failure = match placed {
            Err(failure) => failure,
            Ok(placed) => {
                let removed = match goes {
                    true => fs.remove_directory_at(dir, aside.as_bytes()),
                    false => fs.unlink_at(dir, aside.as_bytes()),
                };
                match removed {
                    Ok(()) => return Ok(placed),
                    Err(error) if Errno::from_io_error(&error) == Some(Errno::NOTEMPTY) => {
                        Failure::Changed("something appeared in the directory that is replaced")
                    }
                    Err(error) => {
                        self.left_over(path, &aside, &error);
                        return Ok(placed);
                    }
                }
            }
        };
        self.change_back(dir, &staged.temporary, name, &aside);
        Err(failure)
    }

    /// Returns the name that what was replaced has now.
    fn change_places(
        &self,
        dir: BorrowedFd<'_>,
        temporary: &Name,
        name: &Name,
    ) -> Result<Name, Failure> {
        let placing = Failure::io("put it in its place");
        match self.rename_in(dir, temporary, name, Renaming::Exchange) {
            Err(error) if is_unsupported(&error) => {}
            result => return result.map(|()| temporary.clone()).map_err(placing),
        }
        // Where nothing can be exchanged there is a moment without either; both are kept.
        let aside = self.temporary_name();
        self.rename_in(dir, name, &aside, Renaming::Replace).map_err(&placing)?;
        let placed = self.rename_in(dir, temporary, name, Renaming::Replace);
        placed.map(|()| aside.clone()).map_err(|error| {
            let _ = self.rename_in(dir, &aside, name, Renaming::Replace);
            placing(error)
        })
    }

    /// Gives what was replaced its place back, whatever it is. If that fails it keeps its
    /// temporary name.
    fn change_back(&self, dir: BorrowedFd<'_>, temporary: &Name, name: &Name, aside: &Name) {
        let back = if aside == temporary {
            self.rename_in(dir, temporary, name, Renaming::Exchange)
        } else {
            self.rename_in(dir, name, temporary, Renaming::Replace)
                .and_then(|()| self.rename_in(dir, aside, name, Renaming::Replace))
        };
        if back.is_ok() {
            self.discard(dir, temporary);
        }
    }

    fn rename_in(
        &self,
        dir: BorrowedFd<'_>,
        from: &Name,
        to: &Name,
        renaming: Renaming,
    ) -> io::Result<()> {
        self.fs().rename_at(dir, from.as_bytes(), dir, to.as_bytes(), renaming)
    }

    fn left_over(&self, path: &RelPath, aside: &Name, error: &io::Error) {
        let why = format!(
            "it has its new version, but what that replaced could not be removed and is now called \
             {aside}: {}; the next run removes it",
            explain(error)
        );
        self.problem(path, why);
    }

    /// Makes sure that no power cut brings anything back in a directory that has been emptied and
    /// is to get a temporary name: only an empty one is swept.
    fn sync_emptied(&self, dir: BorrowedFd<'_>, name: &Name) -> Result<(), Failure> {
        if self.job.durability == Durability::None {
            return Ok(());
        }
        let fs = self.fs();
        let emptied = fs.open_at(dir, name.as_bytes(), Opening::Directory);
        let synced = emptied.and_then(|emptied| fs.sync(emptied.as_fd()));
        synced.map_err(Failure::io("bring the emptied directory to the disk"))
    }
}
