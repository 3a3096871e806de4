//! Both ends' settings, made of an identity.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::ServerCertVerifier;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::error::TlsError;
use crate::facts::Facts;
use crate::identity::{CA_FILE, CERTIFICATE_FILE, Identity, KEY_FILE};
use crate::role::Role;
use crate::verify::OnlyRoles;

/// What is spoken inside, so that TLS of another kind is told from a link.
const ALPN: &[u8] = b"h2";

/// What one identity makes.
#[derive(Debug)]
pub(crate) struct Configs {
    pub(crate) client: Arc<ClientConfig>,
    pub(crate) server: Arc<ServerConfig>,
    pub(crate) facts: Facts,
}

impl Configs {
    pub(crate) fn new(identity: &Identity, role: Role) -> Result<Self, TlsError> {
        let parts = Parts::read(identity)?;
        parts.check(role)?;
        Ok(Self {
            client: Arc::new(parts.client().map_err(TlsError::Pair)?),
            server: Arc::new(parts.server()?),
            facts: Facts::read(&identity.certificate)?,
        })
    }
}

impl Identity {
    /// Whether a process of `role` gets on with it at `now`, in seconds from 1970, among
    /// others who trust `ca`, as PEM, and no more than that.
    ///
    /// # Errors
    /// Why not: it cannot be read, key and certificate do not go together, or others would
    /// refuse it.
    pub fn check(&self, role: Role, ca: &str, now: u64) -> Result<(), TlsError> {
        let among = Self {
            ca: ca.to_owned(),
            ..self.clone()
        };
        let parts = Parts::read(&among)?;
        parts.check(role)?;
        parts.client().map_err(TlsError::Pair)?;
        parts.verify(role, UnixTime::since_unix_epoch(Duration::from_secs(now)))
    }
}

/// An identity that was read.
struct Parts {
    provider: Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Parts {
    fn read(identity: &Identity) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        for ca in certificates(&identity.ca, CA_FILE)? {
            roots
                .add(ca)
                .map_err(|error| TlsError::unusable(CA_FILE, &error))?;
        }
        // The parser's error may quote what it read.
        let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes())
            .map_err(|_| TlsError::unusable(KEY_FILE, &"there is no private key in it"))?;
        Ok(Self {
            provider: Arc::new(aws_lc_rs::default_provider()),
            roots: Arc::new(roots),
            chain: certificates(&identity.certificate, CERTIFICATE_FILE)?,
            key,
        })
    }

    /// Whether it is the role's own: others would refuse it later, and tell it elsewhere.
    fn check(&self, wanted: Role) -> Result<(), TlsError> {
        let found = self.chain.first().and_then(Role::of);
        if found == Some(wanted) {
            return Ok(());
        }
        let found = found.map_or("nobody's".to_owned(), |role| format!("the {role}s'"));
        Err(TlsError::OtherRole { found, wanted })
    }

    fn client(&self) -> Result<ClientConfig, rustls::Error> {
        let builder = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&TLS13])?
            .with_root_certificates(Arc::clone(&self.roots));
        let mut config = builder.with_client_auth_cert(self.chain.clone(), self.key.clone_key())?;
        config.alpn_protocols = vec![ALPN.to_owned()];
        // Links last: a resumed one would save nothing, and skip the look at certificates.
        config.resumption = Resumption::disabled();
        Ok(config)
    }

    fn server(&self) -> Result<ServerConfig, TlsError> {
        let builder = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&TLS13])
            .map_err(TlsError::Pair)?;
        let mut config = builder
            .with_client_cert_verifier(self.dialler_verifier()?)
            .with_single_cert(self.chain.clone(), self.key.clone_key())
            .map_err(TlsError::Pair)?;
        config.alpn_protocols = vec![ALPN.to_owned()];
        config.send_tls13_tickets = 0;
        Ok(config)
    }

    fn dialler_verifier(&self) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
        let (roots, provider) = (Arc::clone(&self.roots), Arc::clone(&self.provider));
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider)
            .build()
            .map_err(|error| TlsError::unusable(CA_FILE, &error))?;
        Ok(Arc::new(OnlyRoles(verifier)))
    }

    /// As the others will: everybody dials, and workers are dialled as well.
    fn verify(&self, role: Role, now: UnixTime) -> Result<(), TlsError> {
        let own = self.chain.split_first();
        let (own, between) = own.ok_or_else(|| none_in(CERTIFICATE_FILE))?;
        let as_dialler = self.dialler_verifier()?;
        as_dialler
            .verify_client_cert(own, between, now)
            .map_err(TlsError::Distrusted)?;
        if role != Role::Worker {
            return Ok(());
        }
        let (roots, provider) = (Arc::clone(&self.roots), Arc::clone(&self.provider));
        let as_dialled = WebPkiServerVerifier::builder_with_provider(roots, provider)
            .build()
            .map_err(|error| TlsError::unusable(CA_FILE, &error))?;
        as_dialled
            .verify_server_cert(own, between, &role.server_name(), &[], now)
            .map_err(TlsError::Distrusted)?;
        Ok(())
    }
}

fn certificates(pem: &str, what: &'static str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let all = all.map_err(|error| TlsError::unusable(what, &error))?;
    match all.is_empty() {
        true => Err(none_in(what)),
        false => Ok(all),
    }
}

fn none_in(what: &'static str) -> TlsError {
    TlsError::unusable(what, &"there is no certificate in it")
}
