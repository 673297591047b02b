//! Contents of files on their way, in either direction: sent one after the other without waiting
//! for answers, and kept where they arrive until somebody opens them.

mod arrivals;
mod sending;

pub(crate) use arrivals::{Arrivals, Told};
pub(crate) use sending::{Delivered, contents_of, send_file};
