//! Makes one file tree equal to another.
