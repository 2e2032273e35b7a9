//! Who may do what: four roles, and the file that gives tokens to them.

use std::path::Path;

use document::{Actor, Diagnostic, Document, Source, Table};

use super::secret;

/// What the holder of a token may do; each role may do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Look.
    Observe,
    /// Order in the market for one participant.
    Bid,
    /// Command a bench that is armed, or not: modes, setpoints, services, the lease, disarming.
    Operate,
    /// Allow writing to devices.
    Arm,
}

impl Role {
    /// All of them by their names, the least first.
    pub const NAMES: [(&'static str, Self); 4] = [
        ("observe", Self::Observe),
        ("bid", Self::Bid),
        ("operate", Self::Operate),
        ("arm", Self::Arm),
    ];

    /// Its name in files and answers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Bid => "bid",
            Self::Operate => "operate",
            Self::Arm => "arm",
        }
    }
}

/// Fewest characters of a token that can be reached from other machines.
/// Chosen: 16, which at ten guesses a minute is beyond any guessing.
const CHARS_MIN: usize = 16;
/// Bytes of a token that is made here. Chosen: 24, 192 bits.
const BYTES: usize = 24;

/// A token with its role, and whom it was given to.
#[derive(Clone, PartialEq, Eq)]
struct Token {
    /// Name in the tokens file; none for one of the environment.
    name: Option<String>,
    role: Role,
    /// For whom it may order; a token that may operate orders for everybody.
    participant: Option<String>,
    secret: String,
}

/// The tokens of a bench.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Tokens {
    all: Vec<Token>,
}

impl std::fmt::Debug for Tokens {
    /// Tokens stay out of logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let told = self.all.iter().map(|token| (&token.name, token.role));
        f.debug_list().entries(told).finish()
    }
}

/// Whom a token belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bearer {
    /// What may be done with it.
    pub(super) role: Role,
    /// Whom it was given to.
    pub(super) name: Option<String>,
    /// For whom alone it may order in the market.
    pub(super) participant: Option<String>,
}

impl Bearer {
    /// Whether it may order for this participant.
    pub(super) fn may_order_for(&self, participant: &str) -> bool {
        match self.role {
            Role::Observe => false,
            Role::Bid => self.participant.as_deref() == Some(participant),
            Role::Operate | Role::Arm => true,
        }
    }
}

impl Tokens {
    /// One token that may do everything, if there is one.
    #[must_use]
    pub fn one(secret: Option<String>) -> Self {
        let of = |secret| Token {
            name: None,
            role: Role::Arm,
            participant: None,
            secret,
        };
        Self {
            all: secret.into_iter().map(of).collect(),
        }
    }

    /// Those of a tokens file.
    ///
    /// # Errors
    /// R123 when others can read it, R124 when it cannot be read or says something wrong.
    pub fn read(path: &Path) -> Result<Self, Vec<Diagnostic>> {
        let text = secret::read(path, "the tokens").map_err(|fault| vec![*fault])?;
        let path = path.display().to_string();
        let faults = |faults: Vec<Diagnostic>| faults.into_iter().map(unquoted(&path)).collect();
        let document = Document::parse(Source::new(path.clone(), text))
            .map_err(|fault| faults(vec![*fault]))?;
        let tokens = tokens_of(&document);
        if document.has_errors() {
            return Err(faults(document.into_faults()));
        }
        Ok(tokens)
    }

    /// These and those.
    #[must_use]
    pub fn and(mut self, others: Self) -> Self {
        self.all.extend(others.all);
        self
    }

