//! What a bake file says of a repository's builds: targets with what they inherit, a target for each value of a matrix, and the defaults of
//! variables. The HCL that such files are written in is read here as far as that goes, by hand: a parser of the whole language is 4 s of
//! processor time in every adopter's first compile. What a function makes is not known, and so is left out.

use super::given;
use super::said::{Said, image, said};
use monoship_core::collect::Collect as _;
use monoship_core::sorted::SortedMap;

/// Values by name: of variables, and of a matrix's row.
type Values = SortedMap<String, String>;

/// A value as a bake file has it.
#[derive(Debug, Clone)]
enum Value {
    /// A string, with `${name}` in it, or a name alone as `${name}`.
    Text(String),
    List(Vec<Value>),
    Map(Fields),
}

type Fields = Vec<(String, Value)>;

/// How far targets inherit from each other, at most: a circle ends.
const DEPTH: usize = 10;

/// The targets of a `docker-bake.json`.
///
/// # Errors
/// The line where it is no JSON.
pub(super) fn json(path: &str, folder: &str, text: &str) -> Result<Vec<Said>, String> {
    let tree: serde_json::Value =
        serde_json::from_str(text).map_err(|error| format!("line {}: this is not JSON", error.line()))?;
    let blocks = |kind: &str| match of_json(&tree[kind]) {
        Some(Value::Map(blocks)) => blocks,
        _ => Vec::new(),
    };
    Ok(targets(path, folder, &blocks("variable"), &blocks("target")))
}

fn of_json(value: &serde_json::Value) -> Option<Value> {
    match value {
        serde_json::Value::String(text) => Some(Value::Text(text.clone())),
        serde_json::Value::Array(items) => Some(Value::List(items.iter().filter_map(of_json).into_vec())),
        serde_json::Value::Object(fields) => {
            Some(Value::Map(fields.iter().filter_map(|(key, value)| Some((key.clone(), of_json(value)?))).into_vec()))
        }
        _ => None,
    }
}

/// The targets of a `docker-bake.hcl`.
///
/// # Errors
/// The line of a block that is not closed.
pub(super) fn hcl(path: &str, folder: &str, text: &str) -> Result<Vec<Said>, String> {
    let (mut variables, mut all) = (Vec::new(), Vec::new());
    let mut reader = Reader { text, at: 0 };
    while let Some(word) = reader.word() {
        let name = reader.label();
        if !reader.takes('{') {
            // `function "…" "…"`, or an attribute of the file.
            reader.value();
            continue;
        }
        let line = text[..reader.at].lines().count();
        let fields = reader.fields().ok_or_else(|| format!("line {line}: this block is not closed"))?;
        match (word, name) {
            ("variable", Some(name)) => variables.push((name, Value::Map(fields))),
            ("target", Some(name)) => all.push((name, Value::Map(fields))),
            _ => {}
        }
    }
    Ok(targets(path, folder, &variables, &all))
}

fn targets(path: &str, folder: &str, variables: &Fields, all: &Fields) -> Vec<Said> {
    let none = Values::new();
    let default = |(name, variable): &(String, Value)| Some((name.clone(), plain(variable.field("default")?, &none)?));
    let defaults: Values = variables.iter().filter_map(default).into_map();
    let mut found = Vec::new();
    for (name, own) in all.iter().filter(|(name, _)| !name.starts_with('_')) {
        let target = inherited(own, all, DEPTH);
        let has = |key: &str| target.field(key).is_some();
        if !["context", "dockerfile", "target", "args", "dockerfile-inline"].into_iter().any(has) || has("dockerfile-inline") {
            continue;
        }
        for row in rows(target.field("matrix"), &defaults) {
            let text = |key: &str| target.field(key).map(|value| plain(value, &row));
            // What is there and cannot be known must not be taken for what bake takes where nothing is there.
            let (Some(context), Some(dockerfile), Some(stage)) =
                (known(text("context")), known(text("dockerfile")), known(text("target")))
            else {
                continue;
            };
            let name = text("name").flatten().unwrap_or_else(|| name.clone());
            let args = target.field("args").map_or(&[][..], Value::fields);
            let args: Vec<(&str, Option<String>)> = args.iter().map(|(key, value)| (key.as_str(), plain(value, &row))).into_vec();
            let context = context.filter(|context| !context.contains("://"));
            let one = said(path, folder, &name, context.as_deref(), dockerfile.as_deref(), stage.as_deref());
            let given = given::of_bake(&Target { fields: &target, row: &row }, folder);
            let tags = given::Source::texts(&Target { fields: &target, row: &row }, "tags");
            let image = tags.first().and_then(|tag| image(tag));
            let whole = |one: Said| Said { given, image, ..one.with(args.iter().map(|(key, value)| (*key, value.as_deref()))) };
            found.extend(one.map(whole));
        }
    }
    found
}

