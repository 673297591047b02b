//! Six real name servers on loopback, each from its rendered configuration alone.

pub(crate) mod fleet;
pub(crate) mod peer;
