//! Where random bytes come from. They are handed in, so that the rest can be tested by the byte.

use std::fmt;

/// A source of random bytes that nobody can foretell.
///
/// Whoever implements it for tests should fill with something that changes from call to call:
/// keys on the NIST curves are drawn until a number falls into the range of the curve.
pub trait Randomness {
    /// Fills all of `bytes`.
    ///
    /// # Errors
    /// When the source cannot give them. Nothing weaker is used instead.
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), RandomnessError>;
}

/// No random bytes could be had.
#[derive(Debug, thiserror::Error)]
#[error("the system gives no random bytes: {why}; no key was made")]
pub struct RandomnessError {
    why: String,
}

impl RandomnessError {
    /// Says why.
    pub fn new(why: impl fmt::Display) -> RandomnessError {
        RandomnessError { why: why.to_string() }
    }
}

/// The kernel's generator (`getrandom(2)`), which waits for it to be seeded and never falls back.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemRandomness;

impl Randomness for SystemRandomness {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), RandomnessError> {
        getrandom::fill(bytes).map_err(RandomnessError::new)
    }
}
