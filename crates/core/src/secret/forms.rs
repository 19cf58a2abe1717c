//! How a secret looks in what others make of it: base64 at any place of a longer text, percent signs, the escapes of JSON, HTML and the
//! shell, hexadecimal digits. Pure.

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE};
use std::fmt::Write as _;

use crate::collect::Collect as _;
use crate::sorted::Order as _;

/// Secrets that are part of another one: the lines of a key, the token of a header, the password of an address or of a Docker
/// configuration.
pub(super) fn parts(secret: &str) -> Vec<String> {
    let mut parts = Vec::new();
    if secret.contains('\n') {
        let lines = secret.lines().map(str::trim).filter(|line| line.len() >= super::LONG && !line.starts_with("-----"));
        parts.extend(lines.map(str::to_owned));
    }
    let lower = secret.to_ascii_lowercase();
    for scheme in ["basic ", "bearer ", "token "] {
        // `authorization: basic …`, or the header's value alone.
        let Some(at) = lower.find(scheme).filter(|at| *at == 0 || lower[..*at].ends_with("authorization: ")) else { continue };
        let value = secret[at + scheme.len()..].trim();
        parts.push(value.to_owned());
        parts.extend(password_of_basic(value));
    }
    parts.extend(password_of_url(secret));
    if let Some((_, rest)) = secret.split_once("://") {
        // A webhook's address is known by its path.
        parts.extend(rest.split_once('/').map(|(_, path)| path.to_owned()).filter(|path| path.len() >= 2 * super::LONG));
    }
    if secret.starts_with('{')
        && let Ok(value) = serde_json::from_str(secret)
    {
        of_json(&value, &mut parts);
    }
    parts
}

/// The password in `base64(user:password)`.
fn password_of_basic(text: &str) -> Option<String> {
    let decoded = String::from_utf8(BASE64_STANDARD.decode(text).ok()?).ok()?;
    decoded.split_once(':').map(|(_, password)| password.trim_end_matches('\0').to_owned())
}

/// What Docker's configuration calls `auth`, `password`, `identitytoken`, and whatever else is named so.
fn of_json(value: &serde_json::Value, parts: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(members) => {
            for (name, value) in members {
                let name = name.to_ascii_lowercase();
                let secret = ["auth", "password", "token", "secret", "key"].iter().any(|word| name.ends_with(word));
                match value.as_str().filter(|_| secret) {
                    Some(text) => {
                        parts.push(text.to_owned());
                        parts.extend(password_of_basic(text));
                    }
                    None => of_json(value, parts),
                }
            }
        }
        serde_json::Value::Array(all) => all.iter().for_each(|value| of_json(value, parts)),
        _ => {}
    }
}

/// The password of `scheme://user:password@host`, as it stands and decoded.
pub(super) fn password_of_url(text: &str) -> Vec<String> {
    let found = || {
        let (_, rest) = text.split_once("://")?;
        let authority = rest.split(['/', '?', '#']).next()?;
        authority.rsplit_once('@')?.0.split_once(':').map(|(_, password)| password)
    };
    let Some(password) = found().filter(|password| !password.is_empty()) else { return Vec::new() };
    let mut all = vec![password.to_owned()];
    all.extend(unescaped(password).filter(|decoded| decoded != password));
    all
}

fn unescaped(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let code = if *first == b'%' { tail.get(..2).and_then(|two| std::str::from_utf8(two).ok()) } else { None };
        if let Some(byte) = code.and_then(|two| u8::from_str_radix(two, 16).ok()) {
            bytes.push(byte);
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}

/// Every form in which a secret is looked for, itself included.
pub(super) fn all(secret: &str) -> Vec<String> {
    let mut forms = vec![secret.to_owned()];
    forms.extend(in_base64(secret.as_bytes()));
    forms.extend(in_percent(secret));
    for json in in_json(secret) {
        // A string of JSON within a string of JSON, as a log within a record is.
        forms.extend(in_json(&json));
        forms.push(json);
    }
    forms.extend(in_html(secret));
    // As `process::quoted` quotes for a shell, and as JSON then quotes that.
    let shell = secret.replace('\'', r"'\''");
    forms.extend(in_json(&shell));
    forms.push(shell);
    let hex = secret.bytes().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    forms.push(hex.to_ascii_uppercase());
    forms.push(hex);
    forms.order();
    forms.dedup();
    forms
}

/// The characters of a base64 text that depend on the secret alone, for each of the three places that it can have in a longer text: so
/// `base64(user:token)` is found without knowing the user.
fn in_base64(secret: &[u8]) -> Vec<String> {
    let mut forms = Vec::new();
    for before in 0..3 {
        let mut padded = vec![0; before];
        padded.extend_from_slice(secret);
        // A character holds six bits: those that share one with what stands before or after are left out.
        let (from, to) = ((before * 8).div_ceil(6), padded.len() * 8 / 6);
        for text in [BASE64_STANDARD.encode(&padded), BASE64_URL_SAFE.encode(&padded)] {
            forms.extend(text.get(from..to).filter(|form| form.len() >= 6).map(str::to_owned));
        }
    }
    forms
}

fn in_percent(secret: &str) -> Vec<String> {
    let mut forms = Vec::new();
    // RFC 3986's unreserved characters; those that may stand in a path or a query; what a form leaves.
    for kept in ["-._~", "-._~!$&'()*+,;=:@", "-._~!$&'()*+,;=:@/?#[]", "-._*", "-_.!~*'()"] {
        for lower in [false, true] {
            let mut text = String::new();
            for byte in secret.bytes() {
                if byte.is_ascii_alphanumeric() || kept.as_bytes().contains(&byte) {
                    text.push(char::from(byte));
                } else if lower {
                    let _ = write!(text, "%{byte:02x}");
                } else {
                    let _ = write!(text, "%{byte:02X}");
                }
            }
            forms.push(text.replace("%20", "+"));
            forms.push(text);
        }
    }
    forms
}

fn in_json(secret: &str) -> Vec<String> {
    let quoted = serde_json::Value::from(secret).to_string();
    let plain = quoted[1..quoted.len() - 1].to_owned();
    let of_go = plain.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026");
    let ascii = plain.chars().fold(String::new(), |mut text, c| {
        if c.is_ascii() {
            text.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(text, "\\u{unit:04x}");
            }
        }
        text
    });
    vec![plain.replace('/', "\\/"), of_go, ascii, plain]
}

fn in_html(secret: &str) -> Vec<String> {
    let text = secret.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let quoted = text.replace('"', "&quot;");
    let apostrophes = ["&#39;", "&#x27;", "&apos;"].map(|code| quoted.replace('\'', code));
    [text, quoted].into_iter().chain(apostrophes).into_vec()
}
