//! Why there is no connection with TLS: a value, a text for people, and advice.

use std::fmt;

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage};

/// Why there is no connection with TLS.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum TlsProblem {
    /// No authority that we trust signed the server's certificate.
    UnknownIssuer,
    /// The server's certificate has expired.
    Expired,
    /// The server's certificate is for another name.
    OtherName,
    /// The server's certificate can't be trusted for another reason.
    Untrusted(CertificateError),
    /// What answers doesn't speak TLS.
    NotTls,
    /// The server asks for a certificate of the client.
    WantsCertificate,
    /// The server refuses for another reason.
    Refused(AlertDescription),
    /// The handshake fails for another reason.
    Other(Error),
}

impl From<&Error> for TlsProblem {
    fn from(error: &Error) -> Self {
        match error {
            Error::InvalidCertificate(why) => match why {
                CertificateError::UnknownIssuer | CertificateError::BadSignature => TlsProblem::UnknownIssuer,
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => TlsProblem::Expired,
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                    TlsProblem::OtherName
                }
                why => TlsProblem::Untrusted(why.clone()),
            },
            Error::HandshakeNotComplete
            | Error::InvalidMessage(InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion) => {
                TlsProblem::NotTls
            }
            Error::AlertReceived(AlertDescription::CertificateRequired | AlertDescription::HandshakeFailure) => {
                TlsProblem::WantsCertificate
            }
            Error::AlertReceived(alert) => TlsProblem::Refused(*alert),
            error => TlsProblem::Other(error.clone()),
        }
    }
}

impl TlsProblem {
    /// Returns what an operator can do about it.
    pub(crate) fn advice(&self) -> &'static str {
        match self {
            TlsProblem::UnknownIssuer => "give the certificate of its issuer with --tls-ca FILE",
            TlsProblem::Expired | TlsProblem::OtherName | TlsProblem::Untrusted(_) => "check the server's certificate",
            TlsProblem::NotTls => "check whether that port is one with TLS or one without",
            TlsProblem::WantsCertificate => "give the certificate and its key with --tls-cert FILE and --tls-key FILE",
            TlsProblem::Refused(_) => "check which versions of TLS and which certificates it accepts",
            TlsProblem::Other(_) => "check the address and the network",
        }
    }
}

impl fmt::Display for TlsProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TlsProblem::UnknownIssuer => "has a certificate of an unknown issuer (give that one's with --tls-ca)",
            TlsProblem::Expired => "has a certificate that has expired",
            TlsProblem::OtherName => "has a certificate for another name",
            TlsProblem::Untrusted(why) => return write!(f, "has a certificate that can't be trusted: {why}"),
            TlsProblem::NotTls => "doesn't speak TLS (redis:// is for servers without)",
            TlsProblem::WantsCertificate => "wants a certificate of ours (--tls-cert and --tls-key)",
            TlsProblem::Refused(alert) => return write!(f, "refused TLS: {alert:?}"),
            TlsProblem::Other(error) => return write!(f, "can't be reached: {error}"),
        })
    }
}
