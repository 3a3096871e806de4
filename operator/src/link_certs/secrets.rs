//! CAs and certificates as Secrets, and back.

use std::collections::BTreeMap;

use hexagram_tls::{Authority, CA_FILE, CERTIFICATE_FILE, Identity, KEY_FILE};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;

use super::due::{Authorities, Held};

/// The CA that will sign.
const NEXT: [&str; 2] = ["next.crt", "next.key"];
/// Those that signed before.
const FORMER: &str = "former.crt";
/// Annotation of what a role holds: when it was written, in seconds from 1970.
const WRITTEN: &str = "hexagram.dev/written-at";
/// Ends a certificate in a PEM text.
const END: &str = "-----END CERTIFICATE-----";

type Entries<'a> = Vec<(&'a str, String)>;

pub(super) fn of_authorities(name: &str, authorities: &Authorities) -> Secret {
    let Authorities {
        signer,
        next,
        former,
    } = authorities;
    let mut entries = pair([CERTIFICATE_FILE, KEY_FILE], signer);
    entries.extend(next.iter().flat_map(|next| pair(NEXT, next)));
    if !former.is_empty() {
        entries.push((FORMER, former.concat()));
    }
    secret(name, "Opaque", entries)
}

fn pair(names: [&'static str; 2], authority: &Authority) -> Entries<'static> {
    let [certificate, key] = names;
    vec![
        (certificate, authority.certificate().to_owned()),
        (key, authority.key().to_owned()),
    ]
}

/// The CAs in a Secret, or what is wrong with it.
pub(super) fn authorities(secret: &Secret) -> Result<Authorities, String> {
    let signer = authority(secret, [CERTIFICATE_FILE, KEY_FILE])?;
    let former = text(secret, FORMER).unwrap_or_default();
    Ok(Authorities {
        signer: signer.ok_or_else(|| format!("there is no {CERTIFICATE_FILE} and {KEY_FILE}"))?,
        next: authority(secret, NEXT)?,
        former: certificates(&former),
    })
}

fn authority(secret: &Secret, names: [&str; 2]) -> Result<Option<Authority>, String> {
    let [certificate, key] = names.map(|name| text(secret, name));
    let Some((certificate, key)) = certificate.zip(key) else {
        return Ok(None);
    };
    let read = Authority::from_pem(certificate, key);
    read.map(Some)
        .map_err(|error| format!("{}: {error}", names[0]))
}

fn certificates(pem: &str) -> Vec<String> {
    let all = pem.split_inclusive(END).map(str::trim);
    all.filter(|one| one.ends_with(END))
        .map(|one| format!("{one}\n"))
        .collect()
}

pub(super) fn of_identity(name: &str, identity: Identity, now: u64) -> Secret {
    let entries = vec![
        (CA_FILE, identity.ca),
        (CERTIFICATE_FILE, identity.certificate),
        (KEY_FILE, identity.key),
    ];
    let mut secret = secret(name, "kubernetes.io/tls", entries);
    let annotations = secret.metadata.annotations.get_or_insert_default();
    annotations.insert(WRITTEN.to_owned(), now.to_string());
    secret
}

/// What a role holds; none where something is missing.
pub(super) fn held(secret: &Secret) -> Option<Held> {
    let identity = Identity {
        ca: text(secret, CA_FILE)?,
        certificate: text(secret, CERTIFICATE_FILE)?,
        key: text(secret, KEY_FILE)?,
    };
    let written = secret.metadata.annotations.as_ref();
    let written = written.and_then(|all| all.get(WRITTEN)?.parse().ok());
    Some(Held { identity, written })
}

/// `next` in the place of `before`, as it was read: its labels and owners stay, and its
/// type, which no write may change.
pub(super) fn over(before: &Secret, next: Secret) -> Secret {
    let mut metadata = before.metadata.clone();
    if let Some(annotations) = next.metadata.annotations {
        let all = metadata.annotations.get_or_insert_default();
        all.extend(annotations);
    }
    Secret {
        metadata,
        type_: before.type_.clone().or(next.type_),
        ..next
    }
}

fn secret(name: &str, kind: &str, entries: Entries<'_>) -> Secret {
    let data: BTreeMap<_, _> = entries
        .into_iter()
        .map(|(name, text)| (name.to_owned(), ByteString(text.into_bytes())))
        .collect();
    Secret {
        type_: Some(kind.to_owned()),
        ..crate::secret::secret(name, data)
    }
}

fn text(secret: &Secret, name: &str) -> Option<String> {
    let bytes = secret.data.as_ref()?.get(name)?;
    String::from_utf8(bytes.0.clone()).ok()
}

#[cfg(test)]
mod tests {
    use hexagram_tls::Role;

    use super::*;

    const NOW: u64 = 1_800_000_000;

    #[test]
    fn cas_come_back_as_they_were() {
        let mut cas = Authorities::fresh(NOW).unwrap();
        cas.next = Authorities::fresh(NOW).ok().map(|fresh| fresh.signer);
        for _ in 0..2 {
            let other = Authorities::fresh(NOW).unwrap();
            cas.former.push(other.signer.certificate().to_owned());
        }
        let read = authorities(&of_authorities("x-ca", &cas)).unwrap();
        assert_eq!(read.trusted(), cas.trusted());
        assert_eq!(read.signer.key(), cas.signer.key());
        assert_eq!(read.next.unwrap().key(), cas.next.unwrap().key());
    }

    #[test]
    fn an_identity_comes_back_as_it_was() {
        let made = Authorities::fresh(NOW).unwrap().issue(Role::Edge, NOW);
        let made = made.unwrap();
        let mut secret = of_identity("x-edge", made.clone(), NOW);
        let mut expected = Held {
            identity: made,
            written: Some(NOW),
        };
        assert_eq!(held(&secret).as_ref(), Some(&expected));
        secret.metadata.annotations = Some([(WRITTEN.to_owned(), "soon".to_owned())].into());
        expected.written = None;
        assert_eq!(held(&secret), Some(expected));
        assert_eq!(held(&Secret::default()), None);
    }

    #[test]
    fn what_is_no_ca_is_told_without_its_key() {
        let entries = vec![
            (CERTIFICATE_FILE, "x".to_owned()),
            (KEY_FILE, "hush".to_owned()),
        ];
        for bad in [secret("s", "Opaque", entries), Secret::default()] {
            let error = authorities(&bad).unwrap_err();
            assert!(
                error.contains(CERTIFICATE_FILE) && !error.contains("hush"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_secret_keeps_what_others_put_on_it() {
        let mut before = secret("s", "Opaque", Vec::new());
        before.metadata.resource_version = Some("7".to_owned());
        let notes = [("theirs", "x"), (WRITTEN, "1")];
        let notes = notes.map(|(name, text)| (name.to_owned(), text.to_owned()));
        before.metadata.annotations = Some(notes.into());
        let made = Authorities::fresh(NOW).unwrap().issue(Role::Edge, NOW);
        let next = over(&before, of_identity("s", made.unwrap(), NOW));
        assert_eq!(next.metadata.resource_version.as_deref(), Some("7"));
        assert_eq!(next.metadata.annotations.as_ref().unwrap()["theirs"], "x");
        assert_eq!(held(&next).unwrap().written, Some(NOW));
    }
}
