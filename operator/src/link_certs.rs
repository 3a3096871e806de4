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
use tokio::time::sleep;

use crate::client::{Place, within};
use crate::secret;
use crate::trouble::Trouble;
use due::{Authorities, Held, due};

#[cfg(test)]
mod tests;

/// Between two looks at what is due.
const ROUND: Duration = Duration::from_secs(300);
/// After a look of which something could not be done.
const AGAIN: Duration = Duration::from_secs(10);

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

/// Who signs, and what edges and workers have, as of one look.
pub(crate) struct Look {
    now: u64,
    api: Api<Secret>,
    authorities: Authorities,
    leaves: [Leaf; 2],
}

/// The Secret of a role, as it was found, unless it could not be read.
struct Leaf {
    role: Role,
    name: String,
    found: Result<Option<Secret>, LinkCertsError>,
}

impl Leaf {
    /// Nothing also where it is not known: no CA is thought to have spread then.
    fn held(&self) -> Option<Held> {
        secrets::held(self.found.as_ref().ok()?.as_ref()?)
    }
}

impl LinkSecrets {
    /// Takes a certificate of the CA for the operator itself, which is all that it needs to
    /// lead; gives what it saw of others'.
    pub(crate) async fn take(&self, place: &Place) -> Result<Look, LinkCertsError> {
        let (now, api) = (unix_seconds(), place.api());
        let leaves = [
            self.leaf(&api, Role::Edge).await,
            self.leaf(&api, Role::Worker).await,
        ];
        let authorities = self.authorities(&api, &leaves, now).await?;
        // Nobody else holds it, so a fresh one each time costs nothing.
        let own = self.issue(&authorities, Role::Controller, now)?;
        self.tls.take(&own)?;
        Ok(Look {
            now,
            api,
            authorities,
            leaves,
        })
    }

    /// Makes and renews what edges and workers need now; what is wrong with one of them keeps
    /// nothing from the other.
    pub(crate) async fn renew_leaves(&self, look: Look) -> Result<(), LinkCertsError> {
        let Look {
            now,
            api,
            authorities,
            leaves,
        } = look;
        let mut done = Ok(());
        for leaf in leaves {
            let renewed = self.renew_leaf(&api, leaf, &authorities, now).await;
            done = done.and(renewed);
        }
        done
    }

    /// Makes and renews what is due, again and again; soon at first, since the operator leads
    /// also where something could not be made.
    pub(crate) async fn renew(self, place: Place) {
        let mut trouble = Trouble::new("renewing the links' certificates");
        let mut rest = AGAIN;
        loop {
            sleep(jittered(rest)).await;
            let renewed = self.ensure(&place).await;
            rest = match &renewed {
                Ok(()) => ROUND,
                Err(_) => AGAIN,
            };
            trouble.tell(renewed);
        }
    }

    async fn ensure(&self, place: &Place) -> Result<(), LinkCertsError> {
        let look = self.take(place).await?;
        self.renew_leaves(look).await
    }

    /// The CAs, after the step that is due.
    async fn authorities(
        &self,
        api: &Api<Secret>,
        leaves: &[Leaf],
        now: u64,
    ) -> Result<Authorities, LinkCertsError> {
        let name = self.name("ca");
        let found = get(api, &name).await?;
        let Some(secret) = found else {
            let fresh = Authorities::fresh(now)?;
            put(api, secrets::of_authorities(&name, &fresh), "made").await?;
            return Ok(fresh);
        };
        let unusable = |reason| LinkCertsError::Unusable(name.clone(), reason);
        let mut authorities = secrets::authorities(&secret).map_err(unusable)?;
        let held: Vec<_> = leaves.iter().map(Leaf::held).collect();
        if authorities.advance(&held, now)? {
            let next = secrets::of_authorities(&name, &authorities);
            put(api, secrets::over(&secret, next), "exchanged").await?;
        }
        Ok(authorities)
    }

    async fn leaf(&self, api: &Api<Secret>, role: Role) -> Leaf {
        let name = self.name(role.word());
        let found = get(api, &name).await;
        Leaf { role, name, found }
    }

    async fn renew_leaf(
        &self,
        api: &Api<Secret>,
        leaf: Leaf,
        authorities: &Authorities,
        now: u64,
    ) -> Result<(), LinkCertsError> {
        let held = leaf.held();
        let Leaf { role, name, found } = leaf;
        let found = found?;
        match held.map(|held| due(&held, role, authorities, now)) {
            Some(Ok(())) => return Ok(()),
            Some(Err(why)) => tracing::info!(secret = name, %why, "a certificate is made anew"),
            None => {}
        }
        let next = self.issue(authorities, role, now)?;
        let next = secrets::of_identity(&name, next, now);
        match found {
            Some(before) => put(api, secrets::over(&before, next), "renewed").await,
            None => put(api, next, "made").await,
        }
    }

    fn issue(
        &self,
        authorities: &Authorities,
        role: Role,
        now: u64,
    ) -> Result<Identity, LinkCertsError> {
        let unusable = |error: TlsError| {
            LinkCertsError::Unusable(
                self.name("ca"),
                format!("what it signs is no good: {error}"),
            )
        };
        authorities.issue(role, now).map_err(unusable)
    }

    fn name(&self, word: &str) -> String {
        format!("{}-{word}", self.prefix)
    }
}

async fn get(api: &Api<Secret>, name: &str) -> Result<Option<Secret>, LinkCertsError> {
    let got = within(api.get_opt(name)).await;
    got.map_err(|error| LinkCertsError::Api(name.to_owned(), error))
}

/// As [`secret::write`]; what somebody else wrote is looked at again.
async fn put(api: &Api<Secret>, secret: Secret, how: &'static str) -> Result<(), LinkCertsError> {
    let name = secret.metadata.name.clone().unwrap_or_default();
    let written = secret::write(api, &secret).await;
    written.map_err(|error| LinkCertsError::Api(name.clone(), error))?;
    tracing::info!(secret = name, "a Secret of the links is {how}");
    Ok(())
}
