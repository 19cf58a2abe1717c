//! What gives a secret away that nobody told us of, as one of another job is whose result is read: the well-known beginnings of tokens,
//! web tokens, `authorization` headers, passwords and tokens in addresses. Pure.

use std::ops::Range;

/// How what follows a beginning is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// A token: the beginning, then letters, digits, `_` and `-`, twenty at least and one of them a digit.
    Token,
    /// Base64 of `user:token`: the beginning and all of that alphabet that follows.
    Basic,
    /// A web token: three parts with dots between them.
    Web,
    /// `authorization`, then a colon or an equals sign, the scheme, and the secret.
    Header,
    /// `://user:password@host`.
    Address,
    /// A parameter of an address whose name ends so, up to its equals sign: `?private_token=…`.
    Parameter,
}

/// Beginnings, with what they begin.
pub(super) const ALL: &[(&str, Shape)] = &[
    ("ghp_", Shape::Token),
    ("gho_", Shape::Token),
    ("ghu_", Shape::Token),
    ("ghs_", Shape::Token),
    ("ghr_", Shape::Token),
    ("github_pat_", Shape::Token),
    ("glpat-", Shape::Token),
    ("npm_", Shape::Token),
    ("dckr_pat_", Shape::Token),
    ("xoxb-", Shape::Token),
    ("xoxp-", Shape::Token),
    // base64("x-access-token:"), which is what an installation's token goes by.
    ("eC1hY2Nlc3MtdG9rZW46", Shape::Basic),
    ("eyJ", Shape::Web),
    ("uthorization", Shape::Header),
    ("UTHORIZATION", Shape::Header),
    ("://", Shape::Address),
    ("oken=", Shape::Parameter),
    ("ecret=", Shape::Parameter),
    ("ssword=", Shape::Parameter),
    ("ignature=", Shape::Parameter),
    ("sig=", Shape::Parameter),
];

/// So many characters a token has at least, its beginning included.
const TOKEN_CHARS: usize = 20;

impl Shape {
    /// What is to be masked where a beginning stands at `at`.
    pub(super) fn range(self, text: &[u8], at: usize) -> Option<Range<usize>> {
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        let run = |from: usize, is: &dyn Fn(u8) -> bool| text[from..].iter().take_while(|b| is(**b)).count();
        let starts_word = at == 0 || !text[at - 1].is_ascii_alphanumeric();
        match self {
            Self::Token => {
                let long = run(at, &word);
                // A name such as `npm_config_user_agent` has no digit.
                let random = text[at..at + long].iter().skip(4).any(u8::is_ascii_digit);
                (starts_word && random && long >= TOKEN_CHARS).then(|| at..at + long)
            }
            Self::Basic => {
                let base64 = |b: u8| b.is_ascii_alphanumeric() || b"+/=_-".contains(&b);
                Some(at..at + run(at, &base64))
            }
            Self::Web => {
                let head = run(at, &word);
                let body_at = at + head + 1;
                if !starts_word || text.get(at + head) != Some(&b'.') || !text.get(body_at..)?.starts_with(b"eyJ") {
                    return None;
                }
                let body = run(body_at, &word);
                let end = body_at + body;
                let signature = if text.get(end) == Some(&b'.') { 1 + run(end + 1, &word) } else { 0 };
                Some(at..end + signature)
            }
            Self::Header => header(text, at + "uthorization".len()),
            Self::Address => {
                let from = at + 3;
                let long = run(from, &|b| !b.is_ascii_whitespace() && !b"/?#\"'<>`".contains(&b));
                let authority = &text[from..from + long];
                let user = authority.iter().rposition(|b| *b == b'@')?;
                authority[..user].contains(&b':').then(|| from..from + user)
            }
            Self::Parameter => {
                let named = text[..at].iter().rev().take_while(|b| word(**b)).count();
                let begins = at.checked_sub(named + 1).is_some_and(|before| b"?&".contains(&text[before]));
                let from = at + text[at..].iter().position(|b| *b == b'=')? + 1;
                let long = run(from, &|b| b.is_ascii_graphic() && !b"&#\"'<>`".contains(&b));
                (begins && long > 0 && &text[from..from + long] != super::MASK.as_bytes()).then(|| from..from + long)
            }
        }
    }
}

/// The secret of a header whose name ends at `at`.
fn header(text: &[u8], mut at: usize) -> Option<Range<usize>> {
    let skip = |at: usize, what: &[u8]| at + text[at..].iter().take_while(|b| what.contains(b)).count();
    let after = skip(at, b"\"'");
    if !matches!(text.get(after), Some(b':' | b'=')) {
        return None;
    }
    at = skip(after + 1, b" \"'");
    let long = text[at..].iter().take_while(|b| b.is_ascii_alphabetic()).count();
    let scheme = std::str::from_utf8(&text[at..at + long]).ok()?.to_ascii_lowercase();
    if !["basic", "bearer", "token"].contains(&scheme.as_str()) || text.get(at + long) != Some(&b' ') {
        return None;
    }
    let from = skip(at + long, b" ");
    let secret = text[from..].iter().take_while(|b| !b.is_ascii_whitespace() && !b"\"',;`\\".contains(b)).count();
    // What is masked already stays as it is.
    (secret > 0 && &text[from..from + secret] != super::MASK.as_bytes()).then(|| from..from + secret)
}
