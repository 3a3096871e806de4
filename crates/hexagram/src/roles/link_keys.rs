//! `hexagram keys link`: certificates for the links of a process cluster, in a folder for
//! each role. Called again, it renews them with the same CA.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use hexagram_runtime::clock::unix_seconds;
use hexagram_tls::{Authority, CA_FILE, CERTIFICATE_FILE, Identity, KEY_FILE, Role, TlsError};

use crate::mistake::Mistake;
use crate::output::print;

/// The CA's key: no process needs it.
const CA_KEY_FILE: &str = "ca.key";

const DAY: Duration = Duration::from_secs(86_400);

/// People exchange the CA of a process cluster by hand.
const CA_LIFE: Duration = Duration::from_secs(3650 * 86_400);

/// Where, and for how long.
#[derive(Debug, Clone, Args)]
pub(crate) struct LinkKeys {
    /// Folder to make them in: a CA, and a folder for each role, which --link-tls takes.
    /// A CA that is there is used again.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Days after which the certificates end; make them anew before.
    #[arg(long, default_value_t = 365, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: u32,
}

pub(crate) fn run(args: &LinkKeys) -> Result<()> {
    let authority = authority(&args.out)?;
    for role in Role::ALL {
        let life = DAY * args.days;
        let made = authority.issue(role, unix_seconds(), life, authority.certificate());
        write(&args.out.join(role.word()), &made?)?;
    }
    let out = args.out.display();
    print(format_args!(
        "Certificates for {} days: give --link-tls {out}/edge to each edge, {out}/worker to each \
         worker, {out}/controller to `hexagram control`.\nKeep {out}/{CA_KEY_FILE} to yourself: it \
         makes further ones.\n",
        args.days
    ))
}

/// The folder's CA, made where there is none.
fn authority(folder: &Path) -> Result<Authority> {
    let (certificate, key) = (folder.join(CA_FILE), folder.join(CA_KEY_FILE));
    match (read(&certificate)?, read(&key)?) {
        (Some(certificate), Some(key)) => return Ok(Authority::from_pem(certificate, key)?),
        (None, None) => {}
        _ => return Err(half(folder).into()),
    }
    let made = Authority::generate(unix_seconds(), CA_LIFE)?;
    private_folder(folder)?;
    put(&certificate, made.certificate())?;
    put(&key, made.key())?;
    Ok(made)
}

/// A new CA beside what others trust already would lock them out.
fn half(folder: &Path) -> Mistake {
    Mistake::File(format!(
        "{} has one of {CA_FILE} and {CA_KEY_FILE} only: put the other one back, or name another \
         folder for a new CA",
        folder.display()
    ))
}

fn read(file: &Path) -> Result<Option<String>, TlsError> {
    match fs::read_to_string(file) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(TlsError::Read(file.to_owned(), error)),
    }
}

fn write(folder: &Path, identity: &Identity) -> Result<()> {
    private_folder(folder)?;
    put(&folder.join(CA_FILE), &identity.ca)?;
    put(&folder.join(KEY_FILE), &identity.key)?;
    put(&folder.join(CERTIFICATE_FILE), &identity.certificate)
}

fn private_folder(folder: &Path) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.with_context(|| format!("make the folder {}", folder.display()))
}

/// Replaces the file at once: a process may read it meanwhile.
fn put(file: &Path, text: &str) -> Result<()> {
    let new = file.with_extension("new");
    let written = write_private(&new, text).and_then(|()| fs::rename(&new, file));
    written
        .map_err(|error| Mistake::File(format!("cannot write {}: {error}", file.display())).into())
}

fn write_private(file: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(file)?.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_second_run_renews_with_the_same_ca_and_nobody_else_may_read() {
        let folder = tempfile::tempdir().unwrap();
        let args = LinkKeys {
            out: folder.path().join("links"),
            days: 1,
        };
        let read = |name: &str| fs::read_to_string(args.out.join(name)).unwrap();
        run(&args).unwrap();
        let before = [read("ca.crt"), read("edge/tls.crt")];
        run(&args).unwrap();
        assert_eq!(read("ca.crt"), before[0]);
        assert_eq!(read("worker/ca.crt"), before[0]);
        assert_ne!(read("edge/tls.crt"), before[1]);
        let mode = fs::metadata(args.out.join("edge/tls.key")).unwrap();
        assert_eq!(mode.permissions().mode() & 0o777, 0o600);
        fs::remove_file(args.out.join("ca.key")).unwrap();
        let error = run(&args).unwrap_err().to_string();
        assert!(error.contains("put the other one back"), "{error}");
        assert_eq!(read("ca.crt"), before[0]);
    }
}
