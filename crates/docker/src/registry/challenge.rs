//! How a registry says what it wants to see: `www-authenticate` (RFC 9110 §11.6.1; the bearer parameters are distribution's
//! `docs/spec/auth/token.md`). No I/O.

/// What a registry asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// Name and password with each request.
    Basic,
    /// A token that `realm` gives out.
    Bearer {
        /// The token server's URL.
        realm: String,
        /// What the token server calls the registry.
        service: Option<String>,
        /// What the request would have needed.
        scope: Option<String>,
    },
}

/// The challenge among a response's `www-authenticate` values, bearer before basic.
pub(super) fn parse<'a>(values: impl Iterator<Item = &'a str>) -> Option<Challenge> {
    let mut basic = None;
    for value in values {
        let (scheme, rest) = value.trim().split_once(' ').unwrap_or((value.trim(), ""));
        if scheme.eq_ignore_ascii_case("bearer") {
            let found = parameters(rest);
            let get = |name: &str| found.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.clone());
            if let Some(realm) = get("realm") {
                return Some(Challenge::Bearer { realm, service: get("service"), scope: get("scope") });
            }
        } else if scheme.eq_ignore_ascii_case("basic") {
            basic = Some(Challenge::Basic);
        }
    }
    basic
}

/// `key="value",key=token`; commas and escaped quotes may stand inside the quotes.
fn parameters(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((key, after)) = rest.split_once('=') {
        let key = key.trim_matches([' ', ',', '\t']).to_owned();
        let (value, left) = match after.trim_start().strip_prefix('"') {
            Some(quoted) => unquote(quoted),
            None => after.split_once(',').map_or((after.trim().to_owned(), ""), |(value, left)| (value.trim().to_owned(), left)),
        };
        found.push((key, value));
        rest = left;
    }
    found
}

fn unquote(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bearer_parameters_survive_commas_quotes_and_order() {
        let bearer = |realm: &str, service: Option<&str>, scope: Option<&str>| {
            Some(Challenge::Bearer {
                realm: realm.to_owned(),
                service: service.map(str::to_owned),
                scope: scope.map(str::to_owned),
            })
        };
        let cases = [
            (
                r#"Bearer realm="https://auth.example/token",service="r.example",scope="repository:a/b:pull,push""#,
                bearer("https://auth.example/token", Some("r.example"), Some("repository:a/b:pull,push")),
            ),
            (r#"bearer scope="x", realm="https://a/\"t",error="invalid_token""#, bearer("https://a/\"t", None, Some("x"))),
            ("Bearer realm=https://a/t,service=s", bearer("https://a/t", Some("s"), None)),
            (r#"Basic realm="Registry""#, Some(Challenge::Basic)),
            ("Bearer", None),
            ("Negotiate", None),
            (r#"Bearer realm="https://unfinished"#, bearer("https://unfinished", None, None)),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(std::iter::once(text)), expected, "{text}");
        }
        let both = [r#"Basic realm="x""#, r#"Bearer realm="https://a""#];
        assert_eq!(parse(both.into_iter()), bearer("https://a", None, None));
    }
}
