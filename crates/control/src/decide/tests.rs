//! The rules one by one (`rules`), and all of them together in clusters whose
//! workers do as they are told (`clusters`).

mod clusters;
mod rules;
