//! Where a Valkey or Redis is, and what to expect there.

use std::fmt;

use hexagram_core::ShardCount;
use redis::{Client, ConnectionInfo, IntoConnectionInfo, TlsCertificates};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use thiserror::Error;
use url::Url;

/// How to reach a Valkey or Redis, and whose it must be.
#[derive(Clone)]
pub struct RedisSettings {
    /// `redis://[user:password@]host[:port][/database]`, or `rediss://` for TLS. The
    /// password is shown nowhere.
    pub url: String,
    /// Certificates in PEM form that are trusted instead of the system's; only for TLS.
    pub ca: Option<Vec<u8>>,
    /// The cluster's id. A store of another one is refused.
    pub cluster: String,
    /// The cluster's shards. A store made with another number is refused.
    pub shards: ShardCount,
    /// Replicas that must have what is written before it counts as stored. 0: the server
    /// alone is asked, and may lose it when a replica takes its place.
    pub wait: u8,
}

/// What is wrong with [`RedisSettings`]. Gives no password away.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SettingsError {
    /// No URL at all.
    #[error(
        "the store's URL cannot be read ({0}): write redis://user:password@host:port/database, \
         with special characters of the password percent-encoded"
    )]
    NoUrl(url::ParseError),
    /// Another scheme.
    #[error("the store's URL begins with {0}: write redis://, or rediss:// for TLS")]
    Scheme(String),
    /// No host.
    #[error("the store's URL names no host: write redis://host:port")]
    NoHost,
    /// `0.0.0.0` or `[::]`.
    #[error("the store's URL names {0}, where nothing can be reached: write the server's address")]
    Anywhere(String),
    /// The path is no number.
    #[error("the store's URL ends in {0:?}: write a database's number, such as /0")]
    Database(String),
    /// A query or fragment.
    #[error("the store's URL has something behind a `?` or `#`: leave it out")]
    Extras,
    /// It would be ignored.
    #[error("the store's URL has a user without a password: write user:password@, or :password@")]
    UserWithoutPassword,
    /// Not text when decoded.
    #[error("user and password in the store's URL are not text: percent-encode them as UTF-8")]
    NotText,
    /// A CA that is of no use.
    #[error("a CA is given, but the store's URL has no TLS: write rediss://")]
    CaWithoutTls,
    /// A CA file without a certificate.
    #[error("the store's CA cannot be used: {0}; it must be certificates in PEM form")]
    BadCa(String),
}

/// Where Valkey and Redis listen where nothing else is said.
const PORT: u16 = 6379;

impl RedisSettings {
    /// Says what is wrong without connecting.
    ///
    /// # Errors
    /// [`SettingsError`]
    pub fn check(&self) -> Result<(), SettingsError> {
        self.client().map(|_| ())
    }

    /// Host, port and database, without user and password.
    pub(super) fn address(&self) -> String {
        let Ok(mut url) = Url::parse(&self.url) else {
            return "an address that cannot be read".to_owned();
        };
        // Both fail only where there can be no user and no password.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        url.to_string()
    }

    /// Where its data is, as `HOST:PORT/DATABASE`: the same text for the same database, but
    /// for other names of the same host.
    pub fn place(&self) -> String {
        let Ok(url) = Url::parse(&self.url) else {
            return self.address();
        };
        let host = url.host_str().unwrap_or_default().to_lowercase();
        let port = url.port().unwrap_or(PORT);
        let database = match url.path().trim_matches('/') {
            "" => "0",
            database => database,
        };
        format!("{host}:{port}/{database}")
    }

    /// What connects.
    pub(super) fn client(&self) -> Result<Client, SettingsError> {
        let url = Url::parse(&self.url).map_err(SettingsError::NoUrl)?;
        check_url(&url)?;
        check_ca(&url, self.ca.as_deref())?;
        let info = url.into_connection_info();
        // All else that it refuses is refused above.
        let info = info.map_err(|_| SettingsError::NotText)?;
        client(info, self.ca.clone()).map_err(|error| SettingsError::BadCa(error.to_string()))
    }
}

fn client(info: ConnectionInfo, ca: Option<Vec<u8>>) -> redis::RedisResult<Client> {
    match ca {
        None => Client::open(info),
        Some(_) => Client::build_with_tls(
            info,
            TlsCertificates {
                client_tls: None,
                root_cert: ca,
            },
        ),
    }
}

