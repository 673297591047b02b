//! For tests, of this crate's and of embedders': a topology to play with, and name servers in memory that
//! take UPDATE, answer transfers and check signatures, alone or on loopback, well or ill.

#[cfg(feature = "testing")]
mod loopback;
#[cfg(feature = "testing")]
mod memory;
mod scene;
#[cfg(feature = "testing")]
mod server;

#[cfg(feature = "testing")]
pub use loopback::Loopback;
#[cfg(feature = "testing")]
pub use memory::{Dying, MemoryNetwork};
pub use scene::draft;
#[cfg(feature = "testing")]
pub use server::{Behaviour, MemoryServer};
