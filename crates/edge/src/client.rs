//! What the edge knows of a connection, and whom it takes the client to be.

use std::net::IpAddr;
use std::sync::Arc;

use hexagram_core::{ClientId, Principal, PrincipalKind, SessionClaims};
use http::{HeaderName, Request};
use ipnet::IpNet;
use parking_lot::Mutex;

use crate::age::Age;

/// The client's connection, in every request's extensions.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) peer: IpAddr,
    /// Counts up from zero; spreads a principal's modern requests.
    pub(crate) serial: u64,
    /// Random; tells anonymous clients apart.
    pub(crate) nonce: u128,
    pub(crate) age: Arc<Age>,
    // A connection mostly carries one session; opening its sealed id once
    // saves a sixth of the edge's instructions per message.
    opened: Mutex<Option<Opened>>,
}

/// A sealed id and what it says.
#[derive(Debug)]
struct Opened {
    token: Box<[u8]>,
    /// That it was opened with.
    ring: u64,
    claims: Arc<SessionClaims>,
}

impl Connection {
    pub(crate) fn new(peer: IpAddr, serial: u64, nonce: u128, age: Age) -> Self {
        Self {
            peer,
            serial,
            nonce,
            age: Arc::new(age),
            opened: Mutex::default(),
        }
    }

    /// What a sealed id says, opened with `open` unless it is the last one
    /// opened on this connection, with the same `ring`.
    pub(crate) fn session(
        &self,
        token: &[u8],
        ring: u64,
        open: impl FnOnce() -> Option<SessionClaims>,
    ) -> Option<Arc<SessionClaims>> {
        let mut opened = self.opened.lock();
        if let Some(last) = &*opened
            && *last.token == *token
            && last.ring == ring
        {
            return Some(Arc::clone(&last.claims));
        }
        let claims = Arc::new(open()?);
        *opened = Some(Opened {
            token: token.into(),
            ring,
            claims: Arc::clone(&claims),
        });
        Some(claims)
    }
}

/// The connection a request came on.
///
/// # Panics
/// When the request did not pass the listener's layer, which every request does.
pub(crate) fn connection<B>(request: &Request<B>) -> &Arc<Connection> {
    request
        .extensions()
        .get()
        .expect("the listener names every request's connection")
}

/// Address ranges of proxies whose headers are believed.
#[derive(Debug, Clone)]
pub(crate) struct Proxies(Arc<[IpNet]>);

impl Proxies {
    pub(crate) fn new(ranges: &[IpNet]) -> Self {
        Self(ranges.into())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|range| range.contains(&address))
    }

    /// The client's own address: the last one in X-Forwarded-For that is not
    /// a proxy of ours, when the peer is one.
    fn client_address(&self, peer: IpAddr, headers: &http::HeaderMap) -> IpAddr {
        if !self.contains(peer) {
            return peer;
        }
        headers
            .get_all("x-forwarded-for")
            .iter()
            .rev()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.rsplit(','))
            .map_while(|hop| hop.trim().parse::<IpAddr>().ok())
            .find(|hop| !self.contains(*hop))
            .unwrap_or(peer)
    }
}

/// The ClientId of a modern request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Modern {
    /// Further requests may come under it.
    Lasting(ClientId),
    /// Made for this request alone: nothing is to be kept for it.
    Once(ClientId),
}

/// Derives ClientId and quota key (DESIGN 4).
#[derive(Debug)]
pub(crate) struct Identifier {
    proxies: Proxies,
    header: Option<HeaderName>,
    spread: u16,
}

impl Identifier {
    pub(crate) fn new(proxies: Proxies, header: Option<HeaderName>, spread: u16) -> Self {
        Self {
            proxies,
            header,
            spread,
        }
    }

    /// The ClientId that a configured header names, if a trusted proxy sent it.
    pub(crate) fn named(
        &self,
        principal: &Principal,
        connection: &Connection,
        headers: &http::HeaderMap,
    ) -> Option<ClientId> {
        let value = headers.get(self.header.as_ref()?)?;
        self.proxies
            .contains(connection.peer)
            .then(|| ClientId::named(principal.id(), value.as_bytes()))
    }

    /// The ClientId of a modern request, which carries no session.
    ///
    /// `nonce` is fresh randomness: behind a proxy one connection carries many
    /// anonymous clients, and they must not be taken for one.
    pub(crate) fn modern(
        &self,
        principal: &Principal,
        connection: &Connection,
        headers: &http::HeaderMap,
        nonce: impl FnOnce() -> u128,
    ) -> Modern {
        if let Some(named) = self.named(principal, connection, headers) {
            return Modern::Lasting(named);
        }
        if principal.kind() != PrincipalKind::Anonymous {
            let slot = connection.serial % u64::from(self.spread);
            return Modern::Lasting(ClientId::for_slot(principal.id(), slot as u16));
        }
        if self.proxies.contains(connection.peer) {
            return Modern::Once(ClientId::random(nonce()));
        }
        Modern::Lasting(ClientId::random(connection.nonce))
    }

