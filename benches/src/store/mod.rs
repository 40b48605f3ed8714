//! Benchmarks of the store in process, through its public interface.

pub mod append;
