//! Trees and files made from a seed, the same on every machine.
//!
//! Everything follows from the arguments: no clock, no environment, no
//! floating-point functions that differ between platforms. Names, contents,
//! modes and modification times (to the nanosecond, directories and symlinks
//! too) are the same for the same seed, so that a figure names its input.
//!
//! | function | what it stands for |
//! |---|---|
//! | [`small_files`] | a host's web sites: very many files of 1–4 KiB |
//! | [`kernel_like`] | a source release: deep, mixed sizes, one mtime for all |
//! | [`release_update`] | the next release unpacked over it |
//! | [`rename_directory`] | one directory that holds everything gets another name |
//! | [`empty_files`] | a million entries, cheap to make |
//! | [`large_file`] | a dump or an image, compressible like text |
//! | [`edit`] | that file with k edits that keep its length |
//! | [`insert_front`] | bytes put before it, so that everything moves |
//! | [`append`] | a log that grew |
//! | [`database_writes`] | 100-byte rows written all over it |
//! | [`zone_text`] | a zone file of a great many hosts |

mod file;
mod rng;
mod text;
mod tree;
mod zone;

pub use file::{append, database_writes, edit, insert_front, large_file};
pub use rng::Rng;
pub use tree::{
    Made, Update, empty_files, kernel_like, release_update, rename_directory, small_files,
};
pub use zone::zone_text;
