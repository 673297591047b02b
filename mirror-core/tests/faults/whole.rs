//! What every path has to be at every instant: whole old or whole new.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use crate::tree::{Entry, Tree};

/// What the trees were before a run and what they are to be after it.
pub(crate) struct Versions {
    pub(crate) old: Tree,
    pub(crate) new: Tree,
    /// Directories that a run moves: where they were and where they will be.
    pub(crate) moved: Vec<(&'static str, &'static str)>,
}

fn is_ours(path: &[u8]) -> bool {
    path.split(|&byte| byte == b'/')
        .any(|name| name.starts_with(b".mirror-tmp-") || name == b".mirror-history")
}

fn same_content(one: &Entry, other: &Entry) -> bool {
    (one.kind, one.size, &one.link, one.device, one.content)
        == (other.kind, other.size, &other.link, other.device, other.content)
}

impl Versions {
    /// Says what in `now` is neither old nor new.
    pub(crate) fn broken_in(&self, now: &Tree) -> Vec<String> {
        let mut broken = Vec::new();
        let mut tell = |path: &[u8], what: &str| {
            broken.push(format!("{:?} {what}", OsStr::from_bytes(path)));
        };
        for (path, entry) in now.iter().filter(|(path, _)| !is_ours(path)) {
            let before = self.before_its_move(path).and_then(|path| self.old.get(&path));
            let versions = [self.old.get(path), self.new.get(path), before];
            let mut like = versions.iter().flatten().filter(|version| same_content(version, entry));
            match (like.next(), versions.iter().flatten().count()) {
                (_, 0) => tell(path, "never was there and never is to be"),
                (None, _) => tell(path, &format!("is neither old nor new: {entry:?}")),
                (Some(_), _) if !self.has_metadata(path, entry) => {
                    tell(path, &format!("has metadata of no version: {entry:?}"));
                }
                (Some(_), _) => {}
            }
        }
        for path in self.old.keys().filter(|path| self.new.contains_key(*path)) {
            if !now.contains_key(path) {
                tell(path, "is missing");
            }
        }
        broken
    }

    /// Says what in `now` has a content that nothing had or is to have, wherever that is: what a
    /// plan moves is known by its content alone.
    pub(crate) fn contents_of_nowhere(&self, now: &Tree) -> Vec<String> {
        let versions = || self.old.values().chain(self.new.values());
        let torn = now.iter().filter(|(path, entry)| {
            !is_ours(path) && !versions().any(|version| same_content(version, entry))
        });
        torn.map(|(path, entry)| format!("{:?}: {entry:?}", OsStr::from_bytes(path))).collect()
    }

    /// Where an entry of a moved directory was.
    fn before_its_move(&self, path: &[u8]) -> Option<Vec<u8>> {
        self.moved.iter().find_map(|(from, to)| {
            let rest = path.strip_prefix(to.as_bytes())?;
            Some([from.as_bytes(), rest].concat())
        })
    }

    /// New content comes with all its metadata. An inode that keeps its content gets them one by
    /// one, so that each is that of some version of this content.
    fn has_metadata(&self, path: &[u8], entry: &Entry) -> bool {
        if entry.kind == "directory" {
            return true;
        }
        let whole = |version: &Entry| {
            (version.mode, version.owner, version.mtime, &version.xattrs)
                == (entry.mode, entry.owner, entry.mtime, &entry.xattrs)
        };
        let old = self.old.values().filter(|version| same_content(version, entry));
        let new = self.new.values().filter(|version| same_content(version, entry));
        if old.clone().next().is_none() {
            return self.new.get(path).is_some_and(whole);
        }
        let versions: Vec<&Entry> = old.chain(new).collect();
        let known = |equal: fn(&Entry, &Entry) -> bool| versions.iter().any(|v| equal(v, entry));
        let xattrs: BTreeSet<_> = versions.iter().flat_map(|version| &version.xattrs).collect();
        known(|v, e| v.mode == e.mode)
            && known(|v, e| v.owner == e.owner)
            && known(|v, e| v.mtime == e.mtime || e.mtime.0 > 1_700_000_000)
            && entry.xattrs.iter().all(|xattr| xattrs.contains(&xattr))
    }
}
