//! TLS to servers: whose certificates we trust, and which one we present.

use std::{env, fmt, path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
};
use rustls_native_certs::{load_certs_from_paths, load_native_certs};

use crate::regular_file;

/// The variables that OpenSSL reads, too.
const CERTIFICATE_FILE: &str = "SSL_CERT_FILE";
const CERTIFICATE_FOLDERS: &str = "SSL_CERT_DIR";

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
            let (found, problem) = system_certificates();
            roots.add_parsable_certificates(found);
            if roots.is_empty() {
                let why = problem.unwrap_or_else(|| "there are none".into());
                return Err(format!(
                    "no certificates that the system trusts: {why}; give your CA's with --tls-ca FILE"
                ));
            }
        }
    }
    Ok(roots)
}

/// Returns the certificates that SSL_CERT_FILE and SSL_CERT_DIR name, or the system's, and a problem with them, if there is one.
fn system_certificates() -> (Vec<CertificateDer<'static>>, Option<String>) {
    // The library would open any file, and wait for the writer of a FIFO. In a folder it takes only regular files.
    let (file, folders) = (env::var_os(CERTIFICATE_FILE), env::var_os(CERTIFICATE_FOLDERS).unwrap_or_default());
    let folders = env::split_paths(&folders).filter(|folder| !folder.as_os_str().is_empty());
    let mut found: Vec<_> = folders.map(|folder| load_certs_from_paths(None, Some(&folder))).collect();
    if found.is_empty() && file.is_none() {
        found.push(load_native_certs());
    }
    let mut problem = found.iter().flat_map(|part| &part.errors).next().map(ToString::to_string);
    let mut all: Vec<_> = found.iter_mut().flat_map(|part| std::mem::take(&mut part.certs)).collect();
    if let Some(file) = file {
        match certificates(CERTIFICATE_FILE, Path::new(&file)) {
            Ok(more) => all.extend(more),
            Err(why) => problem = Some(why),
        }
    }
    (all, problem)
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
