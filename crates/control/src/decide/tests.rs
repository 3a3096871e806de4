//! The rules one by one (`rules`), and all of them together in clusters whose
//! workers do as they are told (`clusters`); some of them die of it (`poison`).

mod cluster;
mod clusters;
mod poison;
mod rules;
