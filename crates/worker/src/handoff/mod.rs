//! The worker's part in moving shards (DESIGN 7): it follows the register, gives
//! shards away as planned and takes those that others give.
//!
//! ```text
//! register -> follow -> give -> (gRPC) -> take -> Handoffs
//!                          `-> state <-'
//! ```
//!
//! What may happen is decided by `core::Holding`; what stands here does it.

mod copy;
mod follow;
mod give;
mod handoffs;
mod load;
mod narrate;
mod restart;
mod state;
mod storage;
mod tails;
mod take;
mod taker;
mod validate;

pub(crate) use follow::follow;
pub(crate) use handoffs::Handoffs;
pub use handoffs::{Membership, ReadMap};
pub(crate) use load::store;
pub(crate) use narrate::narrate;
pub(crate) use storage::Storage;
pub(crate) use tails::pass_on;
pub(crate) use take::TakeService;
pub(crate) use validate::watch;
