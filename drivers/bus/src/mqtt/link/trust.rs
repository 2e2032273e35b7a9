//! Whom a link trusts, and what is said when it does not.
//!
//! Responsible for TLS as the rig wants it and for its failures in plain words: whose
//! certificate is wrong, how, and who must act. Not responsible for the connection.

use std::sync::Arc;

use rumqttc::{ConnectionError, StateError, TlsConfiguration, TlsError, Transport};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{AlertDescription, CertificateError, Error};

use super::LinkError;

/// Certificates and keys in PEM form.
#[derive(Clone, PartialEq, Eq)]
pub struct Trust {
    /// The authority that signed the broker's certificate; no other is trusted.
    pub ca_pem: Vec<u8>,
    /// Our own certificate chain and its key, for a broker that asks who we are.
    pub client_pem: Option<(Vec<u8>, Vec<u8>)>,
}

impl std::fmt::Debug for Trust {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let own = self.client_pem.is_some();
        f.debug_struct("Trust")
            .field("own", &own)
            .finish_non_exhaustive()
    }
}

/// TLS by rustls with the ring provider, trusting this certificate authority and no other.
///
/// # Errors
/// When a PEM text has no certificate or key, or one that cannot be used.
pub fn tls(trust: &Trust) -> Result<Transport, LinkError> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in certificates("the certificate authority (`ca`)", &trust.ca_pem)? {
        roots
            .add(certificate)
            .map_err(|e| unusable("the certificate authority (`ca`)")(e.to_string()))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| unusable("TLS")(e.to_string()))?
        .with_root_certificates(roots);
    let config = match &trust.client_pem {
        None => config.with_no_client_auth(),
        Some((chain, key)) => {
            let chain = certificates("the certificate (`cert`)", chain)?;
            let key = PrivateKeyDer::from_pem_slice(key)
                .map_err(|e| unusable("the key (`key`)")(e.to_string()))?;
            config
                .with_client_auth_cert(chain, key)
                .map_err(|e| unusable("the pair of `cert` and `key`")(e.to_string()))?
        }
    };
    Ok(Transport::tls_with_config(TlsConfiguration::Rustls(
        Arc::new(config),
    )))
}

fn unusable(what: &'static str) -> impl Fn(String) -> LinkError {
    move |why| LinkError::Certificate { what, why }
}

