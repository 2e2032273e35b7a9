//! `gridrig ledger prove` and `verify-proof`: a statement that stands alone.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use ledger_core::{Address, Atom, Digest32, Level, UniverseId, hash::from_hex};
use ledger_node::{Asked, ProveError, Selector};
use ledger_proof::{Bundle, Expectation};
use scenario::verdict::Verdict;
use serde_json::{Value, json};

use crate::codes::usage;
use crate::problem::{Outcome, Problem};
use crate::terminal::Terminal;

/// Arguments of `ledger prove`.
#[derive(Debug, Args)]
pub struct Prove {
    /// The run folder.
    run: PathBuf,
    /// The first digits of the atom's id, or `clock:N`.
    atom: String,
    /// Where the proof goes.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// A head that was kept, `SIZE:ROOT`: the proof shows that the log only grew since.
    #[arg(long, value_name = "SIZE:ROOT")]
    since: Option<String>,
    /// Prove all that the atom depends on, too, down to the first cause.
    #[arg(long)]
    with_dependencies: bool,
    /// Write the author's signature for OpenSSL into this folder, too.
    #[arg(long, value_name = "DIR")]
    openssl: Option<PathBuf>,
}

/// Arguments of `ledger verify-proof`.
#[derive(Debug, Args)]
pub struct VerifyProof {
    /// The proof.
    proof: PathBuf,
    /// The genesis configuration that it must be of, kept from elsewhere.
    #[arg(long, value_name = "FILE")]
    universe: PathBuf,
    /// How many replicas must have witnessed: one (l1), one honest (l2), a quorum (l3).
    #[arg(long, value_name = "LEVEL", default_value = "l3", ignore_case = true)]
    level: Asks,
    /// A head that was kept, `SIZE:ROOT`, which the proof must extend.
    #[arg(long, value_name = "SIZE:ROOT")]
    since: Option<String>,
}

/// A level on the command line.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Asks {
    L1,
    L2,
    L3,
}

/// Makes a proof, and verifies it before it is believed.
pub fn prove(arguments: &Prove, terminal: &Terminal) -> Outcome {
    let asked = Asked {
        atom: arguments.atom.parse::<Selector>().map_err(word)?,
        since: arguments.since.as_deref().map(head).transpose()?,
        with_dependencies: arguments.with_dependencies,
    };
    let folders = [arguments.run.clone()];
    let bundle = ledger_node::prove(&folders, &asked).map_err(refused)?;
    let bytes = bundle
        .to_bytes()
        .map_err(|e| refused(ProveError::Schema(e)))?;
    let expected = Expectation {
        level: Level::DurableLocal,
        since: asked.since,
        ..Expectation::of(bundle.universe_id)
    };
    let report = ledger_proof::verify(&bytes, &expected);
    if !report.is_ok() {
        terminal.say(&report);
        return Err(Problem {
            verdict: Verdict::Ledger,
            diagnostics: vec![usage(
                "C015",
                "the ledger does not prove this atom",
                "`gridrig ledger verify` tells all that is wrong with the run",
            )],
        });
    }
    write(&arguments.out, &bytes)?;
    if let Some(folder) = &arguments.openssl {
        for line in for_openssl(&bundle, folder)? {
            terminal.say(line);
        }
    }
    terminal.result(
        || {
            json!({
                "proof": arguments.out, "bytes": bytes.len(), "atom": bundle.subject.to_string(),
                "kind": report.kind, "level": report.level, "atoms": report.atoms,
                "universe_id": report.universe_id,
            })
        },
        || {
            let (atom, level) = (bundle.subject, report.level.unwrap_or("no level"));
            let (out, atoms) = (arguments.out.display(), report.atoms);
            format!(
                "{out}: {atom} at {level}, {atoms} atoms, {} bytes",
                bytes.len()
            )
        },
    );
    Ok(Verdict::Pass)
}

/// Verifies a proof with nothing but the genesis configuration.
pub fn verify(arguments: &VerifyProof, universe: UniverseId, terminal: &Terminal) -> Outcome {
    let bytes = std::fs::read(&arguments.proof).map_err(|e| {
        Problem::usage(usage(
            "C003",
            format!("the proof {}: {e}", arguments.proof.display()),
            "name the file that `gridrig ledger prove` has written",
        ))
    })?;
    let expected = Expectation {
        universe,
        level: match arguments.level {
            Asks::L1 => Level::DurableLocal,
            Asks::L2 => Level::Replicated,
            Asks::L3 => Level::Final,
        },
        since: arguments.since.as_deref().map(head).transpose()?,
    };
    let report = ledger_proof::verify(&bytes, &expected);
    terminal.result(
        || serde_json::to_value(&report).unwrap_or(Value::Null),
        || report.to_string(),
    );
    Ok(match report.is_ok() {
        true => Verdict::Pass,
        false => Verdict::Ledger,
    })
}

impl VerifyProof {
    /// The file of the genesis configuration.
    pub fn universe(&self) -> &Path {
        &self.universe
    }
}

