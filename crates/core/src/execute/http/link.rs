//! Where a listing goes on: `Link` headers (RFC 8288). GitHub's and every registry's are read here.

use super::Head;

impl Head {
    /// Where a listing goes on: the target of `rel="next"` among the `Link` headers, as it is written there, which may be relative.
    #[must_use]
    pub fn next_page(&self) -> Option<&str> {
        self.headers("link").find_map(next)
    }
}

fn next(value: &str) -> Option<&str> {
    let mut rest = value;
    // Commas stand in targets and in quoted parameters too, so links are taken off one by one.
    while let Some((_, link)) = rest.split_once('<') {
        let (target, after) = link.split_once('>')?;
        let end = end_of_link(after);
        if after[..end].split(';').skip(1).any(is_next) {
            return Some(target);
        }
        rest = &after[end..];
    }
    None
}

/// The comma that ends a link's parameters, outside of quotes.
fn end_of_link(parameters: &str) -> usize {
    let mut quoted = false;
    let comma = parameters.bytes().position(|byte| {
        quoted ^= byte == b'"';
        byte == b',' && !quoted
    });
    comma.unwrap_or(parameters.len())
}

/// `rel="next"`, `rel=next`, or `next` among several relations.
fn is_next(parameter: &str) -> bool {
    let Some((name, value)) = parameter.split_once('=') else { return false };
    name.trim().eq_ignore_ascii_case("rel")
        && value.trim().trim_matches('"').split_ascii_whitespace().any(|relation| relation.eq_ignore_ascii_case("next"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_the_one_named_so() {
        let cases = [
            // GitHub.
            (
                r#"<https://h/x?page=1>; rel="prev", <https://h/x?page=3>; title="a, b"; rel="next", <https://h/x?page=9>; rel="last""#,
                Some("https://h/x?page=3"),
            ),
            // distribution; ECR, Harbor and Quay differ in spaces, quotes and case.
            (r#"</v2/a/tags/list?last=b&n=2>; rel="next""#, Some("/v2/a/tags/list?last=b&n=2")),
            ("</v2/a/tags/list?last=b>;rel=next", Some("/v2/a/tags/list?last=b")),
            (r#"<?next_page=x,y>; REL="Next last""#, Some("?next_page=x,y")),
            (r#"<https://h/x?page=1>; rel="prev""#, None),
            (r#"<https://h/x>; title="rel=next""#, None),
            ("<unfinished", None),
            ("", None),
        ];
        for (link, expected) in cases {
            assert_eq!(next(link), expected, "{link}");
        }
    }
}
