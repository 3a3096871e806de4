//! The end of those who listen.

/// Nobody reads any more what is said.
pub(crate) struct Gone;
