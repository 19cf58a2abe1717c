//! What a parser of JSON or TOML says of a document, in the words that a person uses. Pure.

use crate::collect::Collect as _;

/// serde's names of what belongs somewhere, and ours.
const THINGS: [(&str, &str); 12] = [
    ("a nonzero usize", "a whole number from 1"),
    ("a nonzero u32", "a whole number from 1"),
    ("a sequence", "a list: `[\"…\"]`"),
    ("a map", "a table"),
    ("a string", "a string in quotes"),
    ("a borrowed string", "a string in quotes"),
    ("a boolean", "true or false"),
    ("usize", "a whole number"),
    ("u64", "a whole number"),
    ("u32", "a whole number"),
    ("i64", "a whole number"),
    ("f64", "a number"),
];

/// A parser's message without its place, in plain words.
///
/// ```
/// use monoship_core::fault::words;
///
/// assert_eq!(words("EOF while parsing an object at line 3 column 1"), "it ends inside an object: a `}` is missing");
/// assert_eq!(words("invalid type: string \"four\", expected a sequence"), "expected a list: `[\"…\"]`, found \"four\"");
/// ```
#[must_use]
pub fn words(said: &str) -> String {
    let said = said.rsplit_once(" at line ").map_or(said, |(said, _)| said);
    let said = said.lines().next().unwrap_or(said);
    let plain = match said {
        "EOF while parsing a value" => "it ends where a value is expected",
        "EOF while parsing an object" => "it ends inside an object: a `}` is missing",
        "EOF while parsing a list" => "it ends inside a list: a `]` is missing",
        "EOF while parsing a string" => "it ends inside a string: a `\"` is missing",
        "expected `:`" => "a `:` is missing between a key and its value",
        "expected `,` or `]`" => "expected a `,` or a `]` here",
        "expected `,` or `}`" => "expected a `,` or a `}` here",
        "expected ident" => "`true`, `false` or `null` is misspelled here",
        "expected value" => "expected a value here",
        "key must be a string" => "a key needs double quotes",
        "trailing comma" => "a `,` is not allowed before a closing bracket",
        "trailing characters" => "something follows after the end of the document",
        "control character (\\u0000-\\u001F) found while parsing a string" | "invalid basic string, expected `\"`" => {
            "a string ends with its line: a `\"` is missing"
        }
        "unclosed table, expected `]`" => "a `]` is missing after the section's name",
        "string values must be quoted, expected literal string" => "a string needs quotes",
        "duplicate key" => "this key is set twice",
        "invalid literal string, expected `'`" => "a string ends with its line: a `'` is missing",
        "key with no value, expected `=`" | "missing assignment between key-value pairs, expected `=`" => {
            "a `=` is missing between a key and its value"
        }
        "missing comma between array elements, expected `,`" => "a `,` is missing between the items of a list",
        "missing comma between key-value pairs, expected `,`" => "a `,` is missing between the keys of a table",
        "extra comma in array, expected value" => "a value is missing between two commas",
        "unclosed array, expected `]`" => "a list does not end: a `]` is missing",
        "unclosed inline table, expected `}`" => "a table does not end: a `}` is missing",
        "missing value for key, expected value" | "missing value" => "a value is missing after the `=`",
        _ => "",
    };
    if !plain.is_empty() {
        return plain.to_owned();
    }
    for start in ["invalid type: ", "invalid value: "] {
        if let Some((found, expected)) = said.strip_prefix(start).and_then(|said| said.split_once(", expected ")) {
            let ours = THINGS.iter().find(|(theirs, _)| *theirs == expected).map(|(_, ours)| *ours);
            let ours = ours.unwrap_or_else(|| if expected.starts_with("struct ") { "a table" } else { expected });
            return format!("expected {ours}, found {}", value(found));
        }
    }
    if let Some(name) = said.strip_prefix("missing field ") {
        return format!("{name} is missing");
    }
    if let Some(name) = said.strip_prefix("duplicate field ").or_else(|| said.strip_prefix("duplicate key ")) {
        return format!("{name} is set twice");
    }
    if let Some((value, known)) = said.strip_prefix("unknown variant ").and_then(|said| said.split_once(", expected ")) {
        let known: Vec<String> = known.split('`').skip(1).step_by(2).map(|one| format!("`{one}`")).into_vec();
        return format!("expected one of {}, found {value}", known.join(", "));
    }
    // What a parser of TOML says beside its name for the thing.
    match said.split_once(", expected `") {
        Some((_, sign)) => format!("a `{sign} belongs here"),
        None => said.to_owned(),
    }
}

/// `string "four"` is `"four"`, "integer `0`" is `0`.
fn value(found: &str) -> String {
    match found {
        "map" => return "a table".to_owned(),
        "sequence" => return "a list".to_owned(),
        "unit" => return "nothing".to_owned(),
        _ => {}
    }
    let value =
        found.rsplit_once(" `").map_or_else(|| found.split_once(' ').map_or(found, |(_, value)| value), |(_, value)| value);
    if found.contains(['"', '`']) { value.trim_matches('`').to_owned() } else { found.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_phrase_of_a_parser_is_left_as_it_is() {
        let json = [
            ("", "it ends where a value is expected"),
            ("{\"a\": 1", "it ends inside an object: a `}` is missing"),
            ("[1", "it ends inside a list: a `]` is missing"),
            ("\"a", "it ends inside a string: a `\"` is missing"),
            ("{\"a\" 1}", "a `:` is missing between a key and its value"),
            ("[1 2]", "expected a `,` or a `]` here"),
            ("{\"a\": 1 \"b\": 2}", "expected a `,` or a `}` here"),
            ("tru", "it ends where a value is expected"),
            ("trux", "`true`, `false` or `null` is misspelled here"),
            ("?", "expected a value here"),
            ("{a: 1}", "a key needs double quotes"),
            ("{\"a\": 1,}", "a `,` is not allowed before a closing bracket"),
            ("{} x", "something follows after the end of the document"),
            ("\"a\nb\"", "a string ends with its line: a `\"` is missing"),
        ];
        for (text, expected) in json {
            let error = serde_json::from_str::<serde_json::Value>(text).unwrap_err();
            assert_eq!(words(&error.to_string()), expected, "{text}: {error}");
        }
        assert_eq!(
            words("unknown variant `dokcer`, expected one of `auto`, `docker`"),
            "expected one of `auto`, `docker`, found `dokcer`"
        );
        let typed = |error: serde_json::Error| words(&error.to_string());
        let list = typed(serde_json::from_str::<Vec<String>>("{}").unwrap_err());
        assert_eq!(list, "expected a list: `[\"…\"]`, found a table");
        let text = typed(serde_json::from_str::<String>("[1]").unwrap_err());
        assert_eq!(text, "expected a string in quotes, found a list");
        let number = typed(serde_json::from_str::<u64>("true").unwrap_err());
        assert_eq!(number, "expected a whole number, found true");
        assert_eq!(typed(serde_json::from_str::<bool>("7").unwrap_err()), "expected true or false, found 7");
    }
}
