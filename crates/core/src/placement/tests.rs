//! Where new shards go (`spread`), the rules of moving them (`rules`), and what
//! they come to with many clients and many sizes of a cluster (`clients`).

mod clients;
mod cluster;
mod rules;
mod spread;
