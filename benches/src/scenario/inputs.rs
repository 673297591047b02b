use std::path::PathBuf;

use super::Bench;
use crate::{Error, table, walk, workload};

/// Seeds of the generated inputs; changing one makes the published figures another input's.
const KERNEL_SEED: u64 = 61;
const UPDATE_SEED: u64 = 62;
const SMALL_SEED: u64 = 100;
const DURABLE_SEED: u64 = 63;

/// A tree on the disk, and what to call it in the results.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedTree {
    /// Where it is; only read.
    pub path: PathBuf,
    /// Its name, without the path.
    pub name: String,
}

impl NamedTree {
    /// Says how large it is, after its name.
    pub(super) fn describe(&self) -> Result<String, Error> {
        let walked = walk::stat_tree(&self.path)?;
        let (entries, bytes) = (table::count(walked.entries), table::bytes(walked.bytes));
        Ok(format!("{}: {entries} entries, {bytes}", self.name))
    }
}

impl Bench<'_> {
    /// The kernel tree given, or the kernel-like one.
    pub(super) fn kernel(&mut self) -> Result<NamedTree, Error> {
        if let Some(tree) = &self.settings.tree {
            return Ok(tree.clone());
        }
        let files = self.settings.kernel_files;
        self.made("kernel-like tree", "in-kernel", |path| {
            workload::kernel_like(path, KERNEL_SEED, files).map(drop)
        })
    }

    /// The next release of [`Bench::kernel`].
    pub(super) fn next_kernel(&mut self) -> Result<NamedTree, Error> {
        if let Some(tree) = &self.settings.update {
            return Ok(tree.clone());
        }
        let old = self.kernel()?;
        self.made("its generated next release", "in-kernel-next", |path| {
            super::disk::copy(&old.path, path)?;
            workload::release_update(path, UPDATE_SEED).map(drop)
        })
    }

    /// Many files of 1–4 KiB.
    pub(super) fn small(&mut self) -> Result<NamedTree, Error> {
        let files = self.settings.small_files;
        self.made("small files of mostly 1–4 KiB", "in-small", |path| {
            workload::small_files(path, SMALL_SEED, files).map(drop)
        })
    }

    /// As many files of 1–4 KiB as go over a link.
    pub(super) fn wan(&mut self) -> Result<NamedTree, Error> {
        let files = self.settings.wan_files;
        self.made("small files of mostly 1–4 KiB", "in-wan", |path| {
            workload::small_files(path, SMALL_SEED, files).map(drop)
        })
    }

    /// A kernel-like tree of the size that the durable copy can bear.
    pub(super) fn durable(&mut self) -> Result<NamedTree, Error> {
        let files = self.settings.durable_files;
        self.made("kernel-like tree", "in-durable", |path| {
            workload::kernel_like(path, DURABLE_SEED, files).map(drop)
        })
    }

    /// A million files, a thousand to a directory.
    pub(super) fn million(&mut self) -> Result<NamedTree, Error> {
        let entries = self.settings.million;
        self.made("empty and tiny files, up to 1000 to a directory", "in-million", |path| {
            workload::empty_files(path, entries.div_ceil(1000), entries.min(1000)).map(drop)
        })
    }

    /// Makes an input the first time it is asked for; scenarios share it.
    fn made(
        &mut self,
        name: &str,
        folder: &str,
        make: impl FnOnce(&std::path::Path) -> Result<(), Error>,
    ) -> Result<NamedTree, Error> {
        let path = self.work.join(folder);
        if !path.exists() {
            (self.say)(&format!("making the input: {name}"));
            make(&path)?;
            rustix::fs::sync();
        }
        Ok(NamedTree { path, name: name.to_owned() })
    }
}
