//! An upstream that comes back, the same or another.