fn check_url(url: &Url) -> Result<(), SettingsError> {
    if !matches!(url.scheme(), "redis" | "rediss") {
        return Err(SettingsError::Scheme(url.scheme().to_owned()));
    }
    match url.host_str() {
        None | Some("") => return Err(SettingsError::NoHost),
        Some(host @ ("0.0.0.0" | "[::]")) => return Err(SettingsError::Anywhere(host.to_owned())),
        Some(_) => {}
    }
    let path = url.path().trim_start_matches('/');
    if !path.is_empty() && path.parse::<u32>().is_err() {
        return Err(SettingsError::Database(path.to_owned()));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(SettingsError::Extras);
    }
    if !url.username().is_empty() && url.password().is_none() {
        return Err(SettingsError::UserWithoutPassword);
    }
    Ok(())
}

fn check_ca(url: &Url, ca: Option<&[u8]>) -> Result<(), SettingsError> {
    let Some(pem) = ca else { return Ok(()) };
    if url.scheme() != "rediss" {
        return Err(SettingsError::CaWithoutTls);
    }
    let bad = |why: String| Err(SettingsError::BadCa(why));
    match CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>() {
        Ok(certificates) if certificates.is_empty() => bad("it has no certificate".to_owned()),
        Ok(_) => Ok(()),
        Err(error) => bad(error.to_string()),
    }
}

impl fmt::Debug for RedisSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisSettings")
            .field("address", &self.address())
            .field("ca", &self.ca.is_some())
            .field("cluster", &self.cluster)
            .field("shards", &self.shards)
            .field("wait", &self.wait)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(url: &str) -> RedisSettings {
        RedisSettings {
            url: url.to_owned(),
            ca: None,
            cluster: "c".to_owned(),
            shards: ShardCount::default(),
            wait: 0,
        }
    }

    #[test]
    fn the_same_database_has_one_place() {
        let place = |url| settings(url).place();
        for url in [
            "redis://Valkey",
            "redis://valkey:6379/",
            "rediss://u:p@valkey/0",
        ] {
            assert_eq!(place(url), "valkey:6379/0", "{url}");
        }
        assert_eq!(place("redis://[::1]:1/3"), "[::1]:1/3");
    }

    #[test]
    fn urls_are_taken() {
        for url in [
            "redis://localhost",
            "redis://127.0.0.1:7000/3",
            "redis://[::1]:7000/",
            "redis://:p%40ss@valkey",
            "rediss://user:secret@valkey.example:6380/0",
        ] {
            assert_eq!(settings(url).check(), Ok(()), "{url}");
        }
    }

    #[test]
    fn each_mistake_is_named() {
        use SettingsError::*;
        for (url, mistake) in [
            ("localhost", NoUrl(url::ParseError::RelativeUrlWithoutBase)),
            ("http://localhost", Scheme("http".to_owned())),
            ("localhost:6379", Scheme("localhost".to_owned())),
            ("redis:///3", NoHost),
            ("redis://0.0.0.0", Anywhere("0.0.0.0".to_owned())),
            ("redis://h/three", Database("three".to_owned())),
            ("redis://h/-1", Database("-1".to_owned())),
            ("rediss://h/#insecure", Extras),
            ("redis://h/?protocol=resp3", Extras),
            ("redis://secret@h", UserWithoutPassword),
            ("redis://u:%ff@h", NotText),
        ] {
            assert_eq!(settings(url).check(), Err(mistake), "{url}");
        }
    }

    #[test]
    fn a_ca_must_be_one_and_of_use() {
        let mut settings = settings("redis://h");
        settings.ca = Some(b"nonsense".to_vec());
        assert_eq!(settings.check(), Err(SettingsError::CaWithoutTls));
        settings.url = "rediss://h".to_owned();
        assert!(matches!(settings.check(), Err(SettingsError::BadCa(_))));
    }

    #[test]
    fn the_password_is_shown_nowhere() {
        for url in [
            "redis://user:secret@h:1/0",
            "redis://user:secret@h:port",
            "redis://user:secret@h/x",
            "redis://user:secret@/",
            "http://user:secret@h",
        ] {
            let settings = settings(url);
            let mut shown = format!("{settings:?} {}", settings.address());
            if let Err(error) = settings.check() {
                shown += &format!("{error} {error:?}");
            }
            assert!(!shown.contains("secret"), "{shown}");
        }
    }
}
