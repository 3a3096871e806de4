//! The sealing key ring: a Secret that edges and workers mount (DESIGN 9b, ADR 0024). It is
//! made here, since a chart that is rendered twice must give the same text, and its keys are
//! rotated.

mod due;
mod history;
mod late;
mod rotation;

use hexagram_core::KeyRing;
use hexagram_runtime::random;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;

use crate::client::{Place, within};
use crate::secret::{secret, write};
pub use due::KeyTimes;
pub(crate) use due::{Heard, Held};
pub(crate) use rotation::Rotation;
pub use rotation::{KeyMetrics, KeySettings};

/// The ring's key in the Secret.
const FILE: &str = "ring.txt";

/// There is no usable key ring.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyRingError {
    /// The API server does not give or take it.
    #[error("the key ring's Secret {0} cannot be had: {1}")]
    Api(String, kube::Error),
    /// It holds something else.
    #[error(
        "Secret {0} holds no usable key ring at {FILE}: {1}; put `hexagram keys ring` there, or \
         delete the Secret for a new one, which ends all sessions"
    )]
    Unusable(String, String),
    /// Another one looks after it.
    #[error(
        "Secret {0} is immutable or belongs to another object: its keys are that one's to rotate; \
         the annotation {ASKED} does nothing there"
    )]
    Foreign(String),
    /// A step is not taken although its time has come.
    #[error("the rotation of the key ring in Secret {0} waits: {1}")]
    Waits(String, String),
}

/// The annotation by which people ask for a rotation; whatever it says.
const ASKED: &str = "hexagram.dev/rotate-keys";
/// The annotation in which the operator keeps since when each key is what it is.
const HISTORY: &str = "hexagram.dev/key-history";

/// Makes the key ring, unless it is there.
pub(crate) async fn ensure(place: &Place, name: &str) -> Result<(), KeyRingError> {
    let api: Api<Secret> = place.api();
    let failed = |error| KeyRingError::Api(name.to_owned(), error);
    if let Some(secret) = within(api.get_opt(name)).await.map_err(failed)? {
        return read(name, &secret).map(drop);
    }
    match write(&api, &fresh(name)).await {
        Ok(_) => {
            tracing::info!(secret = name, "the key ring is made");
            Ok(())
        }
        // Another operator was faster.
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        Err(error) => Err(failed(error)),
    }
}

fn fresh(name: &str) -> Secret {
    let ring = KeyRing::generate(1, random::bytes()).to_text();
    let ring = (FILE.to_owned(), ByteString(ring.into_bytes()));
    secret(name, [ring].into())
}

fn read(name: &str, secret: &Secret) -> Result<KeyRing, KeyRingError> {
    let unusable = |reason: String| KeyRingError::Unusable(name.to_owned(), reason);
    let ring = secret.data.as_ref().and_then(|data| data.get(FILE));
    let ring = ring.ok_or_else(|| unusable("nothing is there".to_owned()))?;
    let text = str::from_utf8(&ring.0).map_err(|error| unusable(error.to_string()))?;
    KeyRing::parse(text).map_err(|error| unusable(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_is_usable() {
        assert!(read("k", &fresh("k")).is_ok());
    }

    #[test]
    fn anything_else_is_told_with_the_cure() {
        let mut secret = fresh("k");
        secret
            .data
            .get_or_insert_default()
            .insert(FILE.to_owned(), ByteString(b"x".to_vec()));
        for secret in [secret, Secret::default()] {
            let error = read("k", &secret).unwrap_err().to_string();
            assert!(
                error.contains("Secret k") && error.contains("hexagram keys ring"),
                "{error}"
            );
        }
    }
}
