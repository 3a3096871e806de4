//! Where new shards go (`spread`), the rules of moving them (`rules`), how uneven it is
//! (`imbalance`), and what they come to with many clients and many sizes of a cluster
//! (`clients`).

mod clients;
mod cluster;
mod imbalance;
mod rules;
mod spread;
