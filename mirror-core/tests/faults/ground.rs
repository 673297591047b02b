//! A folder in which a run can be made again and again from the same beginning.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mirror_core::testing::{FaultFs, Identities, Image};
use mirror_core::{DeleteLimit, Durability, Error, Guards, Mirror, Policy, Report};

use crate::tree::{Tree, assert_same, names_in, snapshot};

/// `src`, `dst` and `state` in a folder that can be laid out again as it once was.
pub(crate) struct Ground {
    dir: tempfile::TempDir,
    pub(crate) policy: Policy,
    pub(crate) durability: Durability,
}

impl Ground {
    /// In memory where that can be had: nothing here needs a disk to be a disk.
    pub(crate) fn new() -> Ground {
        let memory = Path::new("/dev/shm");
        let above = if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() };
        let dir = tempfile::Builder::new().prefix("faults-").tempdir_in(above).unwrap();
        let ground = Ground { dir, policy: Policy::mirror(), durability: Durability::Batch };
        for tree in [ground.src(), ground.dst()] {
            fs::create_dir_all(tree).unwrap();
        }
        ground
    }

    /// All that a run touches.
    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("ground")
    }

    /// Beside what a run touches.
    pub(crate) fn outside(&self) -> PathBuf {
        self.dir.path().join("outside")
    }

    pub(crate) fn src(&self) -> PathBuf {
        self.path().join("src")
    }

    pub(crate) fn dst(&self) -> PathBuf {
        self.path().join("dst")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.path().join("state")
    }

    /// A disk that shows the ground as it was laid.
    pub(crate) fn disk(&self, identities: &Identities) -> FaultFs {
        FaultFs::new().presenting(identities.clone()).aging(Duration::from_secs(120))
    }

    /// A disk that shows the ground as it is.
    pub(crate) fn plain_disk(&self) -> FaultFs {
        self.disk(&Identities::default())
    }

    /// Mirrors once, on one thread, so that equal runs make equal calls.
    pub(crate) fn mirror(&self, disk: &FaultFs) -> Result<Report, Error> {
        let (source, target) = (disk.tree(self.src())?, disk.tree(self.dst())?);
        let mirror = Mirror::new(&source, &target)
            .policy(self.policy.clone())
            .durability(self.durability)
            .state(self.state())
            .threads(1);
        let guards = Guards { max_delete: DeleteLimit::Percent(100), ..Guards::default() };
        disk.keeping_state_of(mirror).plan()?.approve(&guards)?.apply()
    }

    /// The ground as it is.
    pub(crate) fn image(&self) -> Image {
        Image::take(&self.path()).unwrap()
    }

    /// Makes the ground what it is on an image.
    pub(crate) fn lay(&self, image: &Image) -> Identities {
        fs::remove_dir_all(self.path()).unwrap();
        image.put(&self.path()).unwrap()
    }

    /// After whatever happened, one run brings everything level, leaves nothing behind, and leaves
    /// nothing to do.
    #[track_caller]
    pub(crate) fn assert_recovers(&self, identities: &Identities, what: &str) {
        self.recover(identities, what);
        assert_same(&snapshot(&self.src()), &snapshot(&self.dst()));
    }

    /// [`assert_recovers`](Self::assert_recovers) for both ways, where each side keeps a history of
    /// its own.
    #[track_caller]
    pub(crate) fn assert_meets(&self, wanted: &Tree, identities: &Identities, what: &str) {
        self.recover(identities, what);
        for side in [self.src(), self.dst()] {
            let mut now = snapshot(&side);
            now.retain(|path, _| !path.starts_with(b".mirror-history"));
            // A directory that both sides worked in has the time of that.
            for (path, entry) in now.iter_mut().filter(|(_, entry)| entry.kind == "directory") {
                entry.mtime = wanted.get(path).map_or(entry.mtime, |wanted| wanted.mtime);
            }
            assert_same(wanted, &now);
        }
    }

    #[track_caller]
    fn recover(&self, identities: &Identities, what: &str) {
        let report =
            self.mirror(&self.disk(identities)).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(report.is_clean(), "{what}: {report:?}");
        for name in names_in(&self.state()) {
            let name = name.rsplit('/').next().unwrap();
            let known = name == "lock" || name.starts_with("base.") || name.len() == 32;
            assert!(known, "{what}: the state folder holds {name}");
        }
        let again = self.mirror(&self.disk(identities)).unwrap();
        assert_eq!(again.counts.total(), 0, "{what}: {again:?}");
    }
}
