//! Symlinks that must not lead out of the tree from where they end up: a link that climbs stays
//! inside only as long as it is deep enough, so that moving and linking are judged like putting.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::FileType;

use super::{Applier, Failure, standing};
use crate::entry::{Bytes, Kind};
use crate::fs::Status;
use crate::path::{Name, RelPath};
use crate::policy::Fidelity;

const LEADS_OUT: Failure = Failure::Changed("its symlink would lead out of the tree from there");

impl Applier<'_> {
    /// Whether what has `name` in `dir` may be at `to`.
    pub(super) fn check_link(
        &self,
        dir: BorrowedFd<'_>,
        name: &Name,
        status: Option<&Status>,
        to: &RelPath,
    ) -> Result<(), Failure> {
        let is_link = status.is_some_and(|status| status.file_type == FileType::Symlink);
        if !is_link || self.onto.fidelity() != Fidelity::Hosted {
            return Ok(());
        }
        let target = self.fs().read_link_at(dir, name.as_bytes());
        let target = target.map_err(Failure::io("see where the symlink leads"))?;
        let kind = Kind::Symlink { target: Bytes(target.into()) };
        self.onto.forbids(to, &kind).map_or(Ok(()), |_| Err(LEADS_OUT))
    }

    /// Whether all that is in the directory `from` may be in `to`.
    pub(super) fn check_links_in(&self, from: &RelPath, to: &RelPath) -> Result<(), Failure> {
        let depth = |path: &RelPath| path.as_bytes().split(|&byte| byte == b'/').count();
        // From deeper down no link climbs further up than it did.
        if self.onto.fidelity() != Fidelity::Hosted || depth(to) >= depth(from) {
            return Ok(());
        }
        let mut pending = vec![from.clone()];
        while let Some(directory) = pending.pop() {
            let below = self.within(&directory, |dir| {
                let mut names = Vec::new();
                self.fs()
                    .list(dir, &mut |name, _, file_type| {
                        if file_type != FileType::RegularFile {
                            names.push(name.to_vec());
                        }
                    })
                    .map_err(Failure::io("look for symlinks in the directory"))?;
                let mut below = Vec::new();
                for name in names {
                    let unknown = |_| Failure::Changed("there is a name in it that none can have");
                    let name = Name::new(&name).map_err(unknown)?;
                    let path = directory.join(&name).map_err(unknown)?;
                    let status = standing(self.fs(), dir, &name)?;
                    let place = path.rebase(from, to).unwrap_or_else(|| path.clone());
                    self.check_link(dir.as_fd(), &name, status.as_ref(), &place)?;
                    if status.is_some_and(|status| status.file_type == FileType::Directory) {
                        below.push(path);
                    }
                }
                Ok(below)
            })?;
            pending.extend(below);
        }
        Ok(())
    }
}
