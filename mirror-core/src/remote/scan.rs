//! The listing of a tree behind an agent. A peer that lists what cannot be is cut off.

use std::sync::Arc;

use super::RemoteTree;
use super::known::Memory;
use crate::agent::Limits;
use crate::endpoint::ScanRequest;
use crate::entry::{Entry, Side};
use crate::error::Error;
use crate::filter::{Filter, Verdict};
use crate::listing::{Listing, Listings};
use crate::manifest::{Block, Manifest};
use crate::path::{RelPath, is_temporary};
use crate::policy::Compare;
use crate::progress::Cancel;
use crate::reconcile::compare::is_known;
use crate::wire::LinkError;
use crate::wire::gist::Gist;
use crate::wire::link::Stream;
use crate::wire::message::{
    DirectoryPart, Gists, HIDES_EXCLUDED, INCOMPLETE, Known, LIST, MORE, OTHER_MOUNT, Request,
    ScanOrder, Scanned, Setback, decode, encode,
};
use crate::wire::valid;

impl RemoteTree {
    pub(super) fn list(
        &self,
        request: &ScanRequest<'_>,
    ) -> Result<Box<dyn Listings + Send>, Error> {
        let known = request.base.clone().map(|base| Memory::of(base, request.side));
        let order = ScanOrder {
            fidelity: request.policy.fidelity,
            one_file_system: request.policy.one_file_system,
            filter: request.filter.clone(),
            hide_excluded: request.hide_excluded,
            known: known.as_ref().and_then(|known| known.whole),
        };
        let started = || -> Result<Result<(Stream, Entry), Setback>, LinkError> {
            let stream = self.open_stream(&Request::Scan(order))?;
            let first = stream.receive()?;
            let first = first.ok_or(LinkError::Protocol("a listing that ends before its end"))?;
            match decode(&first)? {
                Scanned::Root(root) => {
                    valid::root(&root)?;
                    Ok(Ok((stream, *root)))
                }
                Scanned::Failed(setback) => Ok(Err(setback)),
                _ => Err(LinkError::Protocol("a listing that does not begin with the root")),
            }
        };
        let (stream, mut root) = match started() {
            Ok(Ok(started)) => started,
            Ok(Err(setback)) => return Err(self.set_back(setback)),
            Err(error) => {
                self.link.fail(error.clone());
                return Err(self.failed(error));
            }
        };
        let exists = self.root.lock().is_ok_and(|root| root.inode != 0);
        let recall = Recall {
            base: request.base.clone(),
            side: request.side,
            trusts_digests: request.policy.compare == Compare::Quick,
        };
        recall.root(&mut root);
        let order = Order {
            pending: vec![Pending { path: RelPath::root(), place: place(&root) }],
            must_list: exists,
            filter: request.hide_excluded.then(|| request.filter.clone()),
            limits: self.limits,
            entries: 0,
            problems: 0,
            bytes: 0,
        };
        let peer = self.peer.clone();
        let (cancel, ended) = (request.cancel.clone(), false);
        let listings = RemoteListings {
            stream,
            root,
            order,
            known,
            run: Known::default(),
            told: false,
            recall,
            peer,
            cancel,
            ended,
        };
        Ok(Box::new(listings))
    }
}

/// Takes digests from what this end remembers of the tree: the agent knows none without reading.
#[derive(Debug)]
struct Recall {
    base: Option<Arc<Manifest>>,
    side: Side,
    trusts_digests: bool,
}

impl Recall {
    fn root(&self, root: &mut Entry) {
        // A directory has no digest; there is nothing else to recall.
        root.digest = None;
    }

    fn listing(&self, listing: &mut Listing, place: (u64, u64)) {
        let Some(block) = self.block(&listing.directory, place) else { return };
        for entry in &mut listing.entries {
            let found = block.records.binary_search_by(|record| record.name.cmp(&entry.name));
            let record = found.ok().map(|at| &block.records[at]);
            if is_known(Some(entry), record, self.side) {
                entry.digest = record.and_then(|record| record.digest);
            }
        }
    }

    /// What the base knows of a directory: under its path, or under its inode if it was renamed.
    fn block(&self, path: &RelPath, place: (u64, u64)) -> Option<Arc<Block>> {
        let base = self.base.as_ref().filter(|_| self.trusts_digests)?;
        if let Ok(Some(block)) = base.block(path) {
            return Some(block);
        }
        base.block_of_directory(self.side, place.0, place.1).ok()?
    }
}

fn place(entry: &Entry) -> (u64, u64) {
    (entry.identity.device, entry.identity.inode)
}