/// A target, with the values that its texts name.
pub(super) struct Target<'a> {
    fields: &'a Value,
    row: &'a Values,
}

impl given::Source for Target<'_> {
    fn texts(&self, key: &str) -> Vec<String> {
        let text = |value: &Value| plain(value, self.row);
        let of = |value: &Value| match value {
            Value::Text(_) => text(value),
            // `{ type = "env", id = "npm", env = "NPM_TOKEN" }`
            Value::Map(fields) => {
                let fields: Option<Vec<String>> =
                    fields.iter().map(|(name, value)| Some(format!("{name}={}", text(value)?))).collect();
                fields.map(|fields| fields.join(","))
            }
            Value::List(_) => None,
        };
        match self.fields.field(key) {
            Some(Value::List(items)) => items.iter().filter_map(of).into_vec(),
            Some(Value::Map(fields)) => {
                fields.iter().filter_map(|(name, value)| Some(format!("{name}={}", text(value)?))).into_vec()
            }
            Some(value) => text(value).into_iter().into_vec(),
            None => Vec::new(),
        }
    }
}

/// `None` where there is a value that is not known.
#[expect(clippy::option_option, reason = "a value that is not there is one thing, one that is not known another")]
fn known(value: Option<Option<String>>) -> Option<Option<String>> {
    match value {
        Some(None) => None,
        Some(known) => Some(known),
        None => Some(None),
    }
}

/// A target with what it inherits: later ones win over earlier ones, its own fields over all.
fn inherited(target: &Value, all: &Fields, depth: usize) -> Value {
    let mut fields: Fields = Vec::new();
    let parents = target.field("inherits").map_or(&[][..], Value::items);
    for parent in parents.iter().filter_map(|parent| plain(parent, &Values::new())).filter(|_| depth > 0) {
        if let Some((_, parent)) = all.iter().find(|(name, _)| *name == parent) {
            inherited(parent, all, depth - 1).fields().iter().for_each(|field| put(&mut fields, field));
        }
    }
    target.fields().iter().for_each(|field| put(&mut fields, field));
    Value::Map(fields)
}

/// Sets a field. Those of a table are added to what is there.
fn put(fields: &mut Fields, (key, value): &(String, Value)) {
    match fields.iter_mut().find(|(there, _)| there == key) {
        Some((key, Value::Map(there))) if ["args", "contexts", "labels"].contains(&key.as_str()) => {
            value.fields().iter().for_each(|field| put(there, field));
        }
        Some((_, there)) => *there = value.clone(),
        None => fields.push((key.clone(), value.clone())),
    }
}

/// A row for each combination of a matrix's values, with the variables' defaults; one where there is no matrix. What an item holds is
/// `name.field`.
fn rows(matrix: Option<&Value>, defaults: &Values) -> Vec<Values> {
    const MOST: usize = 100;
    let mut rows = vec![defaults.clone()];
    for (name, values) in matrix.map_or(&[][..], Value::fields) {
        let items = values.items();
        if items.is_empty() || rows.len() * items.len() > MOST {
            return Vec::new();
        }
        let with = |row: &Values, item: &Value| {
            let own = plain(item, row).map(|value| (name.clone(), value));
            let below = item.fields().iter().filter_map(|(field, value)| Some((format!("{name}.{field}"), plain(value, row)?)));
            row.clone().into_iter().chain(own).chain(below).collect::<Values>()
        };
        rows = rows.iter().flat_map(|row| items.iter().map(move |item| with(row, item))).into_vec();
    }
    rows
}

