//! The web sites: trees to begin with, mirror runs through an agent, and the independent comparison.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use mirror_core::{
    Difference, Durability, Filter, Guards, Independent, LocalTree, Mirror, Policy, RemoteOptions,
    RemoteTree, Report, Transport, child, verify_independently,
};

use super::Trouble;

/// Nobody pulls the plug in a drill, and removing files that were forced to the disk takes some disks
/// (ext4 with `discard`) a minute for 20,000.
const DURABILITY: Durability = Durability::None;

/// How an agent for a host's data is reached.
pub(super) type Reach<'a> = &'a dyn Fn(&Path) -> Result<Transport, Trouble>;

/// What a mirror run is about.
#[derive(Debug)]
pub(super) struct Run<'a> {
    /// The tree on the host that runs it.
    pub(super) from: &'a Path,
    /// The data folder of the other host, and the tree's place in it.
    pub(super) to: (&'a Path, &'a Path),
    pub(super) policy: Policy,
    pub(super) filter: Filter,
    /// Where to remember what both sides agreed on.
    pub(super) state: Option<&'a Path>,
}

impl Run<'_> {
    /// Runs it, with the agent as a process of its own.
    pub(super) fn carry_out(self, reach: Reach<'_>) -> Result<Report, Trouble> {
        let failed = |error: mirror_core::Error| Trouble::new(format!("mirroring: {error}"));
        let (data, place) = self.to;
        let options = RemoteOptions::default().path(data.join(place)).may_be_missing(true);
        let source = LocalTree::open(self.from).map_err(failed)?;
        let target = RemoteTree::connect(reach(data)?, "the other host".to_owned(), &options);
        let target = target.map_err(failed)?;
        let mirror = Mirror::new(&source, &target).policy(self.policy).filter(self.filter);
        let mut mirror = mirror.durability(DURABILITY);
        if let Some(state) = self.state {
            mirror = mirror.state(state);
        }
        let approved = mirror.plan().map_err(failed)?.approve(&Guards::default());
        let report = approved.map_err(failed)?.apply().map_err(failed)?;
        match report.problems.first() {
            Some(problem) => Err(Trouble::new(format!("mirroring: {problem}"))),
            None => match report.conflicts.first() {
                Some(conflict) => Err(Trouble::new(format!("mirroring: conflict at {conflict}"))),
                None => Ok(report),
            },
        }
    }
}

/// An agent as a child process.
pub(super) fn agent(data: &Path) -> Result<Transport, Trouble> {
    let cannot = |error: io::Error| Trouble::new(format!("cannot start the agent: {error}"));
    let program = std::env::current_exe().map_err(cannot)?;
    child(Command::new(program).arg("host-agent").arg(data)).map_err(cannot)
}

/// Reads two trees whole, with other code than that which mirrors, and tells how they differ.
pub(super) fn compare(one: &Path, other: &Path) -> Result<Vec<Difference>, Trouble> {
    let owners = rustix::process::geteuid().is_root();
    let options = Independent { owners, ..Independent::default() };
    verify_independently(one, other, &options)
        .map_err(|error| Trouble::new(format!("cannot compare the trees: {error}")))
}

/// The name of the file that a difference is about, relative to the root.
pub(super) fn path_of(difference: &Difference) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(difference.path.as_bytes()))
}

/// How many files a tree has, by a walk of its own.
pub(super) fn count(root: &Path) -> Result<u64, Trouble> {
    let mut files = 0;
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let failed = |error: io::Error| Trouble::at("cannot read", &folder, &error);
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            match entry.file_type().map_err(failed)? {
                kind if kind.is_dir() => folders.push(entry.path()),
                _ => files += 1,
            }
        }
    }
    Ok(files)
}

/// A copy of somebody's real site, which is itself only read.
pub(super) fn copy(from: &Path, to: &Path) -> Result<(), Trouble> {
    let failed = |error: mirror_core::Error| Trouble::new(format!("copying the site: {error}"));
    let source = LocalTree::open(from).map_err(failed)?;
    let target = LocalTree::open_or_create(to).map_err(failed)?;
    let planned = Mirror::new(&source, &target).durability(DURABILITY).plan().map_err(failed)?;
    let report = planned.approve(&Guards::default()).map_err(failed)?.apply().map_err(failed)?;
    match report.problems.first() {
        Some(problem) => Err(Trouble::new(format!("copying the site: {problem}"))),
        None => Ok(()),
    }
}

/// Makes a site of `pages` pages, with what sites have: folders, images, a link, an empty folder, names
/// of all kinds, two names for one file.
pub(super) fn sample(root: &Path, title: &str, pages: usize) -> Result<(), Trouble> {
    let make = || -> io::Result<()> {
        fs::create_dir_all(root.join("images"))?;
        fs::create_dir_all(root.join("uploads"))?;
        fs::write(root.join("index.html"), format!("<h1>{title}</h1>\n"))?;
        fs::write(root.join("style.css"), "h1 { color: #246 }\n".repeat(40))?;
        let mut octets = 0x9e37_79b9_7f4a_7c15_u64;
        for page in 0..pages {
            let folder = root.join(format!("articles/{}", page / 40));
            fs::create_dir_all(&folder)?;
            let text = format!("<h1>{title}, page {page}</h1>\n<p>Something to read.</p>\n");
            fs::write(folder.join(format!("page {page}.html")), text.repeat(page % 30 + 1))?;
            if page % 8 == 0 {
                let mut image = Vec::with_capacity(32 << 10);
                while image.len() < 32 << 10 {
                    // Marsaglia's xorshift: octets that no compression makes smaller.
                    octets ^= octets << 13;
                    octets ^= octets >> 7;
                    octets ^= octets << 17;
                    image.extend_from_slice(&octets.to_le_bytes());
                }
                fs::write(root.join(format!("images/{page}.jpg")), image)?;
            }
        }
        fs::write(root.join("ümlaut.html"), "<p>ä ö ü</p>\n")?;
        symlink("index.html", root.join("start.html"))?;
        fs::hard_link(root.join("style.css"), root.join("print.css"))
    };
    make().map_err(|error| Trouble::at("cannot make a site at", root, &error))
}
