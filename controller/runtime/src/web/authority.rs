//! The keys of a bench, made once: an authority of its own, a certificate for this machine, tokens.
//!
//! Whatever is there stays as it is. So whoever wants a new certificate takes the old one away and
//! asks again: the authority, whom browsers and callers trust already, signs it. What is made here is
//! read by `super::tls` and `super::tokens`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use document::{Actor, Diagnostic};
use model::UtcTime;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::ServerName;
use sha3::{Digest as _, Sha3_256};

use super::{secret, tokens};

/// Certificate of the authority: for browsers and callers.
pub const CA_FILE: &str = "ca.pem";
/// Key of the authority: signs the next certificate.
pub const CA_KEY_FILE: &str = "ca.key";
/// Certificate of the page.
pub const SERVER_FILE: &str = "server.pem";
/// Key of the page.
pub const SERVER_KEY_FILE: &str = "server.key";
/// Who may do what.
pub const TOKENS_FILE: &str = "tokens.toml";

const DAY: Duration = Duration::from_secs(24 * 3600);
/// How long the page's certificate holds. Source: Apple's limit for authorities that a user adds,
/// the shortest of the browsers' (support.apple.com/103769).
const SERVER_DAYS: u32 = 825;
/// How long the authority holds. Chosen: ten years, longer than a bench stays as it is.
const CA_DAYS: u32 = 3650;
/// Clocks of callers may be behind. Chosen: a day.
const BEFORE: Duration = DAY;

/// Permissions of a certificate, which everybody may read.
const PUBLIC: u32 = 0o644;

/// A file of the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Where it is.
    pub path: PathBuf,
    /// Whether it was made now; otherwise it was there.
    pub is_new: bool,
}

/// Makes what is missing in a folder of keys. `names` are the names and addresses under which the
/// page is reached; they go into the certificate, if one is made. Each of the `bidders`, participants
/// of a market that order from outside, has a token in the tokens file, if that is made.
///
/// # Errors
/// R127 when the folder or a file cannot be written, a name is none, or what is there cannot be
/// completed.
pub fn init(
    folder: &Path,
    names: &[String],
    bidders: &[String],
    now: UtcTime,
) -> Result<Vec<Piece>, Box<Diagnostic>> {
    // What stands in the file's tables without quotes.
    let is_plain = |name: &str| {
        let mut bytes = name.bytes();
        !name.is_empty() && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    if let Some(bidder) = bidders.iter().find(|name| !is_plain(name)) {
        let what = format!("`{bidder}` is no name of a participant");
        return Err(Box::new(
            fault(what).help("letters, digits, `-` and `_`, as in the rig"),
        ));
    }
    for name in names {
        let parsed = ServerName::try_from(name.as_str());
        parsed.map_err(|_| {
            fault(format!(
                "`{name}` is neither the name nor the address of a host"
            ))
            .help("such as `bench.lab` or `10.1.0.5`")
        })?;
    }
    let mut builder = std::fs::DirBuilder::new();
    builder
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|e| {
            fault(format!(
                "the folder {} cannot be made: {e}",
                folder.display()
            ))
        })?;
    let mut making = Making {
        folder,
        pieces: Vec::new(),
    };
    let begins = rcgen::date_time_ymd(1970, 1, 1) + since_1970(now).saturating_sub(BEFORE);
    making.refuse_half(SERVER_FILE, SERVER_KEY_FILE)?;
    if making.has(SERVER_FILE) {
        // The authority may be somebody else's, or be kept elsewhere.
        for name in [CA_KEY_FILE, CA_FILE, SERVER_KEY_FILE, SERVER_FILE] {
            if making.has(name) {
                making.keep(name);
            }
        }
    } else {
        making.refuse_half(CA_FILE, CA_KEY_FILE)?;
        let ca_key = making.key(CA_KEY_FILE)?;
        let mut ca = authority(&ca_key);
        (ca.not_before, ca.not_after) = (begins, begins + DAY * CA_DAYS);
        making.certificate(CA_FILE, || ca.self_signed(&ca_key))?;
        let server_key = making.key(SERVER_KEY_FILE)?;
        let mut server = certificate(names)?;
        (server.not_before, server.not_after) = (begins, begins + DAY * SERVER_DAYS);
        let issuer = Issuer::from_params(&ca, &ca_key);
        // The last, so that a folder that was left half made is completed the next time.
        making.certificate(SERVER_FILE, || server.signed_by(&server_key, &issuer))?;
    }
    if making.has(TOKENS_FILE) {
        if let Some(bidder) = bidders.first() {
            let what = format!("{TOKENS_FILE} is there already, so `{bidder}` gets no token");
            let help = "add `[token.NAME]` with `role = \"bid\"`, its `participant` and a `secret` by hand";
            return Err(Box::new(fault(what).help(help)));
        }
        making.keep(TOKENS_FILE);
    } else {
        let text =
            tokens::fresh(bidders).map_err(|e| fault(format!("no token can be drawn: {e}")))?;
        making.write(TOKENS_FILE, &text, secret::MODE)?;
    }
    Ok(making.pieces)
}