/// A text with the values of its `${…}`; `None` where one is not known, or it is no text.
fn plain(value: &Value, values: &Values) -> Option<String> {
    let Value::Text(text) = value else { return None };
    let (mut whole, mut rest) = (String::new(), text.as_str());
    while let Some((before, behind)) = rest.split_once("${") {
        let (name, after) = behind.split_once('}')?;
        whole += before;
        whole += values.get(name.trim())?;
        rest = after;
    }
    Some(whole + rest)
}

impl Value {
    fn fields(&self) -> &[(String, Self)] {
        if let Self::Map(fields) = self { fields } else { &[] }
    }

    fn field(&self, key: &str) -> Option<&Self> {
        self.fields().iter().find(|(there, _)| there == key).map(|(_, value)| value)
    }

    fn items(&self) -> &[Self] {
        if let Self::List(items) = self { items } else { &[] }
    }
}

/// Reads HCL from the front.
struct Reader<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Reader<'t> {
    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    /// Passes over blanks, commas and comments.
    fn skip(&mut self) {
        loop {
            let rest = self.rest();
            let blank = rest.len() - rest.trim_start_matches(|c: char| c.is_whitespace() || c == ',').len();
            let comment = match &rest[blank..] {
                rest if rest.starts_with('#') || rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
                rest if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
                _ => 0,
            };
            self.at += blank + comment;
            if comment == 0 {
                return;
            }
        }
    }

    fn takes(&mut self, one: char) -> bool {
        self.skip();
        let there = self.rest().starts_with(one);
        self.at += if there { one.len_utf8() } else { 0 };
        there
    }

    /// A name; whatever else stands there is passed over.
    fn word(&mut self) -> Option<&'t str> {
        loop {
            self.skip();
            let rest = self.rest();
            let is_part = |c: char| c.is_alphanumeric() || "_-.".contains(c);
            match rest.find(|c| !is_part(c)).unwrap_or(rest.len()) {
                0 => self.at += rest.chars().next()?.len_utf8(),
                end => {
                    self.at += end;
                    return Some(&rest[..end]);
                }
            }
        }
    }

    /// A block's name, in quotes.
    fn label(&mut self) -> Option<String> {
        self.skip();
        if self.rest().starts_with('"') { self.quoted() } else { None }
    }

    fn quoted(&mut self) -> Option<String> {
        let mut chars = self.rest().char_indices().skip(1);
        let mut text = String::new();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.at += at + 1;
                    return Some(text);
                }
                '\\' => text.extend(chars.next().map(|(_, c)| c)),
                c => text.push(c),
            }
        }
        None
    }

    /// What stands between braces, the first of which has been read.
    fn fields(&mut self) -> Option<Fields> {
        let mut fields = Vec::new();
        while !self.takes('}') {
            if self.rest().is_empty() {
                return None;
            }
            let key = match self.label() {
                Some(key) => key,
                None => self.word()?.to_owned(),
            };
            if self.takes('=') || self.takes(':') {
                fields.extend(self.value().map(|value| (key, value)));
            } else {
                // A block in the block, such as `validation { … }`.
                let _ = self.label();
                if self.takes('{') {
                    self.fields()?;
                }
            }
        }
        Some(fields)
    }

    /// Goes to the end of an expression: of its line, of its item, or of what it stands in.
    fn pass_over(&mut self) {
        let mut depth = 0_usize;
        while let Some(c) = self.rest().chars().next() {
            match c {
                '"' if self.quoted().is_some() => continue,
                '(' | '[' | '{' => depth += 1,
                '\n' | ',' | ')' | ']' | '}' if depth == 0 => return,
                ')' | ']' | '}' => depth -= 1,
                _ => {}
            }
            self.at += c.len_utf8();
        }
    }

    /// A value; `None` for one that is no text, list or map, which is passed over.
    fn value(&mut self) -> Option<Value> {
        self.skip();
        let start = self.at;
        let value = if self.rest().starts_with('"') {
            self.quoted().map(Value::Text)
        } else if self.takes('{') {
            self.fields().map(Value::Map)
        } else if self.takes('[') {
            let mut items = Vec::new();
            while !self.takes(']') && !self.rest().is_empty() {
                let before = self.at;
                items.extend(self.value());
                if self.at == before {
                    self.at = self.text.len();
                }
            }
            Some(Value::List(items))
        } else {
            let rest = self.rest();
            let end = rest.find(|c: char| !(c.is_alphanumeric() || "_-.".contains(c))).unwrap_or(rest.len());
            self.at += end;
            (end > 0).then(|| Value::Text(format!("${{{}}}", &rest[..end])))
        };
        // What follows makes it an expression: a call, a sum, a choice.
        let line = self.rest().split(['\n', ',', ']', '}']).next().unwrap_or_default();
        let behind = line.split(['#', '/']).next().unwrap_or_default().trim();
        if behind.is_empty() {
            return value;
        }
        self.at = start;
        self.pass_over();
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(found: &[Said]) -> Vec<String> {
        let args = |said: &Said| said.args.iter().map(|(key, value)| format!(" {key}={value}")).collect::<String>();
        found
            .iter()
            .map(|said| {
                let target = said.target.as_deref().unwrap_or("-");
                format!("{} {} {} {target}{}", said.name, said.dockerfile, said.context, args(said))
            })
            .collect()
    }

    #[test]
    fn targets_have_what_they_inherit_and_a_matrix_makes_several() {
        let text = r#"
            # What is built
            variable "ROOT" { default = "." }
            variable "TAG" {
              default = "dev"
              validation { condition = TAG != "" }
            }
            function "tag" { params = [name] result = ["x/${name}"] }
            group "default" { targets = ["web", "svc"] }
            target "_base" {
              context = ROOT        // the root
              args = { NODE = "24", KEPT = "1" }
              platforms = ["linux/amd64", "linux/arm64"]
            }
            target "web" {
              inherits = ["_base"]
              dockerfile = "apps/web/Dockerfile"
              target = "runner"
              args = { NODE = "22" }
              tags = tag("web")
              labels = { "a.b" = "c" }
            }
            target "svc" {
              name = "svc-${item.name}"
              matrix = { item = [{ name = "api", port = "1" }, { name = "jobs", port = "2" }] }
              inherits = ["_base"]
              dockerfile = "apps/${item.name}/Dockerfile"
              args = { PORT = item.port }
            }
            target "unknown" {
              context = notdefined
              dockerfile = "Dockerfile"
            }
            target "inline" { dockerfile-inline = "FROM scratch" }
        "#;
        let found = hcl("docker-bake.hcl", ".", text).unwrap();
        assert_eq!(
            shown(&found),
            [
                "web apps/web/Dockerfile . runner KEPT=1 NODE=22",
                "svc-api apps/api/Dockerfile . - KEPT=1 NODE=24 PORT=1",
                "svc-jobs apps/jobs/Dockerfile . - KEPT=1 NODE=24 PORT=2",
            ]
        );
        let json_text = r#"{"variable": {"ROOT": {"default": "."}}, "target": {"_b": {"context": "${ROOT}"},
            "web": {"inherits": ["_b"], "dockerfile": "web/Dockerfile"}}}"#;
        assert_eq!(shown(&json("docker-bake.json", ".", json_text).unwrap()), ["web web/Dockerfile . -"]);
    }

    #[test]
    fn what_is_no_bake_file_ends_with_its_line_or_says_nothing() {
        assert_eq!(hcl("b", ".", "target \"web\" {\n  context = \".\"\n").unwrap_err(), "line 1: this block is not closed");
        assert!(json("b", ".", "{\n").unwrap_err().starts_with("line "));
        for text in ["", "}", "target", "target \"", "= [", "target \"a\" { x = [", "a = <<E\nE\n", "target \"a\" {}", "[[[["] {
            assert!(hcl("b", ".", text).map_or(true, |found| found.is_empty()), "{text}");
        }
        let circle = "target \"a\" {\n inherits = [\"b\"]\n context = \"x\"\n}\ntarget \"b\" { inherits = [\"a\"] }\n";
        assert_eq!(hcl("b", ".", circle).unwrap().len(), 2);
    }
}