fn word(what: &str) -> Problem {
    let help =
        "`gridrig ledger show RUN` lists clocks and ids, `ledger verify RUN` ends with the root";
    Problem::usage(usage("C001", what, help))
}

/// Reads `SIZE:ROOT`.
fn head(text: &str) -> Result<(u64, Digest32), Problem> {
    let read = || {
        let (size, root) = text.split_once(':')?;
        Some((size.parse().ok()?, from_hex(root)?.try_into().ok()?))
    };
    read().ok_or_else(|| word("a head is a number of entries, `:`, and 64 digits of the root"))
}

fn refused(e: ProveError) -> Problem {
    let help = match &e {
        ProveError::Ledger(e) => return super::unreadable(e),
        ProveError::Ambiguous { .. } => "give more digits",
        ProveError::UnknownHead { .. } => {
            "either the head was kept from another run, or history was rewritten since"
        }
        _ => "`gridrig ledger show RUN` lists the atoms of a run",
    };
    let verdict = match &e {
        // Somebody has kept a head, and the log denies it.
        ProveError::UnknownHead { .. } | ProveError::Incomplete { .. } => Verdict::Ledger,
        _ => Verdict::Config,
    };
    Problem {
        verdict,
        diagnostics: vec![usage("C022", e.to_string(), help)],
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Problem> {
    std::fs::write(path, bytes).map_err(|e| {
        Problem::usage(usage(
            "C003",
            format!("{}: {e}", path.display()),
            "give a place that can be written",
        ))
    })
}

/// Writes what OpenSSL needs to verify the author's signature, and gives the
/// commands for it.
fn for_openssl(bundle: &Bundle, folder: &Path) -> Result<[String; 2], Problem> {
    let subject = bundle.proven.first();
    let read = || {
        let atom = Atom::from_bytes(&subject?.atom, &bundle.universe_id).ok()?;
        let mut sigs = atom.sigs().iter();
        let author = atom.body().author;
        let by_author = |key| Address::of_key(&bundle.universe_id, key) == author;
        let signed = sigs.find(|signed| by_author(&signed.key))?;
        let der = signed.signature.to_der().ok()?;
        Some((atom.signed_preimage(), der, signed.key.to_spki_der()))
    };
    let (preimage, signature, key) = read().ok_or_else(|| {
        refused(ProveError::Absent {
            what: "signed by its author".to_owned(),
        })
    })?;
    std::fs::create_dir_all(folder).map_err(|e| {
        Problem::usage(usage(
            "C003",
            format!("{}: {e}", folder.display()),
            "give a folder that can be made",
        ))
    })?;
    write(&folder.join("atom.preimage"), &preimage)?;
    write(&folder.join("atom.signature"), &signature)?;
    write(&folder.join("author.pem"), pem(&key).as_bytes())?;
    let at = |name: &str| folder.join(name).display().to_string();
    let (key, signature, preimage) = (at("author.pem"), at("atom.signature"), at("atom.preimage"));
    Ok([
        format!("openssl dgst -sha3-256 -verify {key} -signature {signature} {preimage}"),
        format!("openssl dgst -sha3-256 {preimage}   # is the id of the atom"),
    ])
}

/// A public key in the textual encoding of RFC 7468.
fn pem(der: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    /// Groups of four characters in a line of 64.
    const GROUPS_PER_LINE: usize = 16;
    let mut out = String::from("-----BEGIN PUBLIC KEY-----\n");
    for line in der.chunks(3 * GROUPS_PER_LINE) {
        for group in line.chunks(3) {
            let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
            let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
            for at in 0..4u32 {
                out.push(match at as usize <= group.len() {
                    true => char::from(ALPHABET[(bits >> (18 - 6 * at) & 63) as usize]),
                    false => '=',
                });
            }
        }
        out.push('\n');
    }
    // Writing to a text cannot fail.
    let _ = writeln!(out, "-----END PUBLIC KEY-----");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_written_in_base64_as_rfc_4648_shows_it() {
        for (bytes, expected) in [
            ("", ""),
            ("f", "Zg==\n"),
            ("fo", "Zm8=\n"),
            ("foo", "Zm9v\n"),
            ("foobar", "Zm9vYmFy\n"),
        ] {
            let text = pem(bytes.as_bytes());
            let lines = text
                .strip_prefix("-----BEGIN PUBLIC KEY-----\n")
                .and_then(|rest| rest.strip_suffix("-----END PUBLIC KEY-----\n"));
            assert_eq!(lines, Some(expected));
        }
    }

    #[test]
    fn a_kept_head_is_read_whole_or_not_at_all() {
        let root = "ab".repeat(32);
        assert_eq!(head(&format!("12:{root}")).unwrap(), (12, [0xab; 32]));
        for bad in [
            "12",
            "12:",
            &format!(":{root}"),
            &format!("12:{root}0"),
            &format!("-1:{root}"),
        ] {
            assert!(head(bad).is_err(), "{bad}");
        }
    }
}
