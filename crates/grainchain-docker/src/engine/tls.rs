//! TLS to the engine: whom to believe, what to show, and what it means when the two do not agree.

use std::error::Error as StdError;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use grainchain_core::{Effect, Error, ErrorKind, Result};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    self, AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore,
    SignatureScheme,
};

/// The setting that all errors about the files name.
const OPTION: &str = "cert_path";

/// Where the certificates are.
#[derive(Clone, Debug)]
pub(crate) struct Material {
    /// The folder of `ca.pem`, and of `cert.pem` and `key.pem` where the engine asks who we are.
    pub(crate) folder: PathBuf,
    /// Whether the engine has to prove who it is.
    pub(crate) verified: bool,
}

/// TLS to one engine.
#[derive(Clone, Debug)]
pub(crate) struct Tls {
    material: Material,
    name: ServerName<'static>,
    shows_certificate: bool,
    config: Arc<ClientConfig>,
}

impl Tls {
    /// Reads what is needed for TLS to `host`.
    ///
    /// # Errors
    ///
    /// `Config` for files that are missing or hold something else, and for hosts that no certificate could name.
    pub(crate) fn new(host: &str, material: Material) -> Result<Self> {
        let name = ServerName::try_from(host.to_owned()).map_err(|cause| {
            Error::config(format!("`{host}` is no name that a certificate could have"))
                .hint("write the engine's name or address as its certificate does")
                .option("host")
                .caused_by(cause)
        })?;
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|cause| Error::unexpected("TLS cannot be set up").caused_by(cause))?;
        let verifier: Arc<dyn ServerCertVerifier> =
            if material.verified { material.verifier(provider)? } else { Arc::new(Anyone { provider }) };
        // The name says danger because of the other verifier.
        let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
        let identity = material.identity()?;
        let shows_certificate = identity.is_some();
        let config = match identity {
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(|cause| {
                unusable(&material.folder.join("key.pem"), "it is not the key of cert.pem beside it", cause)
            })?,
            None => builder.with_no_client_auth(),
        };
        Ok(Self { material, name, shows_certificate, config: Arc::new(config) })
    }

    /// In words, for those who ask which engine it is.
    pub(crate) fn describe(&self) -> &'static str {
        if self.material.verified { "by TLS" } else { "by TLS that does not verify the engine" }
    }

    /// What an engine may dislike that breaks off without a word.
    pub(crate) fn suspicion(&self) -> &'static str {
        if self.shows_certificate {
            "it may not like the certificate in cert.pem: its log tells"
        } else {
            "it may want a certificate: put cert.pem and key.pem beside ca.pem"
        }
    }

    /// Shakes hands over `stream`.
    pub(crate) async fn connect(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        TlsConnector::from(Arc::clone(&self.config)).connect(self.name.clone(), stream).await
    }

    /// The error for what TLS says about the engine at `place`, if `cause` comes from there.
    pub(crate) fn explain(&self, place: &str, cause: &(dyn StdError + 'static)) -> Option<Error> {
        let said = said_by_tls(cause)?;
        let ca = self.material.folder.join("ca.pem");
        let (kind, message, hint, option) = match said {
            rustls::Error::InvalidCertificate(reason) => {
                let (words, hint) = match reason {
                    CertificateError::UnknownIssuer | CertificateError::BadSignature => (
                        format!("is not signed by {}", ca.display()),
                        "put the certificate of the authority that signed it there, or name another folder \
                         with DOCKER_CERT_PATH or `cert_path` in [providers.docker]",
                    ),
                    CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => (
                        format!("is not for `{}`{}", self.name.to_str(), presented(reason)),
                        "write the host as the certificate does, or make a certificate with this name among \
                         its alternative names",
                    ),
                    CertificateError::Expired | CertificateError::ExpiredContext { .. } => (
                        "has expired".to_owned(),
                        "renew the engine's certificate, or set the clock of this machine",
                    ),
                    CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                        ("is not valid yet".to_owned(), "set the clock of this machine")
                    }
                    other => (
                        format!("cannot be used: {other}"),
                        "make the engine a certificate of its own for TLS servers, signed by that of ca.pem",
                    ),
                };
                let option = if hint.starts_with("write the host") { "host" } else { OPTION };
                (ErrorKind::Auth, format!("is not believed: its certificate {words}"), hint, option)
            }
            rustls::Error::AlertReceived(alert) if is_about_our_certificate(*alert) => {
                let (words, hint) = if self.shows_certificate {
                    (
                        format!(
                            "refuses the certificate {}",
                            self.material.folder.join("cert.pem").display()
                        ),
                        "have one made that is signed by the authority which the engine was started with \
                         (its `--tlscacert`), for TLS clients, and not expired",
                    )
                } else {
                    (
                        "wants a certificate and was shown none".to_owned(),
                        "put cert.pem and key.pem beside ca.pem, or name another folder with \
                         DOCKER_CERT_PATH or `cert_path` in [providers.docker]",
                    )
                };
                (ErrorKind::Auth, words, hint, OPTION)
            }
            rustls::Error::InvalidMessage(_) => (
                ErrorKind::Config,
                "does not speak TLS".to_owned(),
                "name the port that speaks TLS (usually 2376), or unset DOCKER_TLS_VERIFY or `cert_path` \
                 where the network between is trusted",
                "host",
            ),
            other => {
                let error = Error::new(
                    ErrorKind::Connection,
                    format!("the engine at {place} and this program do not agree on TLS: {other}"),
                )
                .hint(format!("use an engine that speaks TLS 1.2 or 1.3; {}", self.suspicion()));
                return Some(error.option("host").effect(Effect::None).caused_by(said.clone()));
            }
        };
        let error = Error::new(kind, format!("the engine at {place} {message}")).hint(hint).option(option);
        Some(error.effect(Effect::None).caused_by(said.clone()))
    }
}

