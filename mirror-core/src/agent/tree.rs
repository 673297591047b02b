//! The tree that a caller entered, somewhere in the agent's root.

use std::os::unix::ffi::OsStrExt;
use std::sync::{Mutex, OnceLock, PoisonError};

use super::{AgentConfig, Limits};
use crate::capacity::Capacity;
use crate::endpoint::Endpoint;
use crate::entry::Bytes;
use crate::error::Error;
use crate::local::LocalTree;
use crate::manifest::RootId;
use crate::path::{RelPath, escape};
use crate::policy::{Capabilities, Fidelity};
use crate::root::Root;
use crate::wire::message::Enter;

/// What one caller works on.
#[derive(Debug)]
pub(super) struct Tree {
    /// The agent's own root; nothing outside of it is reached.
    root: Root,
    /// Where in it the tree is.
    place: RelPath,
    local: OnceLock<LocalTree>,
    /// Held while steps are carried out: one run at a time.
    pub(super) working: Mutex<()>,
    pub(super) read_only: bool,
    pub(super) fidelity: Fidelity,
    pub(super) limits: Limits,
    pub(super) patience: std::time::Duration,
}

impl Tree {
    /// Finds the tree that a caller wants, or says why it is none.
    pub(super) fn enter(root: Root, config: &AgentConfig, wanted: &Enter) -> Result<Tree, String> {
        let place = place(&root, config, &wanted.path.0)?;
        let local = OnceLock::new();
        match root.below(&place) {
            Ok(found) => {
                let _ = local.set(LocalTree::of_root(found));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && wanted.may_be_missing => {
            }
            Err(error) => {
                let why = crate::error::explain(&error);
                return Err(format!("cannot open {}: {why}", escape(&wanted.path.0)));
            }
        }
        let AgentConfig { read_only, fidelity, limits, patience, .. } = *config;
        let patience = patience.stuck;
        let working = Mutex::default();
        Ok(Tree { root, place, local, working, read_only, fidelity, limits, patience })
    }

    /// The tree, if it exists.
    pub(super) fn local(&self) -> Option<&LocalTree> {
        self.local.get()
    }

    pub(super) fn id(&self) -> RootId {
        let found = self.local().and_then(|tree| tree.id().ok());
        found.unwrap_or_else(|| {
            let mut path = self.root.path().as_os_str().as_bytes().to_vec();
            path.extend_from_slice(if path.ends_with(b"/") { b"" } else { b"/" });
            path.extend_from_slice(self.place.as_bytes());
            RootId { path: Bytes(path.into()), device: 0, inode: 0 }
        })
    }

    pub(super) fn capabilities(&self) -> Capabilities {
        let root;
        let tree = match self.local() {
            Some(tree) => tree,
            None => {
                root = LocalTree::of_root(self.root.clone());
                &root
            }
        };
        let mut capabilities = tree.capabilities().unwrap_or_else(|_| Capabilities {
            // A disk that fails takes no privilege away: without it owners would be left out unsaid.
            privileged: rustix::process::geteuid().is_root(),
            groups: Vec::new(),
            root_owner: (0, 0),
            hosted: false,
        });
        if self.local().is_none() {
            // Whoever makes it owns it.
            let user = rustix::process::geteuid().as_raw();
            capabilities.root_owner = (user, rustix::process::getegid().as_raw());
        }
        capabilities.hosted = self.fidelity == Fidelity::Hosted;
        capabilities
    }

    pub(super) fn capacity(&self) -> Result<Capacity, Error> {
        match self.local() {
            Some(tree) => tree.capacity(),
            None => LocalTree::of_root(self.root.clone()).capacity(),
        }
    }

    /// Makes sure that the tree exists and that nobody else writes to it.
    pub(super) fn lock(&self) -> Result<RootId, Error> {
        self.writable()?.lock()?;
        Ok(self.id())
    }

    /// The tree as it may be written to; it is made if it is missing.
    pub(super) fn writable(&self) -> Result<&LocalTree, Error> {
        if self.read_only {
            let why = "it serves this tree for reading only".to_owned();
            let source = crate::wire::LinkError::Refused(why);
            return Err(Error::Link { peer: "the agent".to_owned(), source });
        }
        if let Some(tree) = self.local() {
            return Ok(tree);
        }
        let _one_at_a_time = self.working.lock().unwrap_or_else(PoisonError::into_inner);
        let made = self.root.make_below(&self.place).map_err(|source| Error::OpenRoot {
            path: self.root.path().join(std::ffi::OsStr::from_bytes(self.place.as_bytes())),
            source,
        })?;
        Ok(self.local.get_or_init(|| LocalTree::of_root(made)))
    }
}

/// Where in the agent's root the path lies that a caller named, judged by names alone; the kernel
/// then resolves them below the held root.
fn place(root: &Root, config: &AgentConfig, path: &[u8]) -> Result<RelPath, String> {
    let names = |path: &[u8]| -> Vec<Vec<u8>> {
        let names = path.split(|&byte| byte == b'/');
        names.filter(|name| !name.is_empty() && *name != b".").map(<[u8]>::to_vec).collect()
    };
    let wanted = names(path);
    if wanted.is_empty() && path != b"/" {
        return Ok(RelPath::root());
    }
    let outside = || format!("{} lies outside of what it serves", escape(path));
    if path.first() != Some(&b'/') {
        return Err(format!("{} is no absolute path", escape(path)));
    }
    // The root may be known by the name it was given and by where that leads.
    for known in [root.path().as_os_str(), config.root.as_os_str()] {
        if let Some(rest) = wanted.strip_prefix(&names(known.as_bytes())[..])
            && known.as_bytes().first() == Some(&b'/')
        {
            return RelPath::new(&rest.join(&b'/')).map_err(|_| outside());
        }
    }
    Err(outside())
}
