//! Who may serve a shard while it moves (DESIGN 7 and 8), as one machine for
//! each party. A driver does what a machine allows and tells it what happened.
//!
//! ```text
//! register  Entry    owner e --plan--> moving e+1 --commit--> owner e+1
//!                            <--abort-- (e+1 is burnt)
//! worker    Holding  absent -> claiming -> serving -> frozen -> granted -> absent
//!                                             ^---resume---'
//! edge      Route    the highest epoch seen and its owner; never a lower one
//! ```
//!
//! `O` is whatever names a process start: worker and [`Incarnation`](crate::Incarnation).

mod entry;
mod holding;
mod register_map;
mod route;
#[cfg(test)]
mod tests;

pub use entry::{Entry, EntryError, Plan};
pub use holding::{Holding, HoldingError, Phase};
pub use register_map::{Owner, OwnerError, RegisterMap};
pub use route::Route;