/// A directory that has to be listed.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) path: RelPath,
    place: (u64, u64),
}

/// Holds a listing to the one order that a tree can be listed in: every directory that was listed
/// as an entry, and no other, directly before what is in it.
#[derive(Debug)]
struct Order {
    /// The directories that come next, the nearest last.
    pending: Vec<Pending>,
    /// Whether the root itself has to come; a tree that does not exist has no listing.
    must_list: bool,
    /// What hides entries, if they are to be hidden.
    filter: Option<Filter>,
    limits: Limits,
    entries: u64,
    problems: u32,
    /// Bytes of messages that the directory took so far which is being listed.
    bytes: usize,
}

/// How many bytes of messages one directory may take: names and attributes can be long.
const DIRECTORY_BYTES: usize = 64 << 20;

/// What an entry may take on the average where a directory may have more than is usual.
const ENTRY_BYTES: usize = 160;

impl Order {
    /// Checks one more part of a directory and adds it to `listing`.
    fn add(&mut self, listing: &mut Listing, part: DirectoryPart) -> Result<(), LinkError> {
        let protocol = |why| Err(LinkError::Protocol(why));
        let Some(due) = self.pending.last() else {
            return protocol("S25: a directory was listed that is in no other");
        };
        if part.directory != due.path {
            return protocol("S25: a directory was listed out of order");
        }
        if part.flags & !(INCOMPLETE | HIDES_EXCLUDED | OTHER_MOUNT | MORE) != 0 {
            return protocol("S22: a directory with unknown flags");
        }
        self.entries += part.entries.len() as u64;
        let told = part.problems.len() + part.litter.len();
        self.problems = self.problems.saturating_add(u32::try_from(told).unwrap_or(u32::MAX));
        self.within_limits(listing, &part)?;
        for entry in part.entries {
            valid::listed(&part.directory, &entry)?;
            if listing.entries.last().is_some_and(|last| last.name >= entry.name) {
                return protocol("S4: names that are out of order or come twice");
            }
            if let Some(filter) = &self.filter {
                let path = part.directory.join_unchecked(&entry.name);
                if filter.verdict(&path, entry.kind.is_directory()) == Verdict::Excluded {
                    return protocol("S2: an entry was listed that the filter excludes");
                }
            }
            listing.entries.push(entry);
        }
        for name in &part.litter {
            if !is_temporary(name.as_bytes()) {
                return protocol("a name is to be swept that is not a temporary one");
            }
        }
        for problem in part.problems {
            if !problem.path.is_within(&part.directory) {
                return protocol("a problem of another directory");
            }
            listing.problems.push(valid::problem(problem));
        }
        listing.litter.extend(part.litter);
        listing.incomplete |= part.flags & INCOMPLETE != 0;
        listing.hides_excluded |= part.flags & HIDES_EXCLUDED != 0;
        listing.other_mount |= part.flags & OTHER_MOUNT != 0;
        listing.directory = part.directory;
        Ok(())
    }

    /// Whether there is an end to what is listed, as far as this end keeps it.
    fn within_limits(&self, listing: &Listing, part: &DirectoryPart) -> Result<(), LinkError> {
        let Limits { directory_entries, entries, problems, .. } = self.limits;
        let most = directory_entries as usize;
        let folder = match part.directory.is_root() {
            true => "its root".to_owned(),
            false => format!("its folder {}", part.directory),
        };
        let remedy = "take a higher --max-folder-entries, or leave it out with --exclude";
        let why = if listing.entries.len() + part.entries.len() > most {
            format!("{folder} has more than {most} entries, the most that one may have; {remedy}")
        } else if self.bytes > DIRECTORY_BYTES.max(most.saturating_mul(ENTRY_BYTES)) {
            format!(
                "names and attributes in {folder} take more room than is kept for one; {remedy}"
            )
        } else if self.entries > entries {
            format!("its tree has more than {entries} entries; mirror it in parts")
        } else if self.problems > problems {
            format!(
                "more than {problems} of its paths have problems; the last ones are in {folder}"
            )
        } else {
            return Ok(());
        };
        Err(LinkError::TooMuch(why))
    }

    /// Notes that a directory has been listed whole; what is in it comes next.
    fn finish(&mut self, listing: &Listing) -> Option<Pending> {
        (self.must_list, self.bytes) = (false, 0);
        let done = self.pending.pop();
        let directories = listing.entries.iter().filter(|entry| entry.kind.is_directory());
        let pending = directories.map(|entry| Pending {
            path: listing.directory.join_unchecked(&entry.name),
            place: place(entry),
        });
        let at = self.pending.len();
        self.pending.extend(pending);
        self.pending[at..].reverse();
        done
    }

