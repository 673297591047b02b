//! Deterministic workloads for the benchmarks.
