//! What several tests use.

#[allow(dead_code, reason = "not every test runs scenarios")]
pub(crate) mod scenario;
