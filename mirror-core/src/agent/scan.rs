//! Listing the tree for a caller.

use super::setback;
use super::tree::Tree;
use crate::endpoint::{Endpoint, ScanRequest};
use crate::entry::{Kind, Side};
use crate::listing::{self, Listing};
use crate::path::Name;
use crate::policy::{Fidelity, Policy};
use crate::progress::Cancel;
use crate::wire::LinkError;
use crate::wire::link::Stream;
use crate::wire::message::{
    DirectoryPart, HIDES_EXCLUDED, INCOMPLETE, LIST, MORE, OTHER_MOUNT, ScanOrder, Scanned, encode,
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
    let listings = match local.scan(&request) {
        Ok(listings) => listings,
        Err(error) => return say(&Scanned::Failed(setback(&error))).map(drop),
    };
    if !say(&Scanned::Root(Box::new(listings.root().clone())))? {
        return Ok(());
    }
    for listing in listings {
        let sent = match listing {
            Ok(listing) => send(listing, &say)?,
            Err(error) => return say(&Scanned::Failed(setback(&error))).map(drop),
        };
        if !sent {
            return Ok(());
        }
    }
    say(&Scanned::End).map(drop)
}

/// Sends a directory in as many parts as it takes.
fn send(
    listing: Listing,
    say: &dyn Fn(&Scanned) -> Result<bool, LinkError>,
) -> Result<bool, LinkError> {
    let mut flags = 0;
    for (is_so, flag) in [
        (listing.incomplete, INCOMPLETE),
        (listing.hides_excluded, HIDES_EXCLUDED),
        (listing.other_mount, OTHER_MOUNT),
    ] {
        flags |= if is_so { flag } else { 0 };
    }
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
