//! Clusters of real processes, real clients and raw HTTP, for the tests of the
//! whole. Everything waits on conditions with a deadline and ends what it started.

#![allow(
    dead_code,
    unused_imports,
    reason = "each test program uses its part of the harness"
)]

pub(crate) mod clients;
pub(crate) mod controlled;
pub(crate) mod everything;
pub(crate) mod http;
pub(crate) mod listener;
pub(crate) mod mcp;
pub(crate) mod ports;
pub(crate) mod proc_table;
pub(crate) mod process;
pub(crate) mod puppet;
pub(crate) mod redis;
pub(crate) mod server;
pub(crate) mod tools;
pub(crate) mod upstream;
pub(crate) mod wait;

pub(crate) use controlled::Controlled;
pub(crate) use server::{Cluster, Server};
