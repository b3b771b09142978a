//! Where a server is, and the connections to it.

use std::{fmt, path::Path, str::FromStr, sync::Arc};

use hyper::{Uri, http};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use percent_encoding::percent_decode_str;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};

use super::{CertificateError, Config, Credentials, Secret};

/// The URL of a server up to `/api/v1`, without user and password, which it keeps to itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Address {
    scheme: http::uri::Scheme,
    authority: String,
    /// Empty, or a path without a slash at its end.
    prefix: String,
    credentials: Option<Credentials>,
}

/// A text that is no address of a server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}; write http://host:port or https://host/prefix")]
pub struct AddressError(String);

// === impl Address ===

impl Address {
    /// Who asks, by the URL itself: `http://user:password@host`.
    pub fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }

    /// Of a path below `/api/v1`.
    pub(super) fn join(&self, path: &str) -> Result<Uri, http::Error> {
        let path = format!("{}/api/v1/{path}", self.prefix);
        let scheme = self.scheme.clone();
        Uri::builder().scheme(scheme).authority(self.authority.as_str()).path_and_query(path).build()
    }

    fn is_https(&self) -> bool {
        self.scheme == http::uri::Scheme::HTTPS
    }
}

impl FromStr for Address {
    type Err = AddressError;

    // The text may hold a password, so that no error repeats it.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let error = |what: String| AddressError(what);
        let uri: Uri = text.parse().map_err(|reason| error(format!("not a URL ({reason})")))?;
        let scheme = uri.scheme().filter(|scheme| matches!(scheme.as_str(), "http" | "https"));
        let scheme = scheme.ok_or_else(|| error("it has no scheme that slod speaks".to_owned()))?.clone();
        if uri.query().is_some() {
            return Err(error("it has a query, which each request has of its own".to_owned()));
        }
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        let (user, authority) = match authority.rsplit_once('@') {
            Some((user, authority)) => (Some(user), authority),
            None => (None, authority),
        };
        let prefix = uri.path().trim_end_matches('/').to_owned();
        if prefix.ends_with("/api/v1") {
            return Err(error("it ends in /api/v1, which slod adds itself".to_owned()));
        }
        Ok(Self { scheme, authority: authority.to_owned(), prefix, credentials: user.map(basic) })
    }
}

fn basic(user: &str) -> Credentials {
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let (username, password) = user.split_once(':').unwrap_or((user, ""));
    Credentials::Basic { username: decoded(username), password: Secret::Text(decoded(password)) }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, authority, prefix, .. } = self;
        write!(f, "{scheme}://{authority}{prefix}")
    }
}

// --- connections ---

pub(super) fn connector(config: &Config) -> Result<HttpsConnector<HttpConnector>, CertificateError> {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_connect_timeout(Some(config.timeout));
    let tls = tls(config).map_err(|reason| CertificateError { file: config.ca_file.clone(), reason })?;
    Ok(HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(http))
}

fn tls(config: &Config) -> Result<ClientConfig, String> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = match &config.ca_file {
        Some(file) => builder.with_root_certificates(roots(file)?),
        None if config.address.is_https() => {
            builder.with_native_roots().map_err(|error| error.to_string())?
        }
        // Nothing is encrypted, and a machine without certificates is fine.
        None => builder.with_root_certificates(RootCertStore::empty()),
    };
    Ok(builder.with_no_client_auth())
}

fn roots(file: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|error| error.to_string())? {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    if roots.is_empty() { Err("there is no certificate in it".to_owned()) } else { Ok(roots) }
}
