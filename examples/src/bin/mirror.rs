//! `mirror SRC DST`: makes one tree equal to another.
fn main() {}
