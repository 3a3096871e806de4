//! What every Hexagram process needs around its role.
//!
//! A binary parses its arguments with [`config`], starts [`telemetry`], raises
//! its limit of open [`files`], builds the tokio runtime with [`threads`], serves
//! [`health`] and [`metrics`] over [`admin`], and ends through [`shutdown`] and
//! [`drain`]. Each module owns the clap arguments it needs; a role flattens them
//! into its own.
//! This crate knows no role, no shard and no other crate of the workspace.

pub mod admin;
pub mod clock;
pub mod config;
pub mod drain;
pub mod files;
pub mod health;
pub mod listener;
pub mod metrics;
pub mod random;
pub mod reload;
pub mod serve;
pub mod shutdown;
pub mod telemetry;
pub mod threads;
pub mod watched;
