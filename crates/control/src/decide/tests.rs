//! The rules one by one (`rules`), and all of them together in clusters whose
//! workers do as they are told (`clusters`); some of them die of it (`poison`). What a worker takes
//! without a controller is apart (`legacies`), and so is whose silence is believed (`silence`).

mod cluster;
mod clusters;
mod legacies;
mod poison;
mod rules;
mod silence;
