//! Setting metadata on held inodes, never by path.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::Errno;

use super::{Applier, Failure, check, lock};
use crate::entry::{Kind, Meta, Xattrs};
use crate::fs::Status;
use crate::plan::{Op, Step};

impl Applier<'_> {
    /// Brings an inode's metadata to `meta`. The order matters: a new owner clears setuid and
    /// capabilities, an ACL changes the group bits, and each of them would change no mtime but a
    /// content would.
    pub(super) fn set_meta(
        &self,
        file: BorrowedFd<'_>,
        kind: &Kind,
        meta: &Meta,
        now: &Status,
    ) -> Result<(), Failure> {
        let fs = self.fs();
        let uid = (self.onto.sets_user() && now.uid != meta.uid).then_some(meta.uid);
        let gid = (self.onto.sets_group(meta.gid) && now.gid != meta.gid).then_some(meta.gid);
        let owned_anew = uid.is_some() || gid.is_some();
        if owned_anew {
            fs.set_owner(file, uid, gid).map_err(Failure::io("set the owner"))?;
        }
        let symlink = matches!(kind, Kind::Symlink { .. });
        let mut mode = now.mode;
        let attributes = match self.set_xattrs(file, &meta.xattrs) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && !symlink => {
                // A read-only file takes no attributes even from its owner.
                mode = now.mode | 0o600;
                fs.set_mode(file, mode).map_err(Failure::io("set the mode"))?;
                self.set_xattrs(file, &meta.xattrs)
            }
            result => result,
        };
        let changed = attributes.map_err(|error| match Errno::from_io_error(&error) {
            Some(Errno::OPNOTSUPP) => Failure::Io(
                "set its extended attributes or ACL, which this file system does not have",
                error,
            ),
            _ => Failure::Io("set the extended attributes", error),
        })?;
        if !symlink && (mode != meta.mode || owned_anew || changed) {
            fs.set_mode(file, meta.mode).map_err(Failure::io("set the mode"))?;
        }
        if now.mtime != meta.mtime || changed || owned_anew {
            fs.set_mtime(file, meta.mtime).map_err(Failure::io("set the modification time"))?;
        }
        Ok(())
    }

    /// Makes the attributes that are mirrored equal to `wanted`. Says whether any was changed.
    fn set_xattrs(&self, file: BorrowedFd<'_>, wanted: &Xattrs) -> io::Result<bool> {
        let fs = self.fs();
        let mut changed = false;
        let mut present = Vec::new();
        for name in fs.list_xattrs(file)? {
            if !self.onto.manages(&name) {
                continue;
            }
            if wanted.get(&name).is_none() {
                fs.remove_xattr(file, &name)?;
                changed = true;
            } else {
                present.push(name);
            }
        }
        // ACLs last: one of them may take away the permission to set the others.
        let is_acl = |name: &[u8]| name.starts_with(b"system.");
        for acls in [false, true] {
            let some = wanted.iter().filter(|(name, _)| is_acl(name) == acls);
            for (name, value) in some.filter(|(name, _)| self.onto.manages(name)) {
                let there = present.iter().any(|present| present == name);
                if !there || fs.get_xattr(file, name)? != value {
                    fs.set_xattr(file, name, value)?;
                    changed = true;
                }
            }
        }
        Ok(changed)
    }

    /// Sets the metadata of an entry whose content is right.
    pub(super) fn set_meta_at(&self, step: &Step) {
        let Op::SetMeta { path, meta, expected } = &step.op else {
            return;
        };
        let set = || {
            let (directory, name) = path.split().ok_or(Failure::Changed("it is the root"))?;
            self.within(&directory, |dir| {
                let opening = crate::fs::Opening::Handle;
                let handle = self.fs().open_at(dir, name.as_bytes(), opening);
                let handle = handle.map_err(Failure::io("open it"))?;
                let status = self.fs().status(handle.as_fd()).map_err(Failure::io("look at it"))?;
                check(expected, Some(&status))?;
                let kind = match status.file_type {
                    rustix::fs::FileType::Symlink => Kind::Symlink { target: Default::default() },
                    _ => Kind::Fifo,
                };
                self.set_meta(handle.as_fd(), &kind, meta, &status)?;
                self.wrote_in(dir);
                self.fs().status(handle.as_fd()).map_err(Failure::io("look at it"))
            })
        };
        match set() {
            Ok(status) => {
                let identity = self.lasting_identity(&status, meta);
                self.done(step.id, &step.op, identity);
            }
            Err(failure) => self.failed(path, &failure),
        }
    }

    /// Gives a directory the metadata it is to have when everything in it is done.
    pub(super) fn settle(&self, step: &Step) {
        let Op::Settle { path, meta, .. } = &step.op else {
            return;
        };
        let set = || {
            let handle = self.root.handle(path).map_err(Failure::io("open the directory"))?;
            let status = self.fs().status(handle.as_fd()).map_err(Failure::io("look at it"))?;
            if status.file_type != rustix::fs::FileType::Directory {
                return Err(Failure::Changed("it is no directory in the target any more"));
            }
            self.set_meta(handle.as_fd(), &Kind::Directory, meta, &status)?;
            lock(&self.unlocked).remove(path);
            self.wrote_in(handle.as_fd());
            self.fs().status(handle.as_fd()).map_err(Failure::io("look at it"))
        };
        match set() {
            Ok(status) => {
                let identity = self.lasting_identity(&status, meta);
                self.done(step.id, &step.op, identity);
            }
            Err(failure) => self.failed(path, &failure),
        }
    }
}
