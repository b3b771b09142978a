//! Where a server is, and the connections to it.

use std::{fmt, path::Path, str::FromStr, sync::Arc};

use hyper::{Uri, http};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use percent_encoding::percent_decode_str;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use super::{CertificateError, Config, Credentials, Identity, Secret};

/// The URL of a server, without user and password, which it keeps to itself.
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
pub struct AddressError(pub String);

// === impl Address ===

impl Address {
    /// Who asks, by the URL itself: `http://user:password@host`.
    pub fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }

    /// The path, without a slash at its end.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Of a path below it, which begins with a slash unless it is empty.
    pub(super) fn join(&self, path: &str) -> Result<Uri, http::Error> {
        let path = format!("{}{path}", self.prefix);
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
    // A batch is written as a head and a body, which must not wait for each other's acknowledgement.
    http.set_nodelay(true);
    http.set_connect_timeout(Some(config.timeout));
    let tls = tls(config)?;
    Ok(HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(http))
}

fn tls(config: &Config) -> Result<ClientConfig, CertificateError> {
    let ca_file = config.tls.ca_file.as_ref();
    let error = |reason| CertificateError { file: ca_file.cloned(), reason };
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|reason| error(reason.to_string()))?;
    let builder = match ca_file {
        Some(file) => builder.with_root_certificates(roots(file).map_err(error)?),
        None if config.address.is_https() => {
            builder.with_native_roots().map_err(|reason| error(reason.to_string()))?
        }
        // Nothing is encrypted, and a machine without certificates is fine.
        None => builder.with_root_certificates(RootCertStore::empty()),
    };
    let Some(identity) = &config.tls.identity else { return Ok(builder.with_no_client_auth()) };
    let error = |reason| CertificateError { file: Some(identity.cert_file.clone()), reason };
    let (certificates, key) = shown(identity).map_err(error)?;
    builder.with_client_auth_cert(certificates, key).map_err(|reason| error(reason.to_string()))
}

/// What is shown to the server.
fn shown(identity: &Identity) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), String> {
    let certificates =
        CertificateDer::pem_file_iter(&identity.cert_file).map_err(|error| error.to_string())?;
    let certificates = certificates.collect::<Result<_, _>>().map_err(|error| error.to_string())?;
    let key = PrivateKeyDer::from_pem_file(&identity.key_file)
        .map_err(|error| format!("{}: {error}", identity.key_file.display()))?;
    Ok((certificates, key))
}

fn roots(file: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|error| error.to_string())? {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    if roots.is_empty() { Err("there is no certificate in it".to_owned()) } else { Ok(roots) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_keeps_its_prefix_and_hides_its_password() {
        #[track_caller]
        fn check(url: &str, expected: &str) {
            let address: Address = url.parse().unwrap();
            assert_eq!(address.to_string(), expected);
            assert_eq!(address.join("/query").unwrap().to_string(), format!("{expected}/query"));
        }
        check("http://p:9090", "http://p:9090");
        check("https://a:b%40c@[::1]:9090/x/y/", "https://[::1]:9090/x/y");
        let address: Address = "http://a:b%40c@p".parse().unwrap();
        let expected = Credentials::Basic { username: "a".into(), password: Secret::Text("b@c".into()) };
        assert_eq!(address.credentials(), Some(&expected));
    }
}
