//! Secrets as the operator makes them.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, ResourceExt};

use crate::client::within;

/// One called `name` with this in it.
pub(crate) fn secret(name: &str, data: BTreeMap<String, ByteString>) -> Secret {
    Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        },
        data: Some(data),
        ..Secret::default()
    }
}

/// Writes it over what it was read from, unless somebody else has since; one that was not
/// read is made, unless somebody else has. The Secret as it stands then.
pub(crate) async fn write(api: &Api<Secret>, secret: &Secret) -> Result<Secret, kube::Error> {
    let (name, options) = (secret.name_any(), PostParams::default());
    match secret.metadata.resource_version {
        Some(_) => within(api.replace(&name, &options, secret)).await,
        None => within(api.create(&options, secret)).await,
    }
}
