//! TLS around WebSockets (`wss`): the certificate of listeners, and the roots by which those of others are checked.
//!
//! TLS 1.2 and 1.3 by rustls, with the cryptography of ring. It is an outer coat, which lets pages on https dial and hides
//! from onlookers what is spoken: who the peer is says the Noise handshake inside, whoever issued the certificate.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustls::client::verify_server_name;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio::time::{MissedTickBehavior, interval};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use unamed_protocol::Host;

use crate::state::read_bounded;
use crate::stream::Stream;

/// Longest file of certificates or a key, bytes. All roots of a usual system have a quarter of it.
const FILE_BYTES_MAX: usize = 1024 * 1024;
/// How often the files of a certificate are looked at.
const LOOK_PERIOD: Duration = Duration::from_secs(2);
/// What is spoken inside of TLS (RFC 7301): a proxy in between must not choose HTTP/2.
const ALPN: &[u8] = b"http/1.1";

/// Why a certificate, its key or roots cannot be used.
#[derive(Debug)]
pub struct TlsError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: TlsProblem,
}

/// What is wrong with a file of certificates or a key.
#[derive(Debug)]
pub enum TlsProblem {
    /// It cannot be read, is no regular file, or has more than 1 MiB.
    Io(io::Error),
    /// It is no PEM (RFC 7468), in these words.
    Pem(String),
    /// It has no `CERTIFICATE`.
    NoCertificate,
    /// It has no private key: PKCS #8, PKCS #1 or SEC 1, not encrypted.
    NoKey,
    /// The key belongs to another certificate.
    Mismatch,
    /// What it has is no usable key or certificate, in these words.
    Unusable(String),
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.path.display())?;
        match &self.problem {
            TlsProblem::Io(error) => error.fmt(f),
            TlsProblem::Pem(error) => write!(f, "this is no PEM: {error}"),
            TlsProblem::NoCertificate => f.write_str("there is no certificate in it"),
            TlsProblem::NoKey => f.write_str("there is no private key in it that is not encrypted"),
            TlsProblem::Mismatch => f.write_str("the key belongs to another certificate"),
            TlsProblem::Unusable(error) => f.write_str(error),
        }
    }
}

impl std::error::Error for TlsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.problem {
            TlsProblem::Io(error) => Some(error),
            TlsProblem::Pem(_)
            | TlsProblem::NoCertificate
            | TlsProblem::NoKey
            | TlsProblem::Mismatch
            | TlsProblem::Unusable(_) => None,
        }
    }
}

/// The certificate chain of a listener and its private key, from two PEM files.
///
/// They are read again when they change, and when [`reload`](Self::reload) says so: new connections get the new certificate,
/// those that stand go on. Clones mean the same certificate.
#[derive(Clone, Debug)]
pub struct TlsCertificate(Arc<Files>);

#[derive(Debug)]
struct Files {
    chain: PathBuf,
    key: PathBuf,
    provider: Arc<CryptoProvider>,
    current: RwLock<Arc<CertifiedKey>>,
    /// How the files looked when they were read last, well or not.
    seen: Mutex<Stamp>,
}

/// How two files look from outside.
type Stamp = [Option<(u64, Option<SystemTime>)>; 2];

impl TlsCertificate {
    /// Reads a certificate chain, that of the listener first, and its private key.
    ///
    /// # Errors
    /// See [`TlsProblem`].
    pub fn open(chain: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Result<Self, TlsError> {
        let (chain, key, provider) = (chain.into(), key.into(), Arc::new(default_provider()));
        let seen = stamp(&chain, &key);
        let current = load(&chain, &key, &provider)?;
        Ok(Self(Arc::new(Files {
            chain,
            key,
            provider,
            current: RwLock::new(Arc::new(current)),
            seen: Mutex::new(seen),
        })))
    }

    /// Reads both files again. What stands goes on, and a new connection gets the new certificate.
    ///
    /// # Errors
    /// See [`TlsProblem`]. The certificate of before stays in use.
    pub fn reload(&self) -> Result<(), TlsError> {
        let files = &self.0;
        // Looked at before reading: what changes meanwhile is read once more.
        *files.seen.lock().unwrap_or_else(PoisonError::into_inner) = stamp(&files.chain, &files.key);
        let loaded = Arc::new(load(&files.chain, &files.key, &files.provider)?);
        *files.current.write().unwrap_or_else(PoisonError::into_inner) = loaded;
        Ok(())
    }

    /// Reads the files again if they look otherwise than when they were read last.
    fn reload_if_changed(&self) -> Option<Result<(), TlsError>> {
        let files = &self.0;
        let unchanged =
            *files.seen.lock().unwrap_or_else(PoisonError::into_inner) == stamp(&files.chain, &files.key);
        if unchanged { None } else { Some(self.reload()) }
    }

    /// Looks at the files from time to time, until it is aborted.
    pub(crate) async fn watch(self) {
        let mut looks = interval(LOOK_PERIOD);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            let certificate = self.clone();
            let looked = tokio::task::spawn_blocking(move || certificate.reload_if_changed()).await;
            if let Ok(Some(outcome)) = looked {
                self.tell(&outcome);
            }
        }
    }

    /// Logs how a reload went.
    fn tell(&self, outcome: &Result<(), TlsError>) {
        match outcome {
            Ok(()) => tracing::info!(file = %self.0.chain.display(), "the certificate was read again"),
            Err(error) => {
                tracing::error!(%error, "the new certificate cannot be used; the old one stays");
            }
        }
    }

