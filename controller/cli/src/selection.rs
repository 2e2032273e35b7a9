//! `-k`: words, `and`, `or`, `not` and parentheses over the names of scenarios.

use std::iter::Peekable;

use document::Diagnostic;

use crate::codes::usage;

/// A selection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// The name contains this, in lower case.
    Word(String),
    /// Not so.
    Not(Box<Selection>),
    /// Both.
    And(Box<Selection>, Box<Selection>),
    /// At least one.
    Or(Box<Selection>, Box<Selection>),
}

/// Deepest nesting. Chosen: no person reads more; it bounds the stack.
const DEPTH_MAX: usize = 64;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Open,
    Close,
    And,
    Or,
    Not,
    Word(String),
}

impl Selection {
    /// Reads an expression. `not` binds closest, then `and`, then `or`.
    ///
    /// # Errors
    /// C009 with what was expected.
    pub fn parse(text: &str) -> Result<Self, Box<Diagnostic>> {
        let fail = |what: String| {
            Box::new(usage(
                "C009",
                format!("`-k {text}` cannot be read: {what}"),
                "write it like `ffr and not slow`; a name with spaces goes in quotes",
            ))
        };
        let tokens = tokens(text).map_err(fail)?;
        let mut tokens = tokens.into_iter().peekable();
        let selection = any(&mut tokens, 0).map_err(fail)?;
        match tokens.next() {
            None => Ok(selection),
            Some(token) => Err(fail(format!("{} is left over", shown(&token)))),
        }
    }

    /// Whether a name is selected.
    pub fn takes(&self, name: &str) -> bool {
        match self {
            Self::Word(word) => name.to_lowercase().contains(word),
            Self::Not(inner) => !inner.takes(name),
            Self::And(a, b) => a.takes(name) && b.takes(name),
            Self::Or(a, b) => a.takes(name) || b.takes(name),
        }
    }
}

fn shown(token: &Token) -> String {
    match token {
        Token::Open => "`(`".into(),
        Token::Close => "`)`".into(),
        Token::And => "`and`".into(),
        Token::Or => "`or`".into(),
        Token::Not => "`not`".into(),
        Token::Word(word) => format!("`{word}`"),
    }
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            c if c.is_whitespace() => (),
            '(' => tokens.push(Token::Open),
            ')' => tokens.push(Token::Close),
            '"' | '\'' => {
                let mut word = String::new();
                loop {
                    match rest.next() {
                        Some(end) if end == c => break,
                        Some(other) => word.push(other),
                        None => return Err("a quote is not closed".into()),
                    }
                }
                tokens.push(Token::Word(word.to_lowercase()));
            }
            first => {
                let mut word = String::from(first);
                while let Some(next) =
                    rest.next_if(|c| !c.is_whitespace() && !matches!(c, '(' | ')'))
                {
                    word.push(next);
                }
                tokens.push(match word.as_str() {
                    "and" => Token::And,
                    "or" => Token::Or,
                    "not" => Token::Not,
                    _ => Token::Word(word.to_lowercase()),
                });
            }
        }
    }
    Ok(tokens)
}

type Tokens = Peekable<std::vec::IntoIter<Token>>;

fn any(tokens: &mut Tokens, depth: usize) -> Result<Selection, String> {
    let mut left = all(tokens, depth)?;
    while tokens.next_if_eq(&Token::Or).is_some() {
        left = Selection::Or(Box::new(left), Box::new(all(tokens, depth)?));
    }
    Ok(left)
}

fn all(tokens: &mut Tokens, depth: usize) -> Result<Selection, String> {
    let mut left = single(tokens, depth)?;
    while tokens.next_if_eq(&Token::And).is_some() {
        left = Selection::And(Box::new(left), Box::new(single(tokens, depth)?));
    }
    Ok(left)
}

fn single(tokens: &mut Tokens, depth: usize) -> Result<Selection, String> {
    if depth > DEPTH_MAX {
        return Err("it is nested too deeply".into());
    }
    match tokens.next() {
        Some(Token::Not) => Ok(Selection::Not(Box::new(single(tokens, depth + 1)?))),
        Some(Token::Open) => {
            let inner = any(tokens, depth + 1)?;
            match tokens.next() {
                Some(Token::Close) => Ok(inner),
                Some(token) => Err(format!("`)` expected, found {}", shown(&token))),
                None => Err("a parenthesis is not closed".into()),
            }
        }
        Some(Token::Word(word)) => Ok(Selection::Word(word)),
        Some(token) => Err(format!("a word expected, found {}", shown(&token))),
        None => Err("a word expected, found the end".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(expression: &str, name: &str, expected: bool) {
        let selection = Selection::parse(expression).expect("an expression");
        assert_eq!(selection.takes(name), expected, "{expression} on {name}");
    }

    #[test]
    fn words_select_by_substring_and_combine_as_usual() {
        check("ffr", "FFR: 49.5 Hz step", true);
        check("ffr and not step", "FFR: 49.5 Hz step", false);
        check("not ffr or step", "FFR: 49.5 Hz step", true);
        check("not (ffr or step)", "FFR: 49.5 Hz step", false);
        check("'49.5 hz'", "FFR: 49.5 Hz step", true);
        check("a or b and c", "a", true);
        check("(a or b) and c", "a", false);
        check("not not a", "a", true);
    }

    #[test]
    fn what_is_no_expression_is_refused_with_the_reason() {
        for (expression, reason) in [
            ("", "found the end"),
            ("a and", "found the end"),
            ("a b", "`b` is left over"),
            ("(a", "not closed"),
            ("a)", "`)` is left over"),
            ("or a", "found `or`"),
            ("'a", "quote is not closed"),
        ] {
            let fault = Selection::parse(expression).expect_err(expression);
            assert_eq!(fault.code, "C009");
            assert!(fault.message.contains(reason), "{}", fault.message);
        }
        let deep = format!("{}a{}", "(".repeat(10_000), ")".repeat(10_000));
        assert!(Selection::parse(&deep).is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[a-c()'\" ]{0,40}|(and |or |not |\\(|\\)|x ){0,20}") {
            let _ = Selection::parse(&text);
        }
    }
}
