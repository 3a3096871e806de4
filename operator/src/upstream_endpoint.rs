//! Where an `Upstream` object says that its server is: a URL, or a Service.

use kube::ResourceExt;

use crate::upstream::{Scheme, ServiceRef, Upstream};

/// Where a server is found that says nothing else.
const PATH: &str = "/mcp";

const BOTH: &str = "`url` and `service` both say where it is: take one of them out";
const NEITHER: &str = "neither `url` nor `service` says where it is";

/// The URL at which workers ask it.
///
/// # Errors
/// Why there is none, for people: the API server did not check the object.
pub(crate) fn endpoint(object: &Upstream) -> Result<String, String> {
    match (&object.spec.url, &object.spec.service) {
        (Some(url), None) => Ok(url.clone()),
        (None, Some(service)) => Ok(service_url(object, service)),
        (Some(_), Some(_)) => Err(BOTH.to_owned()),
        (None, None) => Err(NEITHER.to_owned()),
    }
}

/// The Service that it names, as people are told of it.
pub(crate) fn service_named(object: &Upstream) -> Option<String> {
    let service = object.spec.service.as_ref()?;
    let namespace = namespace(object, service);
    Some(format!(
        "Service {} in {namespace}, port {}",
        service.name, service.port
    ))
}

fn service_url(object: &Upstream, service: &ServiceRef) -> String {
    let scheme = match service.scheme {
        None | Some(Scheme::Http) => "http",
        Some(Scheme::Https) => "https",
    };
    let (name, port) = (&service.name, service.port);
    let namespace = namespace(object, service);
    let path = service.path.as_deref().unwrap_or(PATH);
    format!("{scheme}://{name}.{namespace}.svc:{port}{path}")
}

/// Every object of the API server's has a namespace.
fn namespace(object: &Upstream, service: &ServiceRef) -> String {
    let own = || object.namespace();
    let namespace = service.namespace.clone().or_else(own);
    namespace.unwrap_or_else(|| "default".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::UpstreamSpec;

    fn object(url: Option<&str>, service: Option<ServiceRef>) -> Upstream {
        let spec = UpstreamSpec {
            url: url.map(str::to_owned),
            service,
            ..UpstreamSpec::default()
        };
        let mut object = Upstream::new("docs", spec);
        object.metadata.namespace = Some("mcp".to_owned());
        object
    }

    fn service() -> ServiceRef {
        ServiceRef {
            name: "docs".to_owned(),
            namespace: None,
            port: 3001,
            path: None,
            scheme: None,
        }
    }

    #[test]
    fn a_service_is_a_url_of_its_namespace() {
        let near = object(None, Some(service()));
        assert_eq!(endpoint(&near).unwrap(), "http://docs.mcp.svc:3001/mcp");
        let named = service_named(&near);
        assert_eq!(named.as_deref(), Some("Service docs in mcp, port 3001"));
        let far = ServiceRef {
            namespace: Some("tools".to_owned()),
            path: Some("/v2/mcp?x=1".to_owned()),
            scheme: Some(Scheme::Https),
            ..service()
        };
        let far = object(None, Some(far));
        let expected = "https://docs.tools.svc:3001/v2/mcp?x=1";
        assert_eq!(endpoint(&far).unwrap(), expected);
        let named = service_named(&far);
        assert_eq!(named.as_deref(), Some("Service docs in tools, port 3001"));
    }

    #[test]
    fn one_thing_says_where_it_is() {
        let url = object(Some("http://x/mcp"), None);
        assert_eq!(endpoint(&url).unwrap(), "http://x/mcp");
        assert_eq!(service_named(&url), None);
        let both = object(Some("http://x/mcp"), Some(service()));
        assert_eq!(endpoint(&both).unwrap_err(), BOTH);
        assert_eq!(endpoint(&object(None, None)).unwrap_err(), NEITHER);
    }
}
