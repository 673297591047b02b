//! Trees in one line, for people.
//!
//! | text | means |
//! |---|---|
//! | `f=1` | a file with content "1"; directories above it are made |
//! | `d/` | a directory |
//! | `l->t` | a symlink to t |
//! | `p\|` | a fifo |
//! | `c!` | a character device |
//! | `d/!unreadable` | d could not be listed whole |
//! | `d/!mount` | d is on another mount |
//!
//! and after any entry, in any order, `#7` its inode, `@5` its mtime, `%600` its mode, `^v` an
//! extended attribute with value v, `*3` the number of names it has where some are outside of the
//! tree, `?` its digest is not known. Without these, the inode follows from path and kind, the
//! mtime of a file or symlink from what it holds; several entries with one inode are one file.
//!
//! An entry's ctime follows from all of this but the directories above it, so that two trees that
//! say the same of an entry have the same version of it.

use std::collections::{BTreeMap, HashMap};

use mirror_core::{Bytes, Digest, Entry, Kind, RelPath, Timestamp, Tree, Xattrs};

/// A tree as a scan sees it, and with every digest as it is in truth.
#[derive(Debug, Clone, Default)]
pub struct Trees {
    pub seen: Tree,
    pub truth: Tree,
}

pub fn path(text: &str) -> RelPath {
    RelPath::new(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

pub fn hash(text: &str) -> u64 {
    let digest = Digest::of(text.as_bytes());
    u64::from_le_bytes(digest.0[..8].try_into().unwrap()) >> 16
}

struct Token<'t> {
    path: &'t str,
    kind: Kind,
    content: &'t str,
    suffixes: Vec<(char, &'t str)>,
}

/// Reads one line of notation.
pub fn trees(text: &str) -> Trees {
    let mut entries: BTreeMap<RelPath, (Entry, bool)> = BTreeMap::new();
    let mut trees = Trees::default();
    let mut marks = Vec::new();
    for token in text.split_whitespace() {
        if let Some((directory, mark)) = token.split_once('!').filter(|(_, mark)| !mark.is_empty())
        {
            marks.push((path(directory.trim_end_matches('/')), mark));
            continue;
        }
        let token = parse(token);
        let path = path(token.path);
        let mut parent = path.parent();
        while !parent.is_root() {
            let inode = hash(&format!("{parent}/"));
            let entry = Tree::entry(parent.split().unwrap().1, Kind::Directory, inode);
            entries.entry(parent.clone()).or_insert((entry, true));
            parent = parent.parent();
        }
        let known = !token.suffixes.iter().any(|(suffix, _)| *suffix == '?');
        let entry = entry(&token);
        if path.is_root() {
            trees.seen.insert(path.clone(), entry.clone());
            trees.truth.insert(path, entry);
        } else {
            entries.insert(path, (entry, known));
        }
    }
    let mut names: HashMap<u64, u32> = HashMap::new();
    for (entry, _) in entries.values() {
        *names.entry(entry.identity.inode).or_default() += 1;
    }
    for (path, (mut entry, known)) in entries {
        if !entry.kind.is_directory() {
            entry.identity.links = entry.identity.links.max(names[&entry.identity.inode]);
        }
        // Names of one inode share its version.
        let name = (entry.identity.links < 2).then_some(&entry.name);
        let version = format!(
            "{name:?} {:?} {:?} {:?} {}",
            entry.kind, entry.digest, entry.meta, entry.identity.links
        );
        entry.identity.ctime.seconds = i64::from(hash(&version) as u32);
        trees.truth.insert(path.clone(), entry.clone());
        if !known {
            entry.digest = None;
        }
        trees.seen.insert(path, entry);
    }
    for (directory, mark) in marks {
        for tree in [&mut trees.seen, &mut trees.truth] {
            match mark {
                "unreadable" => tree.mark_incomplete(directory.clone()),
                "mount" => tree.mark_other_mount(directory.clone()),
                other => panic!("no mark {other}"),
            }
        }
    }
    trees
}

const SUFFIXES: &[char] = &['#', '@', '%', '^', '*', '?'];

fn parse(token: &str) -> Token<'_> {
    let end = token.find(SUFFIXES).unwrap_or(token.len());
    let (what, mut rest) = token.split_at(end);
    let mut suffixes = Vec::new();
    while let Some(suffix) = rest.chars().next() {
        let end = rest[1..].find(SUFFIXES).map_or(rest.len(), |at| at + 1);
        suffixes.push((suffix, &rest[1..end]));
        rest = &rest[end..];
    }
    let (path, kind, content) = if let Some((path, content)) = what.split_once('=') {
        let size = content.len() as u64;
        (path, Kind::File { size }, content)
    } else if let Some((path, target)) = what.split_once("->") {
        let target_bytes = Bytes(target.as_bytes().into());
        (path, Kind::Symlink { target: target_bytes }, target)
    } else if let Some(path) = what.strip_suffix('|') {
        (path, Kind::Fifo, "")
    } else if let Some(path) = what.strip_suffix('!') {
        (path, Kind::CharacterDevice { number: 1 }, "")
    } else if let Some(path) = what.strip_suffix('/') {
        (path, Kind::Directory, "")
    } else {
        panic!("what is {token}?")
    };
    Token { path, kind, content, suffixes }
}

fn entry(token: &Token<'_>) -> Entry {
    let name = path(token.path).split().map(|(_, name)| name);
    let kind = &token.kind;
    let letter = match kind {
        Kind::Directory => "/",
        Kind::File { .. } => "",
        _ => "special",
    };
    let inode = hash(&format!("{}{letter}", token.path));
    let mut entry = match name {
        Some(name) => Tree::entry(name, kind.clone(), inode),
        None => Tree::default().get(&RelPath::root()).unwrap().clone(),
    };
    if kind.is_file() {
        entry.digest = Some(Digest::of(token.content.as_bytes()));
    }
    let sum = || token.content.bytes().map(i64::from).sum();
    entry.meta.mtime.seconds = token.content.parse().unwrap_or_else(|_| sum());
    for &(suffix, value) in &token.suffixes {
        let number = || -> u64 { value.parse().unwrap_or_else(|_| panic!("{suffix}{value}")) };
        match suffix {
            '#' => entry.identity.inode = number(),
            '@' => entry.meta.mtime = Timestamp { seconds: number() as i64, nanos: 0 },
            '%' => entry.meta.mode = u32::from_str_radix(value, 8).unwrap(),
            '*' => entry.identity.links = number() as u32,
            '^' => {
                let pair = (b"user.x".as_slice(), value.as_bytes());
                entry.meta.xattrs = Xattrs::new(vec![(Bytes(pair.0.into()), Bytes(pair.1.into()))]);
            }
            _ => {}
        }
    }
    entry
}