    /// Whether nobody has one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// What is wrong with any of them, in words that do not tell it.
    pub(super) fn fault(&self, beyond_this_machine: bool) -> Option<&'static str> {
        let wrong = |token: &Token| {
            let secret = &token.secret;
            if secret.trim().is_empty() || !secret.chars().all(|c| c.is_ascii_graphic()) {
                return Some("is empty or has characters that no header carries");
            }
            let short = beyond_this_machine && secret.len() < CHARS_MIN;
            short.then_some("is too short for others to reach it")
        };
        self.all.iter().find_map(wrong)
    }

    /// Whose token this is. It takes as long for a wrong one as for a right one.
    pub(super) fn bearer(&self, given: &str) -> Option<Bearer> {
        let mut found = None;
        for token in &self.all {
            if same(given, &token.secret) {
                found = Some(Bearer {
                    role: token.role,
                    name: token.name.clone(),
                    participant: token.participant.clone(),
                });
            }
        }
        found
    }
}

/// Whether two texts are the same, in a time that does not tell where they differ.
fn same(a: &str, b: &str) -> bool {
    let differing = a.bytes().zip(b.bytes()).fold(0, |d, (a, b)| d | (a ^ b));
    a.len() == b.len() && differing == 0
}

fn tokens_of(document: &Document) -> Tokens {
    let root = document.root();
    let Some(table) = root.table("token") else {
        root.missing::<()>("token", "[token.wall]");
        root.finish();
        return Tokens::default();
    };
    let mut tokens = Tokens::default();
    for name in table.keys() {
        let Some(entry) = table.table(&name.value) else {
            continue;
        };
        if let Some(token) = token(&name.value, &entry) {
            if tokens.all.iter().any(|other| other.secret == token.secret) {
                let what = format!("`token.{}` has the secret of another token", name.value);
                document.error("R124", name.span, what, "", "give each its own");
            }
            tokens.all.push(token);
        }
        entry.finish();
    }
    root.finish();
    tokens
}

fn token(name: &str, entry: &Table<'_>) -> Option<Token> {
    let role = entry.choice("role", &Role::NAMES);
    if !entry.has("role") {
        entry.missing::<()>("role", "\"observe\"");
    }
    let participant = entry.text("participant");
    let secret = entry.required_text("secret", "\"48 hexadecimal digits\"")?;
    let role = role?.value;
    match (role, &participant) {
        (Role::Bid, None) => {
            entry.missing::<()>("participant", "\"plug1\"");
        }
        (Role::Observe | Role::Operate | Role::Arm, Some(one)) => {
            let what = format!("`token.{name}` names a participant, and its role is not `bid`");
            let help = "only a token with the role `bid` is for one participant of the market";
            (entry.document()).error("R124", one.span.clone(), what, "", help);
        }
        _ => {}
    }
    let token = Token {
        name: Some(name.to_owned()),
        role,
        participant: participant.map(|one| one.value),
        secret: secret.value,
    };
    let alone = Tokens {
        all: vec![token.clone()],
    };
    if let Some(why) = alone.fault(true) {
        let what = format!("the secret of `token.{name}` {why}");
        let help = "16 or more letters and digits, such as `openssl rand -hex 24` prints";
        entry.document().error("R124", secret.span, what, "", help);
    }
    Some(token)
}

/// A fault with its line, but without the text of it, which may be a secret.
fn unquoted(path: &str) -> impl Fn(Diagnostic) -> Diagnostic {
    move |fault| {
        let line = fault.place.as_ref().map(|place| place.line_and_column().0);
        let line = line.map_or_else(String::new, |line| format!(":{line}"));
        let message = format!("the tokens file {path}{line}: {}", fault.message);
        let told = Diagnostic::error("R124", Actor::Operator, message);
        match fault.help {
            Some(help) => told.help(help),
            None => told,
        }
    }
}

/// A token of a tokens file as text, with a secret that is drawn now.
fn drawn(name: &str, role: Role, participant: Option<&str>) -> std::io::Result<String> {
    let secret = secret::drawn::<BYTES>()?;
    let role = role.name();
    let participant =
        participant.map_or_else(String::new, |one| format!("participant = \"{one}\"\n"));
    Ok(format!(
        "\n[token.{name}]\nrole   = \"{role}\"\n{participant}secret = \"{secret}\"\n"
    ))
}

