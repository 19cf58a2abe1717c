//! The part of JSON Schema (2020-12) that `docs/schemas` is written in: `type`, `properties`, `required`, `additionalProperties`, `items`,
//! `enum`, `const`, `anyOf` and `$ref` into `$defs`. A keyword that is none of these is refused, so that none is passed over.

use serde_json::Value;

use super::repo::here;

/// The schema that `docs/schemas` has for what a command line prints; none where that prints no JSON of ours.
pub fn of_line(line: &str) -> Option<(String, Value)> {
    let words: Vec<&str> = line.split(' ').collect();
    if !words.contains(&"--json") {
        return None;
    }
    let has = |flag: &str| words.contains(&flag);
    let name = match (words.first().copied()?, words.get(1).copied().unwrap_or_default()) {
        ("build", _) | ("cache", "warm") if has("--dry-run") => "build-dry-run",
        ("build" | "release", _) | ("cache", "warm") => "build",
        ("cache", "ls") => "cache-ls",
        ("cache", "prune" | "clear") => "cache-prune",
        ("engine", "status") => "engine-status",
        (verb @ ("plan" | "stats" | "doctor" | "verify" | "prune" | "ci" | "layers"), _) => verb,
        _ => return None,
    };
    let file = here().join(format!("docs/schemas/{name}.json"));
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    Some((name.to_owned(), serde_json::from_str(&text).unwrap()))
}

/// What of a value is not as its schema says, each with its place.
pub fn check(schema: &Value, value: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    at(schema, schema, value, "", &mut wrong);
    wrong
}

fn at(root: &Value, schema: &Value, value: &Value, place: &str, wrong: &mut Vec<String>) {
    for (keyword, said) in schema.as_object().expect("a schema is an object") {
        match keyword.as_str() {
            "$ref" => {
                let pointer = said.as_str().unwrap().trim_start_matches('#');
                at(root, root.pointer(pointer).unwrap_or_else(|| panic!("{said} leads nowhere")), value, place, wrong);
            }
            "type" => {
                let is = match said.as_str().unwrap() {
                    "string" => value.is_string(),
                    "integer" => value.is_i64() || value.is_u64(),
                    "number" => value.is_number(),
                    "boolean" => value.is_boolean(),
                    "array" => value.is_array(),
                    "object" => value.is_object(),
                    "null" => value.is_null(),
                    other => panic!("no type {other}"),
                };
                if !is {
                    wrong.push(format!("{place}: is no {said}: {value}"));
                }
            }
            "const" if said != value => wrong.push(format!("{place}: is not {said}: {value}")),
            "enum" if !said.as_array().unwrap().contains(value) => wrong.push(format!("{place}: is none of {said}: {value}")),
            "$schema" | "$defs" | "title" | "description" | "additionalProperties" | "const" | "enum" => {}
            "anyOf" => {
                let fits = |one: &Value| {
                    let mut wrong = Vec::new();
                    at(root, one, value, place, &mut wrong);
                    wrong.is_empty()
                };
                if !said.as_array().unwrap().iter().any(fits) {
                    wrong.push(format!("{place}: fits none of what it may be: {value}"));
                }
            }
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    at(root, said, item, &format!("{place}/{index}"), wrong);
                }
            }
            "required" => {
                let missing = said.as_array().unwrap().iter().filter(|name| value.get(name.as_str().unwrap()).is_none());
                wrong.extend(missing.map(|name| format!("{place}: {name} is missing")));
            }
            "properties" => {
                for (name, item) in value.as_object().into_iter().flatten() {
                    let inside = format!("{place}/{name}");
                    match (said.get(name), schema.get("additionalProperties")) {
                        (Some(schema), _) => at(root, schema, item, &inside, wrong),
                        (None, Some(Value::Bool(false))) => wrong.push(format!("{inside}: no schema knows it")),
                        (None, _) => {}
                    }
                }
            }
            other => panic!("this check does not know the keyword `{other}`"),
        }
    }
    if let (None, Some(others @ Value::Object(_))) = (schema.get("properties"), schema.get("additionalProperties")) {
        for (name, item) in value.as_object().into_iter().flatten() {
            at(root, others, item, &format!("{place}/{name}"), wrong);
        }
    }
}
