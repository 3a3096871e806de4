//! A principal named by a proxy that has authenticated the user already.

use hexagram_core::{Principal, PrincipalKind};
use hexagram_mcp::error::Problem;
use http::{HeaderName, Request};

use crate::EdgeError;
use crate::client::{Proxies, connection};

/// Believes a header, but only from configured proxies.
pub(crate) struct TrustedHeader {
    name: HeaderName,
    proxies: Proxies,
}

impl TrustedHeader {
    pub(crate) fn new(name: &str, proxies: &Proxies) -> Result<Self, EdgeError> {
        if proxies.is_empty() {
            return Err(EdgeError::Settings(
                "--auth trusted-header needs --trusted-proxies: anyone could send the header"
                    .to_owned(),
            ));
        }
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| {
            EdgeError::Settings(format!("--auth-header {name:?} is not a header name"))
        })?;
        Ok(Self {
            name,
            proxies: proxies.clone(),
        })
    }

    pub(crate) fn principal<B>(&self, request: &Request<B>) -> Result<Principal, Problem> {
        let mut values = request.headers().get_all(&self.name).iter();
        let value = values.next().and_then(|value| value.to_str().ok());
        match (value.map(str::trim), values.next()) {
            // Two values would let a client smuggle its own past the proxy's.
            (Some(user), None)
                if !user.is_empty() && self.proxies.contains(connection(request).peer) =>
            {
                Ok(Principal::new(PrincipalKind::TrustedHeader, user))
            }
            _ => Err(Problem::Unauthorized),
        }
    }
}
