//! TLS to servers: whose certificates we trust, and which one we present.

use std::{fmt, path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
};

use crate::regular_file;

/// What all connections with TLS share. Its `Debug` shows nothing of it.
#[derive(Clone)]
pub(crate) struct Tls(pub Arc<ClientConfig>);

impl Tls {
    /// Trusts the certificate authorities in the file `ca`. Without it, trusts those that SSL_CERT_FILE and
    /// SSL_CERT_DIR name, or the system's. Presents the certificate in the first file of `shown`, whose key is in the
    /// second.
    ///
    /// # Errors
    /// Which file is wrong, and how.
    pub(crate) fn load(ca: Option<&Path>, shown: Option<(&Path, &Path)>) -> Result<Self, String> {
        let config = ClientConfig::builder().with_root_certificates(roots(ca)?);
        let config = match shown {
            None => config.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = certificates("--tls-cert", certificate)?;
                let contents = read("--tls-key", key)?;
                let private = PrivateKeyDer::from_pem_slice(&contents).map_err(|e| unread("--tls-key", key, &e))?;
                let unfit = |e| format!("--tls-cert {} and --tls-key don't fit: {e}", certificate.display());
                config.with_client_auth_cert(chain, private).map_err(unfit)?
            }
        };
        Ok(Tls(Arc::new(config)))
    }
}

fn roots(ca: Option<&Path>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(ca) => {
            for certificate in certificates("--tls-ca", ca)? {
                let unfit = |e| format!("--tls-ca {} has a certificate that can't be used: {e}", ca.display());
                roots.add(certificate).map_err(unfit)?;
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
            if roots.is_empty() {
                let why = found.errors.first().map_or("there are none".into(), ToString::to_string);
                return Err(format!(
                    "no certificates that the system trusts: {why}; give your CA's with --tls-ca FILE"
                ));
            }
        }
    }
    Ok(roots)
}

/// Returns the certificates in a PEM file, at least one.
fn certificates(option: &str, file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let contents = read(option, file)?;
    let found: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(&contents).collect();
    let found = found.map_err(|e| unread(option, file, &e))?;
    if found.is_empty() {
        return Err(format!("{option} {} has no certificate in it; give a PEM file", file.display()));
    }
    Ok(found)
}

fn read(option: &str, file: &Path) -> Result<Vec<u8>, String> {
    regular_file::read(file).map_err(|e| unread(option, file, &e))
}

fn unread(option: &str, file: &Path, error: &dyn fmt::Display) -> String {
    format!("{option} {} can't be read: {error}", file.display())
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}
