//! Listing the tree for a caller.

use super::setback;
use super::tree::Tree;
use crate::endpoint::{Endpoint, ScanRequest};
use crate::entry::{Digest, Entry, Kind, Side};
use crate::error::Error;
use crate::listing::{self, Listing, Listings};
use crate::path::Name;
use crate::policy::{Fidelity, Policy};
use crate::progress::Cancel;
use crate::wire::LinkError;
use crate::wire::gist::{self, GISTS_MAX, Gist, Whole};
use crate::wire::link::Stream;
use crate::wire::message::{
    DirectoryPart, Gists, HIDES_EXCLUDED, INCOMPLETE, Known, LIST, MORE, OTHER_MOUNT, ScanOrder,
    Scanned, decode, encode,
};

pub(super) fn list(stream: &Stream, tree: &Tree, order: &ScanOrder) -> Result<(), LinkError> {
    let say = |message: &Scanned| stream.send(&encode(message));
    let Some(local) = tree.local() else {
        let nothing = listing::Tree::entry(Name::of_root(), Kind::Directory, 0);
        let _ = say(&Scanned::Root(Box::new(nothing)))? && say(&Scanned::End)?;
        return Ok(());
    };
    // What the agent may not write it need not read either.
    let fidelity =
        if tree.fidelity == Fidelity::Hosted { Fidelity::Hosted } else { order.fidelity };
    let policy = Policy { fidelity, one_file_system: order.one_file_system, ..Policy::mirror() };
    let cancel = Cancel::default();
    let request = ScanRequest {
        side: Side::A,
        policy: &policy,
        filter: &order.filter,
        hide_excluded: order.hide_excluded,
        other_root: None,
        base: None,
        threads: 1,
        cancel: &cancel,
    };
    let mut listings = match local.scan(&request) {
        Ok(listings) => listings,
        Err(error) => return say(&Scanned::Failed(setback(&error))).map(drop),
    };
    if !say(&Scanned::Root(Box::new(listings.root().clone())))? {
        return Ok(());
    }
    let (mut known, mut seen) = (Vec::new(), None);
    if let Some(whole) = &order.known {
        let first = First::walk(&mut *listings, whole);
        if let Some(runs) = first.unchanged {
            runs.say(&say)?;
            return say(&Scanned::End).map(drop);
        }
        if !say(&Scanned::Differs)? {
            return Ok(());
        }
        let Some(told) = gists(stream)? else { return Ok(()) };
        known = told;
        match first.seen {
            Some(all) => seen = Some(all),
            // Once more, rather than keep all that was seen of a large tree.
            None => match local.scan(&request) {
                Ok(again) => listings = again,
                Err(error) => return say(&Scanned::Failed(setback(&error))).map(drop),
            },
        }
    }
    let rest = seen.is_none().then_some(listings);
    let seen = seen.into_iter().flatten().map(Seen::listing);
    let listings = seen.chain(rest.into_iter().flatten());
    let mut runs = Runs::default();
    for listing in listings {
        let listing = match listing {
            Ok(listing) => listing,
            Err(error) => return say(&Scanned::Failed(setback(&error))).map(drop),
        };
        let gist = || gist::of_listing(&listing.directory, &listing.entries);
        let is_known = !known.is_empty() && known.binary_search(&gist()).is_ok();
        if is_known && runs.add(&listing) {
            if runs.words >= RUNS_TOGETHER {
                std::mem::take(&mut runs).say(&say)?;
            }
            continue;
        }
        std::mem::take(&mut runs).say(&say)?;
        if !send(listing, &say)? {
            return Ok(());
        }
    }
    runs.say(&say)?;
    say(&Scanned::End).map(drop)
}

/// How many bytes of listings are kept until the caller has said what it remembers.
const SEEN_MAX: usize = 16 << 20;

/// A directory that was listed and not told, as small as it goes.
struct Seen(Vec<u8>);

impl Seen {
    /// Keeps all that is ever told of a directory.
    fn of(listing: Listing) -> Seen {
        let flags = flags(&listing);
        Seen(encode(&DirectoryPart {
            directory: listing.directory,
            entries: listing.entries,
            litter: listing.litter,
            problems: listing.problems,
            flags,
        }))
    }

    fn listing(self) -> Result<Listing, Error> {
        let part: DirectoryPart = decode(&self.0)
            .map_err(|source| Error::Link { peer: "the agent itself".to_owned(), source })?;
        Ok(Listing {
            directory: part.directory,
            entries: part.entries,
            incomplete: part.flags & INCOMPLETE != 0,
            hides_excluded: part.flags & HIDES_EXCLUDED != 0,
            other_mount: part.flags & OTHER_MOUNT != 0,
            litter: part.litter,
            problems: part.problems,
            ..Listing::default()
        })
    }
}

/// What came of walking a tree before anything of it is told.
struct First {
    /// All directories, if the tree is the one that the caller remembers.
    unchanged: Option<Runs>,
    /// All of it, if that is little enough.
    seen: Option<Vec<Seen>>,
}

