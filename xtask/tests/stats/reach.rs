//! The page for who has no mouse, reads with a screen reader, or looks for one step among hundreds: axe-core's rules, the search and the keys.

use serde::Deserialize;
use serde_json::Value;

use crate::history::{line, root};
use crate::page::record;
use monoship_report::record::Runs;
use support::browser::{Scheme, document};
use support::npm;
use support::repo::xtask;

fn page() -> String {
    let history: String = (0..60).map(line).collect();
    let root = root("127.0.0.1:9", &history);
    let record = record(&Runs::new(&root.path().join("target/xtask")));
    xtask(root.path(), &["stats", "--html", "page.html", "--run", record.id.as_str()]).exits(0);
    std::fs::read_to_string(root.path().join("page.html")).unwrap()
}

/// Runs a script beside the page's own, without the policy that keeps it out, and reads what it leaves in `window.found`.
fn with_script<T: for<'de> Deserialize<'de>>(page: &str, scheme: Scheme, script: &str) -> T {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("page.html");
    let policy = page.lines().find(|line| line.contains("Content-Security-Policy")).unwrap();
    let shown = "(async () => { let found; try { found = await look(); } catch (error) { found = String(error.stack); } \
                 const told = document.createElement('pre'); told.id = 'found'; told.textContent = encodeURIComponent(JSON.stringify(found)); \
                 document.body.append(told); })();";
    let script = format!("<script>{script}\n{shown}</script></body>");
    std::fs::write(&file, page.replace(policy, "").replace("</body>", &script)).unwrap();
    let document = document(&file, scheme);
    let found = document.split("<pre id=\"found\">").nth(1).and_then(|rest| rest.split("</pre>").next()).unwrap_or_default();
    let json = percent_decoded(found);
    serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}: {json}"))
}

fn percent_decoded(text: &str) -> String {
    let mut pieces = text.split('%');
    let mut bytes = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        bytes.push(u8::from_str_radix(&piece[..2], 16).unwrap());
        bytes.extend(&piece.as_bytes()[2..]);
    }
    String::from_utf8(bytes).unwrap()
}

#[test]
fn axe_finds_nothing_serious_in_light_and_in_dark() {
    let (page, axe) = (page(), npm::file("axe-core@4.10.3", "axe.min.js"));
    for scheme in [Scheme::Light, Scheme::Dark] {
        let look = "async function look() { \
                    const { violations, passes } = await axe.run(document, { resultTypes: ['violations'] }); \
                    return { passes: passes.length, violations: violations.map(({ id, impact, nodes }) => \
                    ({ id, impact, first: nodes[0].html, why: nodes[0].failureSummary, count: nodes.length })) }; }";
        let found: Value = with_script(&page, scheme, &format!("{axe}\n{look}"));
        assert!(found["passes"].as_u64().is_some_and(|passes| passes > 10), "{scheme:?}: {found:#}");
        assert_eq!(found["violations"], Value::Array(Vec::new()), "{scheme:?}: {found:#}");
    }
}

/// What is seen after each of a person's moves.
#[derive(Debug, Deserialize, PartialEq)]
struct Seen {
    rows: usize,
    focus: String,
    detail: String,
}

#[test]
fn the_search_and_the_keys_lead_to_a_step() {
    let look = r"
async function look() {
  const seen = [];
  const rows = () => [...document.querySelectorAll('.row:not(.axis), tbody tr')].filter(row => row.offsetParent !== null);
  const say = () => seen.push({ rows: rows().length, focus: (document.activeElement.querySelector('.name') || document.activeElement).textContent,
                                detail: document.querySelector('.detail').textContent });
  const press = key => { document.activeElement.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true })); say(); };
  const input = document.querySelector('input[type=search]');
  const all = rows().length;
  press('/');
  if (document.activeElement !== input) throw new Error('the search is not entered');
  input.value = 'WEB tsc';
  input.dispatchEvent(new Event('input'));
  press('ArrowDown');
  press('ArrowUp');
  press('Escape');
  press('ArrowDown');
  press('ArrowDown');
  press('c');
  press('End');
  if (seen[0].rows !== all || seen[3].rows !== all || all < 10) throw new Error('rows are lost: ' + all);
  return seen;
}";
    let seen: Vec<Seen> = with_script(&page(), Scheme::Light, look);
    let focus: Vec<&str> = seen.iter().map(|seen| seen.focus.as_str()).collect();
    assert_eq!(seen[1].rows, 1, "{seen:#?}");
    assert_eq!(focus[1], "[web-build 1/2] RUN tsc", "{seen:#?}");
    assert_eq!(seen[1].detail, "[web-build 1/2] RUN tsc, 3.2s from 6.0s");
    assert_eq!((focus[2], focus[3]), ("", ""), "back in the search: {seen:#?}");
    assert_eq!((focus[4], focus[5]), ("plan", "[base 2/2] RUN pnpm fetch"), "{seen:#?}");
    assert_eq!(focus[6], "sending the context", "the next that the run waited for: {seen:#?}");
    assert!(focus[7].starts_with("registry"), "the last row: {seen:#?}");
}
