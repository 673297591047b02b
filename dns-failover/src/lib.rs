//! DNS records for six name servers, and the decision to move a domain to the other site.
//!
//! This crate is being built; nothing is exported from it so far. What it will hold:
//!
//! - records and zones with a lossless master-file reader and writer (RFC 1035, RFC 3597),
//!   serial arithmetic (RFC 1982), differences and checks;
//! - templates that turn a customer domain and the failover state into a zone;
//! - a pure failover decision: observations, quorum, hold-down, fencing by epoch;
//! - publishing with UPDATE, NOTIFY and TSIG, and verifying on all six name servers.
//!
//! Not here, ever: resolving, serving, DNSSEC signing, registrars and provider APIs.
