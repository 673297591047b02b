//! Arbitrary bytes into everything that reads what a peer sent.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| mirror_core::testing::decode_anything(bytes));
