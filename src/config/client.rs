//! How another server is talked to, in Prometheus' own words: who asks, headers, certificates.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail, ensure};
use hyper::header::{HeaderName, HeaderValue};
use serde::Deserialize;

use crate::client::{Credentials, Identity, Secret, Tls};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawBasicAuth {
    username: String,
    password: Option<String>,
    password_file: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAuthorization {
    r#type: Option<String>,
    credentials: Option<String>,
    credentials_file: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawTls {
    ca_file: Option<PathBuf>,
    cert_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
}

/// Who asks, which must be said in one way at most; `in_url` is whether the URL says it.
pub(super) fn credentials(
    in_url: bool,
    basic_auth: Option<&RawBasicAuth>,
    authorization: Option<&RawAuthorization>,
    base: &Path,
) -> anyhow::Result<Option<Credentials>> {
    ensure!(
        u8::from(in_url) + u8::from(basic_auth.is_some()) + u8::from(authorization.is_some()) <= 1,
        "it says in several ways who asks; keep one of basic_auth, authorization and user:password in url"
    );
    if let Some(RawBasicAuth { username, password, password_file }) = basic_auth {
        let password = secret("basic_auth.password", password, password_file, base)?;
        return Ok(Some(Credentials::Basic { username: username.clone(), password }));
    }
    let Some(RawAuthorization { r#type, credentials, credentials_file }) = authorization else {
        return Ok(None);
    };
    let scheme = r#type.clone().unwrap_or_else(|| "Bearer".to_owned());
    ensure!(!scheme.eq_ignore_ascii_case("basic"), "authorization.type is Basic; use basic_auth");
    let token = secret("authorization.credentials", credentials, credentials_file, base)?;
    Ok(Some(Credentials::Token { scheme, token }))
}

/// A secret that is given itself or by a file, but not both.
pub(super) fn secret(
    name: &str,
    text: &Option<String>,
    file: &Option<PathBuf>,
    base: &Path,
) -> anyhow::Result<Secret> {
    match (text, file) {
        (Some(text), None) => Ok(Secret::Text(text.clone())),
        (None, Some(file)) => Ok(Secret::File(base.join(file))),
        (Some(_), Some(_)) => bail!("{name} and {name}_file are both there; keep one"),
        (None, None) => bail!("{name} is missing, and {name}_file, too"),
    }
}

/// Headers sent with every request.
pub(super) fn headers(raw: &BTreeMap<String, String>) -> anyhow::Result<Vec<(HeaderName, HeaderValue)>> {
    raw.iter().map(header).collect()
}

fn header((name, value): (&String, &String)) -> anyhow::Result<(HeaderName, HeaderValue)> {
    let parsed =
        HeaderName::try_from(name).with_context(|| format!("headers has {name:?}, which is no name"))?;
    ensure!(
        !["authorization", "host", "content-type", "content-length"].contains(&parsed.as_str()),
        "headers has {name:?}, which slod sets itself{}",
        if parsed == "authorization" { "; use authorization or basic_auth" } else { "" }
    );
    let mut value =
        HeaderValue::try_from(value).with_context(|| format!("headers.{name} is no text for a header"))?;
    // It may be a key.
    value.set_sensitive(true);
    Ok((parsed, value))
}

// === impl RawTls ===

impl RawTls {
    pub(super) fn validate(&self, base: &Path) -> anyhow::Result<Tls> {
        let identity = match (&self.cert_file, &self.key_file) {
            (Some(cert), Some(key)) => {
                Some(Identity { cert_file: base.join(cert), key_file: base.join(key) })
            }
            (None, None) => None,
            _ => bail!("tls_config has one of cert_file and key_file; give both or none"),
        };
        Ok(Tls { ca_file: self.ca_file.as_ref().map(|file| base.join(file)), identity })
    }
}
