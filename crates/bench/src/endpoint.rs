//! Where a server is, and the headers that every request to it has.

use anyhow::{Context, Error};
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HOST};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use http_body_util::Full;

/// The endpoint of a server.
#[derive(Debug)]
pub(crate) struct Endpoint {
    url: String,
    host: String,
    port: u16,
    path: PathAndQuery,
    authority: HeaderValue,
    extra: Vec<(HeaderName, HeaderValue)>,
}

impl Endpoint {
    /// The endpoint at `url`, which is sent `extra` headers with each request.
    pub(crate) fn new(url: &str, extra: &[(HeaderName, HeaderValue)]) -> anyhow::Result<Self> {
        let uri = check_url(url).map_err(Error::msg)?;
        let authority = uri.authority().context("the URL names no host")?;
        Ok(Self {
            url: url.to_owned(),
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            port: authority.port_u16().unwrap_or(80),
            authority: authority.as_str().parse()?,
            path: uri.into_parts().path_and_query.context("bad URL path")?,
            extra: extra.to_vec(),
        })
    }

    /// The URL as given.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn address(&self) -> (&str, u16) {
        (&self.host, self.port)
    }

    pub(crate) fn uri(&self) -> Uri {
        Uri::from(self.path.clone())
    }

    /// All headers of a message that has `own` ones. What the user gave wins.
    pub(crate) fn headers(&self, own: &HeaderMap) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(
            ACCEPT,
            HeaderValue::from_static("application/json, text/event-stream"),
        );
        headers.insert(HOST, self.authority.clone());
        headers.extend(own.clone());
        for (name, _) in &self.extra {
            headers.remove(name);
        }
        // One given twice is sent twice.
        headers.extend(self.extra.iter().cloned());
        headers
    }

    /// A request with these headers and no others.
    pub(crate) fn request(
        &self,
        method: Method,
        headers: HeaderMap,
        body: Bytes,
    ) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = self.uri();
        *request.headers_mut() = headers;
        request
    }
}

/// The URL of a server that can be measured.
///
/// # Errors
/// What to write instead.
pub(crate) fn check_url(url: &str) -> Result<Uri, String> {
    let uri = url.parse::<Uri>().ok();
    uri.filter(|uri| uri.scheme_str() == Some("http") && uri.authority().is_some())
        .ok_or_else(|| "bench speaks plain HTTP: write http://host:port/path".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let endpoint = Endpoint::new("http://[::1]:81/mcp?x=1", &[]).expect("a URL");
        assert_eq!(endpoint.address(), ("::1", 81));
        assert_eq!(endpoint.uri().to_string(), "/mcp?x=1");
        assert_eq!(endpoint.headers(&HeaderMap::new())["host"], "[::1]:81");
        for bad in ["https://x/mcp", "x:80/mcp", "/mcp", ""] {
            assert!(Endpoint::new(bad, &[]).is_err(), "{bad}");
        }
    }

    #[test]
    fn headers_of_the_user_win() {
        let value = HeaderValue::from_static;
        let extra = [
            (HOST, value("mcp.test")),
            (ACCEPT, value("a/b")),
            (ACCEPT, value("c/d")),
        ];
        let endpoint = Endpoint::new("http://x/", &extra).expect("a URL");
        let own = HeaderMap::from_iter([(ACCEPT, value("text/plain"))]);
        let headers = endpoint.headers(&own);
        let all = |name| headers.get_all(name).iter().collect::<Vec<_>>();
        assert_eq!(all(HOST), ["mcp.test"]);
        assert_eq!(all(ACCEPT), ["a/b", "c/d"]);
    }
}
