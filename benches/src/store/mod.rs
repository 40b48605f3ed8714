//! The store.

pub mod index;
mod names;