    /// Whether the tree may be at its end.
    fn end(&self) -> Result<(), LinkError> {
        let root_only = self.pending.len() == 1 && self.pending[0].path.is_root();
        if self.pending.is_empty() || (root_only && !self.must_list) {
            return Ok(());
        }
        Err(LinkError::Protocol("S25: directories were left out of the listing"))
    }
}

#[derive(Debug)]
struct RemoteListings {
    stream: Stream,
    root: Entry,
    order: Order,
    /// What the agent need not list as long as it is as remembered.
    known: Option<Memory>,
    /// The directories that come next and are.
    run: Known,
    /// Whether the agent has been told of all of that.
    told: bool,
    recall: Recall,
    peer: String,
    cancel: Cancel,
    ended: bool,
}

impl RemoteListings {
    fn read(&mut self) -> Result<Option<Listing>, LinkError> {
        let mut listing = Listing::default();
        let mut begun = false;
        loop {
            if self.run.directories > 0 {
                self.run.directories -= 1;
                return self.remembered().map(Some);
            }
            let Some(message) = self.stream.receive()? else {
                return Err(LinkError::Protocol("a listing that ends before its end"));
            };
            let part = match decode(&message)? {
                Scanned::Directory(part) => part,
                Scanned::Differs if !begun && !self.told => {
                    self.told = true;
                    self.tell()?;
                    continue;
                }
                Scanned::Known(run) if !begun && run.directories > 0 => {
                    if run.directories > 1 && !run.holes.is_empty() {
                        return Err(LinkError::Protocol("files with holes in several directories"));
                    }
                    self.run = run;
                    continue;
                }
                Scanned::End if !begun => return self.order.end().map(|()| None),
                Scanned::Failed(Setback::Refused(why)) => {
                    return Err(LinkError::Declined(valid::text(&why)));
                }
                Scanned::Failed(_) => {
                    return Err(LinkError::Declined(
                        "it cannot list its tree to the end".to_owned(),
                    ));
                }
                _ => return Err(LinkError::Protocol("a listing that begins again")),
            };
            begun = true;
            let more = part.flags & MORE != 0;
            if more && part.entries.is_empty() {
                return Err(LinkError::Protocol("a part of a listing with nothing in it"));
            }
            self.order.bytes += message.len();
            self.order.add(&mut listing, part)?;
            if more {
                continue;
            }
            return Ok(Some(self.finished(listing)));
        }
    }

    fn finished(&mut self, mut listing: Listing) -> Listing {
        if let Some(done) = self.order.finish(&listing) {
            self.recall.listing(&mut listing, done.place);
        }
        listing
    }

    /// The next directory, which is as this end remembers it: held to all that a listing is.
    fn remembered(&mut self) -> Result<Listing, LinkError> {
        let (Some(known), Some(due)) = (&self.known, self.order.pending.last()) else {
            return Err(LinkError::Protocol(
                "S25: a directory is called known that is in no other",
            ));
        };
        let part = known.part(due, &self.run)?;
        let mut listing = Listing::default();
        self.order.add(&mut listing, part)?;
        Ok(self.finished(listing))
    }

    /// Tells what this end remembers.
    fn tell(&mut self) -> Result<(), LinkError> {
        let known = self.known.as_mut().filter(|known| known.whole.is_some());
        let known = known.ok_or(LinkError::Protocol("it asks for what nobody remembers"))?;
        let gists = std::mem::take(&mut known.gists);
        for gists in gists.chunks(LIST / size_of::<Gist>()) {
            if !self.stream.send(&encode(&Gists(gists.to_vec())))? {
                return Ok(());
            }
        }
        self.stream.send(&encode(&Gists(Vec::new()))).map(drop)
    }
}

impl Iterator for RemoteListings {
    type Item = Result<Listing, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        if let Err(cancelled) = self.cancel.check() {
            self.ended = true;
            return Some(Err(cancelled));
        }
        let read = self.read();
        self.ended = !matches!(read, Ok(Some(_)));
        match read {
            Ok(listing) => listing.map(Ok),
            Err(source) => {
                if let LinkError::Protocol(why) = source {
                    self.stream.accuse(why);
                }
                Some(Err(Error::Link { peer: self.peer.clone(), source }))
            }
        }
    }
}

impl Listings for RemoteListings {
    fn root(&self) -> &Entry {
        &self.root
    }
}