    /// Whether the certificate says that it belongs to this host.
    pub(crate) fn names(&self, host: &Host) -> bool {
        let current = self.0.current();
        let certificate = current.cert.first().map(ParsedCertificate::try_from);
        match (certificate, server_name(host)) {
            (Some(Ok(certificate)), Some(name)) => verify_server_name(&certificate, &name).is_ok(),
            _ => false,
        }
    }

    /// The settings of a listener with this certificate.
    pub(crate) fn server_config(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let files = Arc::clone(&self.0);
        let config = ServerConfig::builder_with_provider(Arc::clone(&files.provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| files.unusable(&error))?;
        let mut config = config.with_no_client_auth().with_cert_resolver(files);
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Arc::new(config))
    }
}

impl Files {
    fn current(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn unusable(&self, error: &rustls::Error) -> TlsError {
        TlsError { path: self.chain.clone(), problem: TlsProblem::Unusable(error.to_string()) }
    }
}

impl ResolvesServerCert for Files {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

/// By what a dialled certificate is checked.
pub(crate) struct TlsRoots {
    given: Option<RootCertStore>,
    connector: OnceCell<TlsConnector>,
}

impl fmt::Debug for TlsRoots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsRoots").field("given", &self.given.is_some()).finish_non_exhaustive()
    }
}

impl TlsRoots {
    /// The roots that the system trusts, read when they are needed first.
    pub(crate) fn system() -> Self {
        Self { given: None, connector: OnceCell::new() }
    }

    /// The roots in a PEM file, and no others.
    pub(crate) fn open(path: &Path) -> Result<Self, TlsError> {
        let failed = |problem| TlsError { path: path.to_owned(), problem };
        let mut roots = RootCertStore::empty();
        for certificate in certificates(path)? {
            roots.add(certificate).map_err(|error| failed(TlsProblem::Unusable(error.to_string())))?;
        }
        Ok(Self { given: Some(roots), connector: OnceCell::new() })
    }

    /// TLS over a stream to this host.
    pub(crate) async fn connect(&self, host: &Host, stream: TcpStream) -> io::Result<Stream> {
        let connector = self.connector.get_or_try_init(|| async {
            let roots = match self.given.clone() {
                Some(roots) => roots,
                None => tokio::task::spawn_blocking(system_roots).await.map_err(io::Error::other)?,
            };
            client(roots).map_err(io::Error::other)
        });
        let name = server_name(host).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        let stream = connector.await?.connect(name, stream).await?;
        Ok(Stream::Tls(Box::new(stream.into())))
    }
}

/// TLS over an accepted socket.
pub(crate) async fn accept(config: &Arc<ServerConfig>, stream: TcpStream) -> io::Result<Stream> {
    Ok(Stream::Tls(Box::new(TlsAcceptor::from(Arc::clone(config)).accept(stream).await?.into())))
}

fn client(roots: RootCertStore) -> Result<TlsConnector, rustls::Error> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

fn system_roots() -> RootCertStore {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::debug!(%error, "a root certificate of the system");
    }
    let mut roots = RootCertStore::empty();
    let (usable, _) = roots.add_parsable_certificates(found.certs);
    if usable == 0 {
        tracing::warn!(
            "the system has no root certificates: no `wss` address can be dialled without a file of roots"
        );
    }
    roots
}

fn server_name(host: &Host) -> Option<ServerName<'static>> {
    match host {
        Host::Ip4(ip) => Some(ServerName::from(std::net::IpAddr::V4(*ip))),
        Host::Ip6(ip) => Some(ServerName::from(std::net::IpAddr::V6(*ip))),
        Host::Dns(name) | Host::Dns4(name) | Host::Dns6(name) => ServerName::try_from(name.clone()).ok(),
    }
}

fn load(chain: &Path, key: &Path, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let certificates = certificates(chain)?;
    let failed = |problem| TlsError { path: key.to_owned(), problem };
    let der = match PrivateKeyDer::from_pem_slice(&read(key)?) {
        Ok(der) => der,
        Err(pem::Error::NoItemsFound) => return Err(failed(TlsProblem::NoKey)),
        Err(error) => return Err(failed(TlsProblem::Pem(error.to_string()))),
    };
    let loaded = CertifiedKey::from_der(certificates, der, provider);
    let loaded = loaded.map_err(|error| {
        let of_chain = matches!(error, rustls::Error::InvalidCertificate(_));
        let mismatch = matches!(error, rustls::Error::InconsistentKeys(_));
        let problem = if mismatch { TlsProblem::Mismatch } else { TlsProblem::Unusable(error.to_string()) };
        TlsError { path: if of_chain { chain } else { key }.to_owned(), problem }
    })?;
    // What the key alone does not tell.
    let parsed =
        loaded.end_entity_cert().and_then(|certificate| ParsedCertificate::try_from(certificate).map(drop));
    parsed.map_err(|error| TlsError {
        path: chain.to_owned(),
        problem: TlsProblem::Unusable(error.to_string()),
    })?;
    Ok(loaded)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |problem| TlsError { path: path.to_owned(), problem };
    let bytes = read(path)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match certificates {
        Ok(none) if none.is_empty() => Err(failed(TlsProblem::NoCertificate)),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(failed(TlsProblem::Pem(error.to_string()))),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let failed = |error| TlsError { path: path.to_owned(), problem: TlsProblem::Io(error) };
    let missing = || failed(io::Error::from(io::ErrorKind::NotFound));
    read_bounded(path, FILE_BYTES_MAX).map_err(failed)?.ok_or_else(missing)
}

fn stamp(chain: &Path, key: &Path) -> Stamp {
    // Links are followed: a renewal replaces the link.
    [chain, key].map(|path| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.len(), metadata.modified().ok()))
    })
}

#[cfg(test)]
mod tests;
