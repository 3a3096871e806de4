//! `hexagram keys`: fresh keys, on standard output.

use anyhow::Result;
use clap::Subcommand;
use hexagram_edge::api_key_digest;
use hexagram_runtime::random;

use crate::cluster::new_ring;

/// Which key to make.
#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// A key ring that seals session ids; give it to every edge and worker.
    Ring,
    /// An API key: its line for the keys file on stdout, the key itself on stderr.
    Api {
        /// Whose key it is.
        name: String,
    },
}

#[expect(clippy::print_stdout, reason = "the key is the command's result")]
pub(crate) fn run(command: &KeysCommand) -> Result<()> {
    match command {
        KeysCommand::Ring => print!("{}", new_ring().to_text()),
        KeysCommand::Api { name } => {
            anyhow::ensure!(
                !name.is_empty()
                    && !name.contains(|c: char| c.is_whitespace() || c.is_control() || c == '#'),
                "the name {name:?} is empty or has white space or # in it"
            );
            let key: String = random::bytes::<32>()
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            println!("{name} {}", api_key_digest(&key));
            eprintln!("API key of {name}, shown only now: {key}");
        }
    }
    Ok(())
}
