//! The difference inside a file.

mod chunk;

pub use chunk::{Chunk, ChunkSize, Chunker};
