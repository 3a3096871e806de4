//! `hexagram keys`: fresh keys, on standard output or in a folder.

use std::io::{self, Write};

use anyhow::{Context, Result};
use clap::Subcommand;
use hexagram_edge::api_key_digest;
use hexagram_runtime::random;

use crate::cluster::new_ring;
use crate::output::print;
use crate::roles::link_keys::{self, LinkKeys};

/// Which key to make.
#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// A key ring that seals session ids; give it to every edge and worker.
    Ring {
        /// Its key's id: one that no other key has in the ring to which its line is added.
        #[arg(long, default_value_t = 1)]
        id: u8,
    },
    /// An API key: its line for the keys file on stdout, the key itself on stderr.
    Api {
        /// Whose key it is.
        #[arg(value_parser = checked_name)]
        name: String,
    },
    /// Certificates for --link-tls, a folder for each role; again, to renew them.
    Link(LinkKeys),
}

pub(crate) fn run(command: &KeysCommand) -> Result<()> {
    match command {
        KeysCommand::Ring { id } => print(new_ring(*id).to_text()),
        KeysCommand::Api { name } => {
            let key: String = random::bytes::<32>()
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            print(format_args!("{name} {}\n", api_key_digest(&key)))?;
            writeln!(io::stderr(), "API key of {name}, shown only now: {key}")
                .context("cannot show the key on standard error; drop the line and make another")
        }
        KeysCommand::Link(args) => link_keys::run(args),
    }
}

/// A name that stands as one word in the file of keys.
fn checked_name(name: &str) -> Result<String, String> {
    let splits = |c: char| c.is_whitespace() || c.is_control() || c == '#';
    match name.is_empty() || name.contains(splits) {
        true => Err("the name must not be empty or have white space or # in it".to_owned()),
        false => Ok(name.to_owned()),
    }
}
