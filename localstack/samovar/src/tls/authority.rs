//! The certificate authority of a user: a key that only the user can read, and a certificate for everybody.
//!
//! A browser that accepts this authority would accept anything that it signs, so the certificate says which names it
//! may sign for (RFC 5280, 4.2.1.10): names of this machine, and names under `amazonaws.com` and `on.aws`. Whoever
//! steals the key cannot pass for a bank.
//!
//! Both files are written once, under a lock, the key last. So a key that is there has its certificate beside it.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, PKCS_ECDSA_P256_SHA256, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::TlsError;
use crate::clock::now_ms;

const KEY: &str = "key.pem";
const CERTIFICATE: &str = "ca.pem";
const LOCK: &str = "lock";
/// How long a certificate of a stack is valid. Apple's clients accept none for longer than 398 days.
const VALID_DAYS: i64 = 397;

pub(super) struct Authority {
    folder: PathBuf,
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Authority {
    /// Reads the authority in this folder, or makes it.
    pub(super) fn open(folder: &Path) -> Result<Self, TlsError> {
        let paths = (folder.join(KEY), folder.join(CERTIFICATE));
        if !paths.0.is_file() || !paths.1.is_file() {
            make(folder)?;
        }
        let read = |path: &Path| fs::read_to_string(path).map_err(TlsError::file(path, "read"));
        let key = KeyPair::from_pem(&read(&paths.0)?);
        let key = key.map_err(|source| TlsError::NoKey { path: paths.0.clone(), source })?;
        let issuer = Issuer::new(parameters(), key);
        Ok(Self { folder: folder.to_owned(), certificate: read(&paths.1)?, issuer })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn certificate(&self) -> &str {
        &self.certificate
    }

    pub(super) fn certificate_path(&self) -> PathBuf {
        self.folder.join(CERTIFICATE)
    }

    /// Makes a key and a certificate for these names.
    pub(super) fn issue(
        &self,
        names: &[String],
    ) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), rcgen::Error> {
        let mut leaf = CertificateParams::new(names)?;
        leaf.distinguished_name = named("samovar");
        let day = |days: i64| {
            let day = jiff::Timestamp::from_second(now_ms() / 1000 + days * 24 * 60 * 60).unwrap_or_default();
            let day = day.to_zoned(jiff::tz::TimeZone::UTC).date();
            date_time_ymd(day.year().into(), day.month().unsigned_abs(), day.day().unsigned_abs())
        };
        // Clocks may differ by a little.
        leaf.not_before = day(-1);
        leaf.not_after = day(VALID_DAYS);
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        // Python 3.13 accepts no certificate without it.
        leaf.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate = leaf.signed_by(&key, &self.issuer)?;
        Ok((certificate.der().clone(), PrivatePkcs8KeyDer::from(key.serialize_der()).into()))
    }
}

/// Makes the authority, unless another process is doing so, which is waited for.
fn make(folder: &Path) -> Result<(), TlsError> {
    let mut directory = fs::DirBuilder::new();
    directory.recursive(true).mode(0o700).create(folder).map_err(TlsError::file(folder, "made"))?;
    let lock_path = folder.join(LOCK);
    let lock = File::create(&lock_path).map_err(TlsError::file(&lock_path, "written"))?;
    // Nobody has it for longer than it takes to write two files.
    lock.lock().map_err(TlsError::file(&lock_path, "locked"))?;
    if folder.join(KEY).is_file() && folder.join(CERTIFICATE).is_file() {
        return Ok(());
    }
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let certificate = parameters().self_signed(&key)?;
    write(&folder.join(CERTIFICATE), certificate.pem().as_bytes(), 0o644)?;
    write(&folder.join(KEY), key.serialize_pem().as_bytes(), 0o600)
}

/// Writes a file so that nobody sees a part of it.
pub(super) fn write(path: &Path, content: &[u8], mode: u32) -> Result<(), TlsError> {
    let written = || -> io::Result<()> {
        let mut file = tempfile::Builder::new()
            .permissions(fs::Permissions::from_mode(mode))
            .tempfile_in(path.parent().unwrap_or(Path::new(".")))?;
        file.write_all(content)?;
        file.persist(path)?;
        Ok(())
    };
    written().map_err(TlsError::file(path, "written"))
}

/// The authority as its certificate describes it. A certificate that names the same issuer and has its signature is
/// accepted by whoever accepts the file, so it need not be read for that.
fn parameters() -> CertificateParams {
    let mut authority = CertificateParams::default();
    authority.distinguished_name = named("samovar local authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    // Its user would have to tell every browser again to accept the next one.
    authority.not_before = date_time_ymd(2025, 1, 1);
    authority.not_after = date_time_ymd(2125, 1, 1);
    let names = ["localhost", "amazonaws.com", "on.aws"].map(|name| GeneralSubtree::DnsName(name.to_owned()));
    let addresses = [
        CidrSubnet::from_v4_prefix([127, 0, 0, 0], 8),
        CidrSubnet::from_v6_prefix(std::net::Ipv6Addr::LOCALHOST.octets(), 128),
    ];
    let permitted_subtrees = names.into_iter().chain(addresses.map(GeneralSubtree::IpAddress)).collect();
    authority.name_constraints = Some(NameConstraints { permitted_subtrees, excluded_subtrees: Vec::new() });
    authority
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::OrganizationName, "samovar");
    distinguished.push(DnType::CommonName, name);
    distinguished
}

/// The folder of the authority. It is with the user's data and not in a cache: browsers that have been told to accept
/// it would have to be told again.
pub(super) fn folder() -> Option<PathBuf> {
    #[cfg(not(test))]
    return folder_by(&variable);
    // Tests keep it beside their own programs: they write to no folder of their user.
    #[cfg(test)]
    return std::env::current_exe().ok().map(|program| program.with_file_name("samovar-authority"));
}

/// `$XDG_DATA_HOME/samovar/ca`, or `~/.local/share/samovar/ca`.
#[cfg_attr(test, allow(dead_code))]
fn folder_by(variable: &dyn Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let set = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    // The XDG specification says that a relative path is to be ignored.
    let xdg = set("XDG_DATA_HOME").filter(|path| path.is_absolute());
    Some(xdg.or_else(|| Some(set("HOME")?.join(".local/share")))?.join("samovar/ca"))
}

#[cfg(not(test))]
#[allow(clippy::disallowed_methods, reason = "the user's folders are named by the environment")]
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_authority_is_with_the_users_data() {
        let with = |set: &'static [(&str, &str)]| {
            folder_by(&|name| set.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into()))
        };
        assert_eq!(with(&[("XDG_DATA_HOME", "/d"), ("HOME", "/h")]).as_deref(), Some(Path::new("/d/samovar/ca")));
        assert_eq!(
            with(&[("XDG_DATA_HOME", "d"), ("HOME", "/h")]).as_deref(),
            Some(Path::new("/h/.local/share/samovar/ca"))
        );
        assert_eq!(with(&[("XDG_DATA_HOME", ""), ("HOME", "")]), None);
    }
}
