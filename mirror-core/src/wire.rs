//! What goes over a link between a caller and an agent; `PROTOCOL.md` has it byte by byte.
//!
//! Three layers, each in a file: [`frame`] turns batches of bytes into checked, compressed frames
//! and back; [`link`] carries numbered streams of messages in them, with credit for each and a
//! deadline on every wait; [`message`] is what is said. [`contents`] is how files travel, in either
//! direction. Whatever a peer says goes through [`valid`] before anything else looks at it.

pub(crate) mod contents;
mod error;
pub(crate) mod frame;
#[cfg(any(test, feature = "testing"))]
#[cfg_attr(not(feature = "testing"), expect(unreachable_pub, reason = "public with the feature"))]
pub(crate) mod fuzz;
pub(crate) mod gist;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod hostile;
pub(crate) mod link;
pub(crate) mod message;
pub(crate) mod valid;

pub use error::LinkError;
pub use link::Patience;
pub use message::Standing;

/// The versions of the protocol that this crate speaks, oldest and newest.
pub(crate) const VERSIONS: (u16, u16) = (1, 1);

/// What a caller sends first.
pub(crate) const CALLER_MAGIC: &[u8; 16] = b"mirror caller \r\n";

/// What comes first on a further connection of a caller's, before what meets the agent.
pub(crate) const JOINER_MAGIC: &[u8; 16] = b"mirror joiner \r\n";

/// How many bytes it takes to meet an agent: the name of its socket, then a token.
pub(crate) const MEETING: usize = 32;

/// What an agent sends first.
pub(crate) const AGENT_MAGIC: &[u8; 16] = b"mirror agent \r\n\0";