/// The names and addresses of this machine, as far as the system tells them: its host name, loopback,
/// and every address of its network cards that others can route to.
#[must_use]
pub fn names_of_this_machine() -> Vec<String> {
    let told = |path| std::fs::read_to_string(path).unwrap_or_default();
    let host = told("/proc/sys/kernel/hostname");
    let mut names = vec![host.trim().to_owned(), "localhost".to_owned()];
    names.retain(|name| ServerName::try_from(name.as_str()).is_ok());
    let v4 = addresses_v4(&told("/proc/net/fib_trie"));
    let v6 = addresses_v6(&told("/proc/net/if_inet6"));
    let mut addresses = vec![
        IpAddr::from(Ipv4Addr::LOCALHOST),
        IpAddr::from(Ipv6Addr::LOCALHOST),
    ];
    addresses.extend(v4.into_iter().map(IpAddr::from));
    addresses.extend(v6.into_iter().map(IpAddr::from));
    for address in addresses {
        let name = address.to_string();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// This machine's addresses in the kernel's routing table: the leaf before each `/32 host LOCAL`.
fn addresses_v4(fib_trie: &str) -> Vec<Ipv4Addr> {
    let mut leaf = None;
    let mut found = Vec::new();
    for line in fib_trie.lines() {
        if let Some(address) = line.trim().strip_prefix("|-- ") {
            leaf = address.parse::<Ipv4Addr>().ok();
        } else if line.trim() == "/32 host LOCAL" {
            found.extend(leaf.filter(|ip| !ip.is_loopback() && !found.contains(ip)));
        }
    }
    found
}

/// The addresses of the kernel's list of interfaces, without those of one link only.
fn addresses_v6(if_inet6: &str) -> Vec<Ipv6Addr> {
    let of = |line: &str| {
        let bits = u128::from_str_radix(line.split_whitespace().next()?, 16).ok()?;
        Some(Ipv6Addr::from_bits(bits))
    };
    let all = if_inet6.lines().filter_map(of);
    all.filter(|ip| !ip.is_loopback() && !ip.is_unicast_link_local())
        .collect()
}

fn since_1970(now: UtcTime) -> Duration {
    Duration::from_nanos(u64::try_from(now.unix_nanos()).unwrap_or(0))
}

fn fault(message: String) -> Diagnostic {
    Diagnostic::error("R127", Actor::Operator, message)
}

/// The authority that belongs to a key: the same for the same key, whenever it is asked for.
fn authority(key: &KeyPair) -> CertificateParams {
    let digest = Sha3_256::digest(key.public_key_raw());
    let id: String = digest.iter().take(4).map(|b| format!("{b:02x}")).collect();
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, format!("gridrig bench authority {id}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn certificate(names: &[String]) -> Result<CertificateParams, Box<Diagnostic>> {
    let mut params = CertificateParams::new(names.to_vec())
        .map_err(|e| fault(format!("no certificate for {}: {e}", names.join(", "))))?;
    let first = names.first().map_or("gridrig", String::as_str);
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, first);
    params.is_ca = IsCa::ExplicitNoCa;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(params)
}

/// A folder of keys while it is completed.
struct Making<'a> {
    folder: &'a Path,
    pieces: Vec<Piece>,
}

impl Making<'_> {
    fn has(&self, name: &str) -> bool {
        self.folder.join(name).exists()
    }

    fn keep(&mut self, name: &str) {
        let path = self.folder.join(name);
        self.pieces.push(Piece {
            path,
            is_new: false,
        });
    }

    fn write(&mut self, name: &str, text: &str, mode: u32) -> Result<(), Box<Diagnostic>> {
        let path = self.folder.join(name);
        secret::write_new(&path, text, mode).map_err(|e| {
            fault(format!(
                "the file {} cannot be written: {e}",
                path.display()
            ))
        })?;
        self.pieces.push(Piece { path, is_new: true });
        Ok(())
    }

    /// A certificate without its key is of no use here, and is nobody's to overwrite.
    fn refuse_half(&self, certificate: &str, key: &str) -> Result<(), Box<Diagnostic>> {
        if !self.has(certificate) || self.has(key) {
            return Ok(());
        }
        let folder = self.folder.display();
        let what = format!("the folder {folder} has {certificate}, but not its key {key}");
        let help = format!(
            "bring {key} back; or move {certificate} away, and everything that it has signed, and have all made anew"
        );
        Err(Box::new(fault(what).help(help)))
    }

    /// The key in a file, which is made if it is missing.
    fn key(&mut self, name: &str) -> Result<KeyPair, Box<Diagnostic>> {
        let path = self.folder.join(name);
        if self.has(name) {
            let text = secret::read(&path, "the key")?;
            self.keep(name);
            let key = KeyPair::from_pem(&text);
            return key.map_err(|e| {
                let what = format!(
                    "the key {} is not one of `gridrig init`: {e}",
                    path.display()
                );
                Box::new(fault(what).help("move it away, or give another folder"))
            });
        }
        let key = KeyPair::generate().map_err(|e| fault(format!("no key can be made: {e}")))?;
        self.write(name, &key.serialize_pem(), secret::MODE)?;
        Ok(key)
    }

    fn certificate(
        &mut self,
        name: &str,
        make: impl FnOnce() -> Result<Certificate, rcgen::Error>,
    ) -> Result<(), Box<Diagnostic>> {
        if self.has(name) {
            self.keep(name);
            return Ok(());
        }
        let made = make().map_err(|e| fault(format!("{name} cannot be signed: {e}")))?;
        self.write(name, &made.pem(), PUBLIC)
    }
}

#[cfg(test)]
pub(in crate::web) mod tests;