/// The text of a new tokens file: one token for each role, that of `bid` for each of these participants.
///
/// # Errors
/// What the system says when it gives no entropy.
pub(super) fn fresh(bidders: &[String]) -> std::io::Result<String> {
    let mut text = String::from(
        "# Who may do what on this bench. Keep the mode 0600: whoever reads this may arm it.\n\
         # observe: look.  bid: also order in the market, for its `participant` alone.\n\
         # operate: also modes, setpoints, services, orders of everybody, the lease, disarming.\n\
         # arm: also allow writing to devices.  `safe` needs no token at all.\n\
         # Add one for each person or screen, and take out what shall not work any more;\n\
         # a run reads this file when it starts.\n",
    );
    for (name, role) in Role::NAMES {
        if role != Role::Bid {
            text.push_str(&drawn(name, role, None)?);
        }
    }
    for bidder in bidders {
        let name = format!("bid-{bidder}");
        text.push_str(&drawn(&name, Role::Bid, Some(bidder))?);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Tokens, Vec<Diagnostic>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.toml");
        secret::write_new(&path, text, secret::MODE).unwrap();
        Tokens::read(&path)
    }

    #[test]
    fn a_new_tokens_file_has_one_token_for_each_role_and_no_two_alike() {
        let tokens = read(&fresh(&["plug1".into(), "east_2".into()]).unwrap()).unwrap();
        let roles: Vec<(Role, Option<&str>)> = (tokens.all.iter())
            .map(|token| (token.role, token.participant.as_deref()))
            .collect();
        assert_eq!(
            roles,
            [
                (Role::Observe, None),
                (Role::Operate, None),
                (Role::Arm, None),
                (Role::Bid, Some("plug1")),
                (Role::Bid, Some("east_2")),
            ]
        );
        assert!(
            tokens
                .all
                .iter()
                .all(|token| token.secret.len() == 2 * BYTES)
        );
        for token in &tokens.all {
            let bearer = tokens.bearer(&token.secret).unwrap();
            assert_eq!((bearer.role, bearer.name), (token.role, token.name.clone()));
            assert_eq!(tokens.bearer(&token.secret[1..]), None);
            assert!(!format!("{tokens:?}").contains(&token.secret));
        }
    }

    #[test]
    fn a_tokens_file_with_a_fault_is_refused_with_its_line_and_without_its_secrets() {
        let secret = "0123456789abcdef-secret";
        let entry = format!("[token.ann]\nrole = \"arm\"\nsecret = \"{secret}\"\n");
        assert!(read(&entry).is_ok());
        for (text, line, words) in [
            (String::new(), "", "token"),
            (entry.replace("\"arm\"", "\"chief\""), ":2", "chief"),
            (entry.replace("role = \"arm\"\n", ""), ":1", "role"),
            (entry.replace(secret, "short-secret"), ":3", "too short"),
            (
                entry.replace(secret, "päss-word-of-the-bench"),
                ":3",
                "characters",
            ),
            (format!("{entry}expires = \"1h\"\n"), ":4", "expires"),
            (entry.replace("\"arm\"", "\"bid\""), ":1", "participant"),
            (format!("{entry}participant = \"plug1\"\n"), ":4", "`bid`"),
            (
                format!("{entry}{}", entry.replace("ann", "bob")),
                ":4",
                "another token",
            ),
            (format!("{entry}secret = \"{secret}\n"), "", ""),
        ] {
            let faults = read(&text).unwrap_err();
            let told: Vec<String> = faults.iter().map(ToString::to_string).collect();
            let told = told.join("\n");
            assert!(faults.iter().all(|f| f.code == "R124" && f.place.is_none()));
            assert!(
                told.contains(&format!("tokens.toml{line}")),
                "{text}: {told}"
            );
            assert!(told.contains(words), "{text}: {told}");
            assert!(!told.contains("secret\""), "{told}");
        }
    }
}
