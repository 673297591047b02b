//! Disks that fail, stop, race and forget, for tests.
//!
//! A [`FaultFs`] stands between this crate and the kernel. It counts every call, and at one of
//! them it can answer with an error, end the process as far as the disk is concerned, or let
//! somebody else be quicker. What it records of a run is a [`Recording`], from which every state
//! that a power cut might have left can be made as an [`Image`].
//!
//! ```
//! use mirror_core::testing::{Fault, FaultFs};
//! use mirror_core::{Error, Guards, Mirror};
//!
//! # let folder = tempfile::tempdir()?;
//! # let (site, copy) = (folder.path().join("site"), folder.path().join("copy"));
//! # std::fs::create_dir(&site)?;
//! # std::fs::create_dir(&copy)?;
//! # std::fs::write(site.join("index.html"), "hello")?;
//! # std::fs::write(copy.join("index.html"), "an older page")?;
//! let disk = FaultFs::new().failing_from(1, Fault::NoSpace);
//! let (source, target) = (FaultFs::new().tree(&site)?, disk.tree(&copy)?);
//! let approved = Mirror::new(&source, &target).plan()?.approve(&Guards::default())?;
//! assert!(matches!(approved.apply(), Err(Error::Target { .. })));
//! assert_eq!(std::fs::read_to_string(copy.join("index.html"))?, "an older page");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod fault;
mod image;
mod recording;

pub use crate::wire::fuzz::{Attack, agent_hears, attack, caller_hears, decode_anything};
pub use fault::{Call, CallKind, Fault, FaultFs};
pub use image::{Identities, Image};
pub use recording::{Crash, Recording, Survival};
