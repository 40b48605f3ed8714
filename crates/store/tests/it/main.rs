//! The store from outside: on a real directory, through the trait, through crashes and damage.

#![allow(clippy::unwrap_used, reason = "a test says what is wrong by panicking")]

mod backup;
mod behaviour;
mod check;
mod compaction;
mod crash;
mod damage;
mod distributions;
mod limits;
mod model;
mod support;
mod tiers;
mod tiers_model;
