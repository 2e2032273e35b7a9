//! TLS between nodes: both ends prove the key that the configuration names.
//!
//! The keys are raw public keys (RFC 7250), pinned by their hash in the signed
//! configuration. There is no certificate, so nothing expires in the middle of a
//! night, and there is no authority that could vouch for somebody else.
//! TLS 1.3 only: raw keys exist in no older version here.

use std::sync::Arc;

use ledger_core::Digest32;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer,
    UnixTime,
};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, ServerConfig,
    SignatureScheme,
};
use sha3::{Digest, Sha3_256};

/// PKCS #8 of an Ed25519 key (RFC 8410, section 7) up to its 32 bytes.
const PKCS8_PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// The key with which a node proves itself to others on the wire.
#[derive(Clone)]
pub struct TransportKey {
    certified: Arc<CertifiedKey>,
    digest: Digest32,
}

impl std::fmt::Debug for TransportKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let digest = ledger_core::hash::hex(&self.digest);
        f.debug_tuple("TransportKey").field(&digest).finish()
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

impl TransportKey {
    /// The Ed25519 key of these 32 secret bytes.
    ///
    /// # Errors
    /// The cryptographic library refuses them.
    pub fn from_bytes(secret: &[u8; 32]) -> Result<TransportKey, Error> {
        let der = [&PKCS8_PREFIX[..], secret].concat();
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(der));
        let key = rustls::crypto::ring::sign::any_supported_type(&der)?;
        let public = key
            .public_key()
            .ok_or_else(|| Error::General("the key has no public half".to_owned()))?;
        let spki = CertificateDer::from(public.as_ref().to_vec());
        Ok(TransportKey {
            digest: digest(&spki),
            certified: Arc::new(CertifiedKey::new(vec![spki], key)),
        })
    }

    /// What the configuration pins: SHA3-256 of the SubjectPublicKeyInfo.
    pub fn digest(&self) -> Digest32 {
        self.digest
    }

    /// How this node dials: the other end must be exactly the node it means.
    ///
    /// # Errors
    /// The cryptographic library has no TLS 1.3.
    pub fn client(&self, expected: Digest32) -> Result<ClientConfig, Error> {
        let resolver =
            rustls::client::AlwaysResolvesClientRawPublicKeys::new(Arc::clone(&self.certified));
        Ok(ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Pinned::new(vec![expected])))
            .with_client_cert_resolver(Arc::new(resolver)))
    }

    /// How this node answers: whoever dials must be one of the nodes.
    ///
    /// # Errors
    /// The cryptographic library has no TLS 1.3.
    pub fn server(&self, nodes: Vec<Digest32>) -> Result<ServerConfig, Error> {
        let resolver =
            rustls::server::AlwaysResolvesServerRawPublicKeys::new(Arc::clone(&self.certified));
        Ok(ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(Arc::new(Pinned::new(nodes)))
            .with_cert_resolver(Arc::new(resolver)))
    }
}

/// The pinned hash of a key as it came over the wire.
pub fn digest(spki: &CertificateDer<'_>) -> Digest32 {
    Sha3_256::digest(spki.as_ref()).into()
}

/// Accepts exactly the pinned keys.
#[derive(Debug)]
struct Pinned {
    keys: Vec<Digest32>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Pinned {
    fn new(keys: Vec<Digest32>) -> Pinned {
        Pinned {
            keys,
            algorithms: provider().signature_verification_algorithms,
        }
    }

    fn check(&self, presented: &CertificateDer<'_>) -> Result<(), Error> {
        match self.keys.contains(&digest(presented)) {
            true => Ok(()),
            false => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    fn signature(
        &self,
        message: &[u8],
        presented: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = SubjectPublicKeyInfoDer::from(presented.as_ref());
        verify_tls13_signature_with_raw_key(message, &key, signed, &self.algorithms)
    }
}

/// TLS 1.2 is never negotiated; nothing signed under it counts.
fn never() -> Result<HandshakeSignatureValid, Error> {
    Err(Error::General("TLS 1.2 is not spoken".to_owned()))
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(end_entity)?;
        Ok(ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        never()
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature(message, cert, signed)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for Pinned {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }
    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check(end_entity)?;
        Ok(ClientCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        never()
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature(message, cert, signed)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_secret_has_the_same_pinned_hash_and_another_has_another() {
        let hash = |n: u8| TransportKey::from_bytes(&[n; 32]).unwrap().digest();
        assert_eq!(hash(1), hash(1));
        assert_ne!(hash(1), hash(2));
    }
}