    /// Whom rate limits count: the principal, else the client's address.
    pub(crate) fn quota(
        &self,
        principal: &Principal,
        connection: &Connection,
        headers: &http::HeaderMap,
    ) -> u128 {
        if principal.kind() != PrincipalKind::Anonymous {
            return principal.id().as_u128();
        }
        match self
            .proxies
            .client_address(connection.peer, headers)
            .to_canonical()
        {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
            // One subscriber holds a whole /64.
            IpAddr::V6(v6) => v6.to_bits() >> 64 << 64,
        }
    }
}

/// The principal that authentication left in the request's extensions.
pub(crate) fn principal<B>(request: &Request<B>) -> Principal {
    request
        .extensions()
        .get::<Principal>()
        .cloned()
        .unwrap_or_else(Principal::anonymous)
}

#[cfg(test)]
mod tests {
    use hexagram_core::{Capabilities, Epoch, ProtocolVersion, Serial, SessionKey};
    use http::{HeaderMap, HeaderValue};

    use super::*;

    fn connection(peer: &str) -> Connection {
        Connection::new(peer.parse().expect("an address"), 17, 5, Age::new(None))
    }

    fn claims() -> SessionClaims {
        SessionClaims {
            client: ClientId::random(1),
            principal: Principal::anonymous().id(),
            key: SessionKey {
                epoch: Epoch::FIRST,
                serial: Serial::new(1),
            },
            created: 0,
            version: ProtocolVersion::V2025_11_25,
            capabilities: Capabilities::ROOTS,
            client_name: String::new(),
            client_version: String::new(),
            has_record: false,
        }
    }

    fn identifier() -> Identifier {
        let proxies = Proxies::new(&["10.0.0.0/8".parse().expect("a range")]);
        Identifier::new(proxies, Some(HeaderName::from_static("x-client")), 16)
    }

    fn headers(name: &'static str, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        )])
    }

    #[test]
    fn the_header_is_believed_from_proxies_only() {
        let (anonymous, named) = (Principal::anonymous(), headers("x-client", "c1"));
        let id = identifier();
        assert!(
            id.named(&anonymous, &connection("10.1.1.1"), &named)
                .is_some()
        );
        assert!(
            id.named(&anonymous, &connection("192.0.2.1"), &named)
                .is_none()
        );
    }

    #[test]
    fn a_session_is_opened_once_with_each_ring() {
        let connection = connection("192.0.2.1");
        let opens = || Some(claims());
        let opened = connection.session(b"a", 0, opens);
        let kept = connection.session(b"a", 0, || unreachable!("it was opened before"));
        assert_eq!(opened, kept);
        let dropped = connection.session(b"a", 1, || None);
        assert_eq!(dropped, None);
        assert_eq!(connection.session(b"b", 0, || None), None);
    }

    #[test]
    fn a_principal_keeps_its_slot_and_strangers_are_apart() {
        let id = identifier();
        let none = HeaderMap::new();
        let alice = Principal::new(PrincipalKind::ApiKey, "alice");
        let slot = id.modern(&alice, &connection("192.0.2.1"), &none, || 1);
        assert_eq!(slot, Modern::Lasting(ClientId::for_slot(alice.id(), 1)));
        let nobody = Principal::anonymous();
        let direct = id.modern(&nobody, &connection("192.0.2.1"), &none, || 1);
        assert_eq!(direct, Modern::Lasting(ClientId::random(5)));
        let proxied = id.modern(&nobody, &connection("10.0.0.1"), &none, || 1);
        assert_eq!(proxied, Modern::Once(ClientId::random(1)));
    }

    #[test]
    fn the_quota_counts_the_client_behind_the_proxies() {
        let id = identifier();
        let nobody = Principal::anonymous();
        let direct = id.quota(&nobody, &connection("192.0.2.7"), &HeaderMap::new());
        let forwarded = headers("x-forwarded-for", "198.51.100.1, 192.0.2.7, 10.0.0.9");
        assert_eq!(
            id.quota(&nobody, &connection("10.0.0.1"), &forwarded),
            direct
        );
        let forged = headers("x-forwarded-for", "198.51.100.1");
        assert_eq!(id.quota(&nobody, &connection("192.0.2.7"), &forged), direct);
    }
}