impl First {
    fn walk(listings: &mut dyn Listings, whole: &Digest) -> First {
        let mut digest = Whole::of_entry(listings.root());
        let (mut unchanged, mut seen) = (Some(Runs::default()), Some(Vec::new()));
        let mut bytes = 0;
        for listing in listings {
            // Whatever keeps the walk from its end is met again by the next one, and told.
            let Ok(listing) = listing else { return First { unchanged: None, seen: None } };
            digest.add(&gist::of_listing(&listing.directory, &listing.entries));
            unchanged = unchanged.and_then(|mut runs: Runs| {
                (runs.add(&listing) && runs.words <= RUNS_MAX).then_some(runs)
            });
            if let Some(all) = &mut seen {
                let one = Seen::of(listing);
                bytes += one.0.len() + size_of::<Seen>();
                all.push(one);
            }
            seen = seen.filter(|_| bytes <= SEEN_MAX);
            if unchanged.is_none() && seen.is_none() {
                break;
            }
        }
        let unchanged = unchanged.filter(|_| digest.finish() == *whole);
        First { unchanged, seen }
    }
}

/// How many changes of flags and files with holes are told of a tree that is otherwise as the
/// caller remembers it.
const RUNS_MAX: usize = 4096;

/// How many words of runs are kept before they are told.
const RUNS_TOGETHER: usize = 64;

/// How many files with holes are told of a directory that is otherwise known.
const HOLES_MAX: usize = 256;

type Say<'a> = dyn Fn(&Scanned) -> Result<bool, LinkError> + 'a;

/// Directories one after the other that the caller knows.
#[derive(Default)]
struct Runs {
    runs: Vec<Known>,
    /// How much there is to say: runs, and files with holes in them.
    words: usize,
}

impl Runs {
    /// Adds a directory; false when more has to be said of it than can be said in a word.
    fn add(&mut self, listing: &Listing) -> bool {
        let has_holes = |entry: &&Entry| entry.allocated < entry.kind.size();
        let sparse = listing.entries.iter().filter(has_holes);
        let holes: Vec<_> = sparse.map(|entry| (entry.name.clone(), entry.allocated)).collect();
        let is_plain =
            !listing.incomplete && listing.litter.is_empty() && listing.problems.is_empty();
        if !is_plain || holes.len() > HOLES_MAX {
            return false;
        }
        let flags = flags(listing);
        match self.runs.last_mut() {
            Some(run)
                if run.flags == flags
                    && run.holes.is_empty()
                    && holes.is_empty()
                    && run.directories < u32::MAX =>
            {
                run.directories += 1;
            }
            _ => {
                self.words += 1 + holes.len();
                self.runs.push(Known { directories: 1, flags, holes });
            }
        }
        true
    }

    fn say(self, say: &Say<'_>) -> Result<(), LinkError> {
        // A caller that wants no more is noticed by whoever says something else.
        self.runs.into_iter().try_for_each(|run| say(&Scanned::Known(run)).map(drop))
    }
}

/// What the caller remembers, sorted; None when it wants no more.
fn gists(stream: &Stream) -> Result<Option<Vec<Gist>>, LinkError> {
    let mut all = Vec::new();
    loop {
        let Some(message) = stream.receive()? else { return Ok(None) };
        let Gists(told) = decode(&message)?;
        if told.is_empty() {
            all.sort_unstable();
            return Ok(Some(all));
        }
        if all.len() + told.len() > GISTS_MAX {
            return Err(LinkError::Protocol("S14: more directories are known than are asked for"));
        }
        all.extend(told);
    }
}

fn flags(listing: &Listing) -> u8 {
    let mut flags = 0;
    for (is_so, flag) in [
        (listing.incomplete, INCOMPLETE),
        (listing.hides_excluded, HIDES_EXCLUDED),
        (listing.other_mount, OTHER_MOUNT),
    ] {
        flags |= if is_so { flag } else { 0 };
    }
    flags
}

/// Sends a directory in as many parts as it takes.
fn send(listing: Listing, say: &Say<'_>) -> Result<bool, LinkError> {
    let flags = flags(&listing);
    let directory = listing.directory;
    let mut part = DirectoryPart {
        directory: directory.clone(),
        litter: listing.litter,
        problems: listing.problems,
        ..DirectoryPart::default()
    };
    let mut size = 64 * (part.problems.len() + part.litter.len());
    for entry in listing.entries {
        let xattrs: usize =
            entry.meta.xattrs.iter().map(|(name, value)| name.len() + value.len() + 8).sum();
        let more = 96 + entry.name.as_bytes().len() + xattrs;
        if size > 0 && size + more > LIST {
            part.flags = flags | MORE;
            if !say(&Scanned::Directory(std::mem::take(&mut part)))? {
                return Ok(false);
            }
            part.directory = directory.clone();
            size = 0;
        }
        size += more;
        part.entries.push(entry);
    }
    part.flags = flags;
    say(&Scanned::Directory(part))
}
