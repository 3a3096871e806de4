//! Who is calling: each kind of authentication ends in one [`Principal`].

mod api_keys;
mod trusted_header;

use std::sync::Arc;

use hexagram_core::Principal;
use hexagram_mcp::error::Problem;
use hexagram_runtime::watched::WatchedFile;
use http::Request;

pub use api_keys::digest as api_key_digest;

use crate::EdgeError;
use crate::args::{AuthKind, EdgeArgs};
use crate::check::Check;
use crate::client::Proxies;
use api_keys::ApiKeys;
use trusted_header::TrustedHeader;

/// Puts the [`Principal`] of every request into its extensions.
pub(crate) enum Authenticator {
    None(Principal),
    ApiKeys(Arc<ApiKeys>, WatchedFile),
    TrustedHeader(TrustedHeader),
}

impl Authenticator {
    pub(crate) fn new(args: &EdgeArgs, proxies: &Proxies) -> Result<Self, EdgeError> {
        match args.auth {
            // A forgotten --auth must not leave the door open.
            AuthKind::None | AuthKind::TrustedHeader if args.auth_keys.is_some() => {
                Err(EdgeError::Settings(
                    "--auth-keys is given but not used: add --auth api-keys".to_owned(),
                ))
            }
            AuthKind::None => Ok(Self::None(Principal::anonymous())),
            AuthKind::ApiKeys => {
                let file = args.auth_keys.as_ref().ok_or_else(|| {
                    EdgeError::Settings("--auth api-keys needs --auth-keys FILE".to_owned())
                })?;
                let (keys, watched) = ApiKeys::load(file)?;
                Ok(Self::ApiKeys(Arc::new(keys), watched))
            }
            AuthKind::TrustedHeader => {
                TrustedHeader::new(&args.auth_header, proxies).map(Self::TrustedHeader)
            }
        }
    }

    /// Follows changes of the file of keys, if there is one, as long as this is
    /// in use.
    pub(crate) fn follow(&self) {
        if let Self::ApiKeys(keys, watched) = self {
            api_keys::watch(keys, watched.clone());
        }
    }
}

impl Check for Authenticator {
    fn check<B>(&self, request: &mut Request<B>) -> Result<(), Problem> {
        let principal = match self {
            Self::None(anonymous) => anonymous.clone(),
            Self::ApiKeys(keys, _) => keys.principal(request.headers())?,
            Self::TrustedHeader(header) => header.principal(request)?,
        };
        request.extensions_mut().insert(principal);
        Ok(())
    }
}