fn certificates(what: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, LinkError> {
    let all = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let all = all.map_err(|e| unusable(what)(e.to_string()))?;
    if all.is_empty() {
        return Err(unusable(what)(
            "it has no certificate in PEM form".to_owned(),
        ));
    }
    Ok(all)
}

/// What the end of a connection means, if TLS ended it.
pub(super) fn distrust(error: &ConnectionError, host: &str) -> Option<LinkError> {
    let io = match error {
        ConnectionError::Tls(TlsError::TLS(error)) => return Some(untrusted(error, host)),
        ConnectionError::Tls(TlsError::Io(io))
        | ConnectionError::Io(io)
        | ConnectionError::MqttState(
            StateError::Io(io) | StateError::Deserialization(rumqttc::mqttbytes::Error::Io(io)),
        ) => io,
        _ => return None,
    };
    let error = io.get_ref()?.downcast_ref::<Error>()?;
    Some(untrusted(error, host))
}

fn untrusted(error: &Error, host: &str) -> LinkError {
    use CertificateError as Bad;
    let why = match error {
        Error::InvalidCertificate(bad) => match bad {
            Bad::Expired | Bad::ExpiredContext { .. } => {
                "the certificate of the broker has expired: renew it, or set this machine's clock"
                    .to_owned()
            }
            Bad::NotValidYet | Bad::NotValidYetContext { .. } => {
                "the certificate of the broker is not valid yet: set the clocks".to_owned()
            }
            Bad::UnknownIssuer | Bad::BadSignature => {
                "the certificate of the broker was not signed by the authority in `ca`: give the \
                 file of the one that signed it"
                    .to_owned()
            }
            Bad::NotValidForName | Bad::NotValidForNameContext { .. } => format!(
                "the certificate of the broker is not for `{host}`: write the name in it into `url`, \
                 or have it issued for that name"
            ),
            other => format!("the certificate of the broker is not accepted: {other}"),
        },
        Error::AlertReceived(
            AlertDescription::CertificateRequired | AlertDescription::HandshakeFailure,
        ) => {
            "the broker wants to know who we are by a certificate: add `cert` and `key` to the bus"
                .to_owned()
        }
        Error::AlertReceived(alert) => format!(
            "the broker does not accept our certificate ({alert:?}): check `cert` and `key`, and \
             which authority the broker trusts"
        ),
        other => format!("no encrypted connection with the broker: {other}"),
    };
    LinkError::Untrusted { why }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trust(ca: &[u8]) -> Trust {
        Trust {
            ca_pem: ca.to_vec(),
            client_pem: None,
        }
    }

    #[test]
    fn a_certificate_authority_that_is_none_is_refused_in_clear_text() {
        for pem in [
            &b"not a certificate"[..],
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ] {
            let Err(LinkError::Certificate { what, why }) = tls(&trust(pem)).map(|_| ()) else {
                panic!("taken: {pem:?}")
            };
            assert!(what.contains("`ca`") && !why.is_empty());
        }
    }

    #[test]
    fn each_reason_for_distrust_says_whose_certificate_and_what_to_do() {
        let io = |error: Error| {
            let io = std::io::Error::new(std::io::ErrorKind::InvalidData, error);
            ConnectionError::Tls(TlsError::Io(io))
        };
        let bad = |bad| io(Error::InvalidCertificate(bad));
        let late = |alert| {
            let io = std::io::Error::other(Error::AlertReceived(alert));
            let inner = rumqttc::mqttbytes::Error::Io(io);
            ConnectionError::MqttState(StateError::Deserialization(inner))
        };
        for (error, words) in [
            (bad(CertificateError::Expired), "has expired: renew it"),
            (bad(CertificateError::UnknownIssuer), "authority in `ca`"),
            (bad(CertificateError::NotValidForName), "not for `lab`"),
            (
                late(AlertDescription::CertificateRequired),
                "add `cert` and `key`",
            ),
            (
                late(AlertDescription::UnknownCA),
                "our certificate (UnknownCA)",
            ),
        ] {
            let told = distrust(&error, "lab")
                .expect("it is about trust")
                .to_string();
            assert!(told.contains(words), "{told}");
        }
        let plain = std::io::Error::other("cable");
        assert_eq!(distrust(&ConnectionError::Io(plain), "lab"), None);
    }

    #[test]
    fn each_reason_of_distrust_is_told_with_what_to_do() {
        use CertificateError as Bad;
        let rows: &[(Error, &[&str])] = &[
            (Bad::Expired.into(), &["has expired", "renew it"]),
            (Bad::NotValidYet.into(), &["not valid yet", "clocks"]),
            (
                Bad::UnknownIssuer.into(),
                &["not signed by the authority in `ca`"],
            ),
            (
                Bad::BadSignature.into(),
                &["not signed by the authority in `ca`"],
            ),
            (
                Bad::NotValidForName.into(),
                &["is not for `broker.lab`", "`url`"],
            ),
            (Bad::Revoked.into(), &["is not accepted"]),
            (
                Error::AlertReceived(AlertDescription::CertificateRequired),
                &["who we are", "add `cert` and `key`"],
            ),
            (
                Error::AlertReceived(AlertDescription::UnknownCA),
                &["does not accept our certificate", "UnknownCA"],
            ),
            (Error::DecryptError, &["no encrypted connection"]),
        ];
        for (error, words) in rows {
            let io = std::io::Error::other(error.clone());
            for wrapped in [
                ConnectionError::Tls(TlsError::TLS(error.clone())),
                ConnectionError::Io(io),
            ] {
                let Some(LinkError::Untrusted { why }) = distrust(&wrapped, "broker.lab") else {
                    panic!("{error:?} is not told")
                };
                for word in *words {
                    assert!(why.contains(word), "{why:?} lacks {word:?}");
                }
            }
        }
        // A line that was cut is no distrust.
        let cut = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        assert_eq!(distrust(&ConnectionError::Io(cut), "broker.lab"), None);
    }
}
