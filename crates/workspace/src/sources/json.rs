//! TypeScript's settings files as JSON.

use serde_json::Value;

/// Reads JSON with comments and trailing commas, as TypeScript's settings files may be written.
#[must_use]
pub fn with_comments(text: &str) -> Option<Value> {
    // Most have neither.
    if let Ok(value) = serde_json::from_str(text) {
        return Some(value);
    }
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.trim_start_matches('\u{feff}');
    while let Some(c) = rest.chars().next() {
        if c == '"' {
            let end = string_end(rest)?;
            plain.push_str(&rest[..end]);
            rest = &rest[end..];
        } else if let Some(comment) = rest.strip_prefix("//") {
            rest = comment.find('\n').map_or("", |end| &comment[end..]);
        } else if let Some(comment) = rest.strip_prefix("/*") {
            rest = &comment[comment.find("*/")? + 2..];
        } else {
            if matches!(c, '}' | ']') && plain.trim_end().ends_with(',') {
                plain.truncate(plain.trim_end().len() - 1);
            }
            plain.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    serde_json::from_str(&plain).ok()
}

/// The length of the string literal that `text` starts with.
fn string_end(text: &str) -> Option<usize> {
    let mut escaped = true;
    for (at, c) in text.char_indices() {
        match c {
            '"' if !escaped => return Some(at + 1),
            '\\' if !escaped => escaped = true,
            _ => escaped = false,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_with_comments_and_trailing_commas() {
        let text = "// head\n{ /* a */ \"extends\": \"../x\", // \"no\"\n \"u\": \"http://a/*b*/\\\"//\", \"l\": [1, 2,\n], }\n";
        let value = with_comments(text).unwrap();
        assert_eq!(value, serde_json::json!({"extends": "../x", "u": "http://a/*b*/\"//", "l": [1, 2]}));
        assert_eq!(with_comments("{ /* open"), None);
        assert_eq!(with_comments("{ \"open"), None);
    }
}
