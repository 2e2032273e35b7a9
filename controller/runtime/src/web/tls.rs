//! The certificate of the page, as it is served: out of a folder of keys.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use document::{Actor, Diagnostic};
use model::UtcTime;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, Error, RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use super::authority::{CA_FILE, SERVER_FILE, SERVER_KEY_FILE};
use super::secret;

/// A certificate that ends sooner than this is told at the start.
/// Chosen: 30 days, so that whoever starts a bench once a month hears of it in time.
const ENDS_SOON: Duration = Duration::from_secs(30 * 24 * 3600);

/// How the page is served beyond plain text.
#[derive(Clone)]
pub struct Tls {
    config: Arc<ServerConfig>,
    /// Whether the certificate ends within a month.
    pub ends_soon: bool,
}

impl std::fmt::Debug for Tls {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls")
            .field("ends_soon", &self.ends_soon)
            .finish_non_exhaustive()
    }
}

fn fault(code: &'static str, message: String, help: &str) -> Box<Diagnostic> {
    Box::new(Diagnostic::error(code, Actor::Operator, message).help(help))
}

impl Tls {
    /// Reads `server.pem` (with what leads to the authority, if somebody else's) and `server.key`. With
    /// `ca.pem` beside them they are looked at as a caller will.
    ///
    /// # Errors
    /// R123 when others can read the key, R124 when a file cannot be read, R125 when the two are no
    /// certificate and its key, R126 when no caller would accept the certificate.
    pub fn read(folder: &Path, now: UtcTime) -> Result<Self, Box<Diagnostic>> {
        let path = folder.join(SERVER_FILE);
        let pem = std::fs::read(&path).map_err(|e| {
            let what = format!("the certificate {} cannot be read: {e}", path.display());
            fault("R124", what, "`gridrig init` makes a folder of keys")
        })?;
        let chain = certificates(&pem, &path)?;
        let key_path = folder.join(SERVER_KEY_FILE);
        let key = secret::read(&key_path, "the key of the page")?;
        let unusable = |why: String| {
            let what = format!(
                "{} and {SERVER_KEY_FILE} cannot be used: {why}",
                path.display()
            );
            let help = "both in PEM form, the key without a password; or let `gridrig init` make them in another folder";
            fault("R125", what, help)
        };
        let key =
            PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|e| unusable(e.to_string()))?;
        let ca = folder.join(CA_FILE);
        let ends_soon = if ca.exists() {
            is_accepted(&ca, &chain, now)?;
            let later = UtcTime::from_unix_nanos(
                now.unix_nanos()
                    .saturating_add(i64::try_from(ENDS_SOON.as_nanos()).unwrap_or(i64::MAX)),
            );
            is_accepted(&ca, &chain, later).is_err()
        } else {
            false
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| unusable(e.to_string()))?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|e| unusable(e.to_string()))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            config: Arc::new(config),
            ends_soon,
        })
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.config))
    }
}

fn certificates(pem: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, Box<Diagnostic>> {
    let all = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let why = match all {
        Ok(all) if !all.is_empty() => return Ok(all),
        Ok(_) => "it has no certificate in PEM form".to_owned(),
        Err(e) => e.to_string(),
    };
    let what = format!("the certificate {} cannot be used: {why}", path.display());
    Err(fault(
        "R125",
        what,
        "give a file that begins with `-----BEGIN CERTIFICATE-----`",
    ))
}

/// Whether a caller that trusts the authority would accept the certificate, whatever its name is.
fn is_accepted(
    ca: &Path,
    chain: &[CertificateDer<'static>],
    at: UtcTime,
) -> Result<(), Box<Diagnostic>> {
    let refused = |why: String, help: &str| {
        let what = format!("no caller will accept the certificate of the page: {why}");
        fault("R126", what, help)
    };
    let renew = "move server.pem away, and `gridrig init` in its folder makes the next one, which callers trust as before";
    let pem = std::fs::read(ca).map_err(|e| {
        let what = format!("the authority {} cannot be read: {e}", ca.display());
        fault("R124", what, "`gridrig init` makes a folder of keys")
    })?;
    let mut roots = RootCertStore::empty();
    for authority in certificates(&pem, ca)? {
        let added = roots.add(authority);
        added.map_err(|e| refused(format!("{} is no authority: {e}", ca.display()), renew))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|e| refused(e.to_string(), renew))?;
    let Some((server, between)) = chain.split_first() else {
        return Ok(());
    };
    // The name is the caller's to judge: it knows how it reached us.
    let anyone = ServerName::from(std::net::IpAddr::from(std::net::Ipv4Addr::LOCALHOST));
    let since_1970 = Duration::from_nanos(u64::try_from(at.unix_nanos()).unwrap_or(0));
    let at = UnixTime::since_unix_epoch(since_1970);
    match verifier.verify_server_cert(server, between, &anyone, &[], at) {
        Ok(_)
        | Err(Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        )) => Ok(()),
        Err(Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        )) => Err(refused("it has expired".into(), renew)),
        Err(Error::InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        )) => Err(refused(
            "it is not valid yet".into(),
            "set this machine's clock",
        )),
        Err(Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        )) => Err(refused(
            format!("it was not signed by the authority in {}", ca.display()),
            "put the authority that signed it there, or take that file away",
        )),
        Err(e) => Err(refused(e.to_string(), renew)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::authority::{self, CA_KEY_FILE};
    use super::*;

    /// 2026-11-22T10:00:00 UTC.
    const NOW: i64 = 1_795_341_600_000_000_000;
    const DAY: i64 = 24 * 3600 * 1_000_000_000;

    fn days(after: i64) -> UtcTime {
        UtcTime::from_unix_nanos(NOW + after * DAY)
    }

    #[test]
    fn a_certificate_that_no_caller_would_accept_is_refused_before_the_page_is_served() {
        let place = tempfile::tempdir().unwrap();
        let keys = |name: &str| {
            let folder = place.path().join(name);
            authority::init(&folder, &["bench.lab".into()], &[], days(0)).unwrap();
            folder
        };
        let (one, other) = (keys("one"), keys("other"));
        for (after, soon) in [
            (0, Ok(false)),
            (790, Ok(false)),
            (800, Ok(true)),
            (826, Err("R126")),
            (-2, Err("R126")),
        ] {
            let read = Tls::read(&one, days(after));
            let told = read.map(|tls| tls.ends_soon).map_err(|fault| fault.code);
            assert_eq!(told, soon, "after {after} days");
        }
        let file = |folder: &Path, name: &str| folder.join(name);
        let swap = |name: &str| std::fs::copy(file(&other, name), file(&one, name)).unwrap();
        let code = || Tls::read(&one, days(0)).unwrap_err().code;
        swap(CA_FILE);
        assert_eq!(code(), "R126", "the authority of another bench");
        std::fs::remove_file(file(&one, CA_FILE)).unwrap();
        Tls::read(&one, days(0)).expect("without an authority it is the callers' to judge");
        swap(SERVER_KEY_FILE);
        assert_eq!(code(), "R125", "the key of another certificate");
        std::fs::copy(file(&one, CA_KEY_FILE), file(&one, SERVER_FILE)).unwrap();
        assert_eq!(code(), "R125", "a key in the place of the certificate");
        std::fs::remove_file(file(&one, SERVER_FILE)).unwrap();
        assert_eq!(code(), "R124", "no certificate");
    }
}
