//! Whom a caller of the daemon trusts, and what is said when it does not.

use std::path::Path;
use std::sync::Arc;

use document::Diagnostic;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::codes::usage;

/// Whose certificate is accepted.
#[derive(Clone, Copy, Debug)]
pub enum Trust<'a> {
    /// One that was signed by the authority in this file.
    Authority(&'a Path),
    /// Anybody's. For `safe` alone, which tells no secret, and is to work with a certificate that has
    /// expired, too.
    Anybody,
}

fn refused(message: String, help: &str) -> Box<Diagnostic> {
    Box::new(usage("C035", message, help))
}

/// Agrees on keys with whoever answers at a host.
///
/// # Errors
/// C035 when the authority cannot be used, or the certificate is not accepted.
pub async fn encrypt<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    host: &str,
    trust: Trust<'_>,
) -> Result<TlsStream<S>, Box<Diagnostic>> {
    let name = ServerName::try_from(host.to_owned()).map_err(|_| {
        refused(
            format!("`{host}` is neither the name nor the address of a host"),
            "such as https://bench.lab:7070",
        )
    })?;
    let connector = TlsConnector::from(Arc::new(config(trust)?));
    let stream = connector.connect(name, stream).await;
    stream.map_err(|e| {
        let by_tls = e.get_ref().and_then(|e| e.downcast_ref::<Error>());
        untrusted(by_tls, &e, host)
    })
}

fn config(trust: Trust<'_>) -> Result<ClientConfig, Box<Diagnostic>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|e| refused(format!("TLS cannot be used: {e}"), "report this"))?;
    let builder = match trust {
        Trust::Authority(path) => builder.with_root_certificates(roots(path)?),
        Trust::Anybody => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnybodysCertificate(provider))),
    };
    Ok(builder.with_no_client_auth())
}

fn roots(path: &Path) -> Result<RootCertStore, Box<Diagnostic>> {
    let wrong = |why: &dyn std::fmt::Display| {
        let what = format!("the authority {} cannot be used: {why}", path.display());
        refused(
            what,
            "give `--ca` the `ca.pem` that `gridrig init` has made for this bench",
        )
    };
    let pem = std::fs::read(path).map_err(|e| wrong(&e))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|e| wrong(&e))?;
        roots.add(certificate).map_err(|e| wrong(&e))?;
    }
    if roots.is_empty() {
        return Err(wrong(&"it has no certificate in PEM form"));
    }
    Ok(roots)
}

fn untrusted(by_tls: Option<&Error>, e: &std::io::Error, host: &str) -> Box<Diagnostic> {
    use CertificateError as Bad;
    let told = |what: &str, help: &str| {
        refused(
            format!("the certificate of the bench at {host} {what}"),
            help,
        )
    };
    match by_tls {
        Some(Error::InvalidCertificate(bad)) => match bad {
            Bad::Expired | Bad::ExpiredContext { .. } => told(
                "has expired",
                "whoever keeps the bench moves its server.pem away and asks `gridrig init` for the next one; or set this machine's clock",
            ),
            Bad::NotValidYet | Bad::NotValidYetContext { .. } => {
                told("is not valid yet", "set the clocks of both machines")
            }
            Bad::UnknownIssuer | Bad::BadSignature => told(
                "was not signed by the authority in `--ca`",
                "give the `ca.pem` of this bench; if you did, somebody else answers there: tell it nothing",
            ),
            Bad::NotValidForName | Bad::NotValidForNameContext { .. } => told(
                "is not for this name",
                "give the name that it is for, or have it issued with `gridrig init --name`",
            ),
            other => told(
                &format!("is not accepted: {other}"),
                "`gridrig init` makes another one",
            ),
        },
        _ => refused(
            format!("no encrypted connection with {host}: {e}"),
            "a bench without `--tls` is reached by `http://`, on its own machine only",
        ),
    }
}

/// Takes every certificate whose key its holder has.
#[derive(Debug)]
struct AnybodysCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnybodysCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_of_distrust_is_told_with_what_to_do() {
        use CertificateError as Bad;
        let io = std::io::Error::other("cut");
        for (error, words) in [
            (Some(Bad::Expired.into()), ["has expired", "gridrig init"]),
            (Some(Bad::NotValidYet.into()), ["not valid yet", "clocks"]),
            (Some(Bad::UnknownIssuer.into()), ["not signed by", "ca.pem"]),
            (
                Some(Bad::NotValidForName.into()),
                ["not for this name", "--name"],
            ),
            (Some(Bad::Revoked.into()), ["not accepted", "gridrig init"]),
            (None, ["cut", "http://"]),
        ] {
            let told = untrusted(error.as_ref(), &io, "bench.lab");
            let help = told.help.as_deref().unwrap_or_default();
            assert_eq!(told.code, "C035");
            assert!(
                told.message.contains(words[0]) && help.contains(words[1]),
                "{told}"
            );
        }
    }

    #[test]
    fn a_file_without_an_authority_is_refused_by_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ca.pem");
        for text in [
            None,
            Some("nothing"),
            Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
        ] {
            if let Some(text) = text {
                std::fs::write(&path, text).expect("it is written");
            }
            let fault = roots(&path).expect_err("it is refused");
            assert!(
                fault.code == "C035" && fault.message.contains("ca.pem"),
                "{fault}"
            );
        }
    }
}