impl Material {
    /// Who believes what `ca.pem` has signed.
    fn verifier(&self, provider: Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>> {
        let path = self.folder.join("ca.pem");
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&path)? {
            roots
                .add(certificate)
                .map_err(|cause| unusable(&path, "it holds a certificate that cannot be read", cause))?;
        }
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(|cause| unusable(&path, "it holds nothing to believe", cause))
    }

    /// What is shown to the engine, if anything: `cert.pem` and its key.
    fn identity(&self) -> Result<Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>> {
        let [chain, key] = ["cert.pem", "key.pem"].map(|name| self.folder.join(name));
        // One without the other is a mistake and no wish to stay unknown.
        if !chain.exists() && !key.exists() {
            return Ok(None);
        }
        let read = certificates(&chain)?;
        let secret = PrivateKeyDer::from_pem_file(&key).map_err(|cause| match cause {
            pem::Error::NoItemsFound => {
                unusable(&key, "it holds no private key, or an encrypted one", pem::Error::NoItemsFound)
            }
            cause => unreadable(&key, cause),
        })?;
        Ok(Some((read, secret)))
    }
}

/// The certificates of a file, of which there is one at least.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).and_then(|certificates| certificates.collect());
    match read {
        Ok(found) if found.is_empty() => {
            Err(unusable(path, "it holds no certificate", pem::Error::NoItemsFound))
        }
        Ok(found) => Ok(found),
        Err(cause) => Err(unreadable(path, cause)),
    }
}

fn unreadable(path: &Path, cause: pem::Error) -> Error {
    match cause {
        pem::Error::Io(cause) if cause.kind() == io::ErrorKind::NotFound => {
            unusable(path, "there is no such file", cause)
        }
        pem::Error::Io(cause) => unusable(path, &cause.to_string(), cause),
        cause => unusable(path, "it is not in the PEM format", cause),
    }
}

fn unusable(path: &Path, reason: &str, cause: impl StdError + Send + Sync + 'static) -> Error {
    Error::config(format!("TLS to the engine cannot use {}: {reason}", path.display()))
        .hint(
            "put ca.pem, cert.pem and key.pem into this folder, or name another one with DOCKER_CERT_PATH or \
             `cert_path` in [providers.docker]",
        )
        .option(OPTION)
        .caused_by(cause)
}

/// What a certificate says whose it is, in words.
fn presented(reason: &CertificateError) -> String {
    match reason {
        CertificateError::NotValidForNameContext { presented, .. } if !presented.is_empty() => {
            format!(" but for {}", presented.join(", "))
        }
        _ => String::new(),
    }
}

/// What an engine says that does not like who we are.
fn is_about_our_certificate(alert: AlertDescription) -> bool {
    use AlertDescription as Alert;
    matches!(
        alert,
        Alert::AccessDenied
            | Alert::BadCertificate
            | Alert::CertificateExpired
            | Alert::CertificateRequired
            | Alert::CertificateRevoked
            | Alert::CertificateUnknown
            | Alert::NoCertificate
            | Alert::UnknownCA
            | Alert::UnsupportedCertificate
    )
}

/// The error of TLS itself, however deep others wrapped it.
fn said_by_tls<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        // Its source is that of what it wraps, which would be passed over.
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(wrapped) => Some(wrapped as &(dyn StdError + 'static)),
            None => error.source(),
        };
    }
    None
}

/// Believes every certificate, as `SkipTLSVerify` of a context asks; signatures still have to be right.
#[derive(Debug)]
struct Anyone {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
