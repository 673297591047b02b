//! A few octets, kept without an allocation where they are few indeed.

use std::ops::Deref;
use std::sync::Arc;

/// Immutable octets: up to `N` of them in place, more behind a shared pointer. Most names and most
/// RDATA are short, and a zone has hundreds of thousands of them; a clone never allocates.
#[derive(Clone)]
pub(crate) enum Octets<const N: usize> {
    Inline { len: u8, octets: [u8; N] },
    Shared(Arc<[u8]>),
}

impl<const N: usize> Octets<N> {
    pub(crate) fn new(octets: &[u8]) -> Octets<N> {
        match u8::try_from(octets.len()) {
            Ok(len) if octets.len() <= N => {
                let mut inline = [0; N];
                inline[..octets.len()].copy_from_slice(octets);
                Octets::Inline { len, octets: inline }
            }
            _ => Octets::Shared(octets.into()),
        }
    }
}

impl<const N: usize> Deref for Octets<N> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Octets::Inline { len, octets } => &octets[..usize::from(*len)],
            Octets::Shared(octets) => octets,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_comes_back() {
        for len in [0, 1, 29, 30, 31, 255, 256, 65535] {
            let octets: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
            assert_eq!(&*Octets::<30>::new(&octets), octets);
        }
        assert_eq!(size_of::<Octets<30>>(), 32);
    }
}
