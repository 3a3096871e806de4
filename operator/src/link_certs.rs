//! The links' certificates: Secrets that edges and workers mount, made and renewed here
//! (DESIGN 9b, ADR 0021). The CA's key never leaves its own Secret, which only the operator
//! reads.

mod due;
mod secrets;

use std::time::Duration;

use hexagram_runtime::clock::unix_seconds;
use hexagram_runtime::random::jittered;
use hexagram_tls::{Identity, LinkTls, Role, TlsError};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::PostParams;
use tokio::time::sleep;

use crate::client::{Place, within};
use crate::trouble::Trouble;
use due::{Authorities, is_due};

/// Between two looks at what is due.
const ROUND: Duration = Duration::from_secs(300);

/// Where the certificates are to be, and who uses one here.
#[derive(Clone, Debug)]
pub struct LinkSecrets {
    /// What the Secrets' names begin with; `-ca`, `-edge` and `-worker` follow.
    pub prefix: String,
    /// The operator's own way to workers: it takes a certificate of the CA as soon as the
    /// operator leads, and needs no Secret for it.
    pub tls: LinkTls,
}

/// The certificates cannot be made or renewed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkCertsError {
    /// The API server does not give or take one.
    #[error("the links' Secret {0} cannot be had: {1}")]
    Api(String, kube::Error),
    /// The CA's Secret holds something else.
    #[error(
        "Secret {0} holds no usable CA for links: {1}; delete it for a new one: edges and workers \
         then need up to two minutes to link anew"
    )]
    Unusable(String, String),
    /// One cannot be made.
    #[error(transparent)]
    Make(#[from] TlsError),
}

impl LinkSecrets {
    /// Makes and renews what is due now.
    pub(crate) async fn ensure(&self, place: &Place) -> Result<(), LinkCertsError> {
        let (now, api) = (unix_seconds(), place.api());
        let authorities = self.authorities(&api, now).await?;
        for role in [Role::Edge, Role::Worker] {
            self.leaf(&api, role, &authorities, now).await?;
        }
        // Nobody else holds it, so a fresh one each time costs nothing.
        Ok(self.tls.take(&authorities.issue(Role::Controller, now)?)?)
    }

    /// Does so again and again.
    pub(crate) async fn renew(self, place: Place) {
        let mut trouble = Trouble::new("renewing the links' certificates");
        loop {
            sleep(jittered(ROUND)).await;
            trouble.tell(self.ensure(&place).await);
        }
    }

    /// The CAs, after the step that is due.
    async fn authorities(
        &self,
        api: &Api<Secret>,
        now: u64,
    ) -> Result<Authorities, LinkCertsError> {
        let name = format!("{}-ca", self.prefix);
        let found = get(api, &name).await?;
        let Some(secret) = found else {
            let fresh = Authorities::fresh(now)?;
            put(api, secrets::of_authorities(&name, &fresh), "made").await?;
            return Ok(fresh);
        };
        let unusable = |reason| LinkCertsError::Unusable(name.clone(), reason);
        let mut authorities = secrets::authorities(&secret).map_err(unusable)?;
        if authorities.advance(now)? {
            let next = secrets::of_authorities(&name, &authorities);
            put(api, secrets::over(&secret, next), "exchanged").await?;
        }
        Ok(authorities)
    }

    async fn leaf(
        &self,
        api: &Api<Secret>,
        role: Role,
        authorities: &Authorities,
        now: u64,
    ) -> Result<(), LinkCertsError> {
        let name = format!("{}-{role}", self.prefix);
        let found = get(api, &name).await?;
        let held: Option<Identity> = found.as_ref().and_then(secrets::identity);
        if held.is_some_and(|held| !is_due(&held, authorities, now)) {
            return Ok(());
        }
        let next = secrets::of_identity(&name, authorities.issue(role, now)?);
        match found {
            Some(before) => put(api, secrets::over(&before, next), "renewed").await,
            None => put(api, next, "made").await,
        }
    }
}

async fn get(api: &Api<Secret>, name: &str) -> Result<Option<Secret>, LinkCertsError> {
    let got = within(api.get_opt(name)).await;
    got.map_err(|error| LinkCertsError::Api(name.to_owned(), error))
}

/// Writes it, unless somebody else did since it was read: then it is looked at again.
async fn put(api: &Api<Secret>, secret: Secret, how: &'static str) -> Result<(), LinkCertsError> {
    let name = secret.metadata.name.clone().unwrap_or_default();
    let options = PostParams::default();
    let written = match secret.metadata.resource_version {
        Some(_) => within(api.replace(&name, &options, &secret)).await,
        None => within(api.create(&options, &secret)).await,
    };
    written.map_err(|error| LinkCertsError::Api(name.clone(), error))?;
    tracing::info!(secret = name, "a Secret of the links is {how}");
    Ok(())
}
