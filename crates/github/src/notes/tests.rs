//! The notes' section, and bodies that try to lose a line.

use super::*;

/// The markers of a workspace at the root.
const BEGIN: &str = "<!-- xtask:images:begin -->";
const END: &str = "<!-- xtask:images:end -->";

fn notes() -> ReleaseNotes {
    let digest = |byte: u8| Digest::of(&[byte]);
    let platform = |name: &str, byte, bytes| PlatformNote {
        platform: name.parse().unwrap(),
        digest: Some(digest(byte)),
        bytes: Some(bytes),
    };
    let image = |name: &str, byte, platforms, change| ImageNote {
        service: name.parse().unwrap(),
        image: format!("ghcr.io/org/repo/{name}").parse().unwrap(),
        digest: Some(digest(byte)),
        platforms,
        change,
    };
    ReleaseNotes {
        tag: "v1.2.3".parse().unwrap(),
        folder: None,
        image_tag: "v1.2.3".parse().unwrap(),
        images: vec![
            image("api", 1, vec![platform("linux/amd64", 3, 45_123_456)], Some(Change::Unchanged)),
            image(
                "web",
                2,
                vec![platform("linux/amd64", 4, 1), platform("linux/arm64", 5, 99_950_000)],
                Some(Change::Rebuilt(Some("@org/ui changed\n<!-- x -->".into()))),
            ),
        ],
        previous: Some("v1.2.2".parse().unwrap()),
        details: Some("https://github.com/org/repo/actions/runs/1".into()),
    }
}

fn merged(body: &str) -> String {
    merge(body, &notes()).unwrap().body
}

#[test]
fn the_section_reads_as_the_reference_has_it() {
    let section = notes().section(Form::Short);
    let (one, two) = (Digest::of(&[1]), Digest::of(&[2]));
    let expected = format!(
        "<!-- xtask:images:begin -->
## 🐳 Docker Images

### 📦 api
```bash
# Pull by version tag
docker pull ghcr.io/org/repo/api:v1.2.3

# Pull by digest (immutable)
docker pull ghcr.io/org/repo/api@{one}
```

**Image Digest:** `{one}`

### 📦 web
```bash
# Pull by version tag
docker pull ghcr.io/org/repo/web:v1.2.3

# Pull by digest (immutable)
docker pull ghcr.io/org/repo/web@{two}
```

**Image Digest:** `{two}`

### 🔏 Verify
```bash
cargo xtask verify v1.2.3
```

<!-- xtask:images:end -->"
    );
    assert_eq!(section, expected);
}

#[test]
fn platforms_sizes_and_changes_follow_each_digest() {
    let section = notes().section(Form::Full);
    let (one, four, five) = (Digest::of(&[1]), Digest::of(&[4]), Digest::of(&[5]));
    let api = format!(
        "**Image Digest:** `{one}`\n\n**Platform:** `linux/amd64` (45.1 MB)\n\n**Change since v1.2.2:** unchanged\n\n###"
    );
    assert!(section.contains(&api), "{section}");
    let web = format!("**Platforms:**\n- `linux/amd64` `{four}` (1 B)\n- `linux/arm64` `{five}` (100 MB)\n\n");
    assert!(section.contains(&web), "{section}");
    assert!(section.contains("rebuilt: @<!-- -->org/ui changed &lt;!-- x --&gt;\n"), "{section}");
}

#[test]
fn the_section_goes_to_the_end_and_is_renewed_in_place() {
    let section = notes().section(Form::Full);
    assert_eq!(merged(""), section);
    assert_eq!(merged("Hello"), format!("Hello\n\n{section}\n"));
    assert_eq!(merged("Hello\n"), format!("Hello\n\n{section}\n"));
    assert_eq!(merged("Hello\n\n"), format!("Hello\n\n{section}\n"));
    let stale = format!("top\n{BEGIN}\nstale\n{END}\nbottom \t");
    assert_eq!(merged(&stale), format!("top\n{section}\nbottom \t"));
}

#[test]
fn a_crlf_body_gets_a_crlf_section_and_keeps_its_bytes() {
    let section = notes().section(Form::Full).replace('\n', "\r\n");
    assert_eq!(merged("A 🎉\r\nB\r\n"), format!("A 🎉\r\nB\r\n\r\n{section}\r\n"));
    // Edited in the web form, which sends CRLF for the whole body: still nothing to write.
    assert_eq!(merged(&section), section);
    let mixed = format!("A\r\nB\nC\r\n{BEGIN}\nx\n{END}\r\nD\r\n");
    assert_eq!(merged(&mixed), format!("A\r\nB\nC\r\n{section}\r\nD\r\n"));
}

#[test]
fn markers_inside_code_are_not_markers() {
    for code in [
        format!("```\n{BEGIN}\nmine\n{END}\n```\n"),
        format!("~~~~ md\n```\n{BEGIN}\n~~~\n{END}\n~~~~\n"),
        format!("   ```html\n{BEGIN}\n{END}\n   ```\n"),
        format!("    {BEGIN}\n    {END}\n"),
        format!("> {BEGIN}\n> {END}\n"),
        format!("say `{BEGIN}` and `{END}`\n"),
    ] {
        let expected = format!("{code}\n{}\n", notes().section(Form::Full));
        assert_eq!(merged(&code), expected);
        assert_eq!(merged(&expected), expected, "{code}");
    }
    // A code span that looks like a fence opens nothing.
    let span = format!("```not a `fence` \n{BEGIN}\nold\n{END}\n");
    assert!(!merged(&span).contains("old"));
}

#[test]
fn a_body_that_ends_in_an_open_fence_gets_the_section_in_front() {
    let body = "text\n```\ncode without an end\n";
    let expected = format!("{}\n\n{body}", notes().section(Form::Full));
    assert_eq!(merged(body), expected);
    assert_eq!(merged(&expected), expected);
}

#[test]
fn broken_markers_lose_no_hand_written_text() {
    let section = notes().section(Form::Full);
    let check = |body: &str, expected: String, warned: &str| {
        let made = merge(body, &notes()).unwrap();
        assert_eq!(made.body, expected);
        assert!(made.warnings.iter().any(|w| w.contains(warned)) || warned.is_empty(), "{:?}", made.warnings);
        assert_eq!(made.warnings.is_empty(), warned.is_empty(), "{:?}", made.warnings);
        assert_eq!(merged(&expected), expected, "{body}");
    };
    check(&format!("a\n{BEGIN}\nold\nmine\n"), format!("a\n{section}\nold\nmine\n"), "missing");
    check(&format!("a\n{END}\nmine\n"), format!("a\n{END}\nmine\n\n{section}\n"), "");
    check(&format!("{END}\nmine\n{BEGIN}\n"), format!("{END}\nmine\n{section}\n"), "missing");
    check(&format!("{BEGIN}\nmine\n{BEGIN}\nold\n{END}\nb"), format!("{BEGIN}\nmine\n{section}\nb"), "");
    check(&format!("{BEGIN}\nold\n{END}\nmine\n{END}\n"), format!("{section}\nmine\n{END}\n"), "");
    let pair = format!("{BEGIN}\nold\n{END}\n");
    check(&format!("{pair}a\n{pair}b\n"), format!("{section}\na\n{pair}b\n"), "more than one");
}

#[test]
fn near_the_limit_our_section_is_shortened_and_never_the_text() {
    let room = |form: Form| BODY_LIMIT - notes().section(form).chars().count();
    // 🎉 is one character and four bytes: GitHub counts characters.
    for (form, next) in [(Form::Full, Form::Short), (Form::Short, Form::List), (Form::List, Form::Pointer)] {
        let text = |extra: usize| "🎉".repeat(room(form) - 3 + extra);
        let fits = merge(&text(0), &notes()).unwrap();
        assert_eq!((fits.form, fits.body.chars().count()), (form, BODY_LIMIT));
        let over = merge(&text(1), &notes()).unwrap();
        assert_eq!((over.form, over.body.starts_with(&text(1)), over.warnings.len()), (next, true, 1));
        assert_eq!(merged(&over.body), over.body);
    }
    let full = "x".repeat(BODY_LIMIT - 10);
    let error = merge(&full, &notes()).unwrap_err();
    assert!(error.to_string().contains("no room"), "{error}");
}

#[test]
fn digests_are_read_back_from_every_form_but_the_pointer() {
    let expected = SortedMap::from([("api".parse().unwrap(), Digest::of(&[1])), ("web".parse().unwrap(), Digest::of(&[2]))]);
    for form in [Form::Full, Form::Short, Form::List] {
        let body = format!("intro\r\n{}\r\n", notes().section(form).replace('\n', "\r\n"));
        assert_eq!(digests(&body, &Markers::of(None)), expected, "{form:?}");
        let pulls = &listed(&body, &Markers::of(None))[&"api".parse().unwrap()].pulls;
        let by_digest = format!("ghcr.io/org/repo/api@{}", Digest::of(&[1]));
        let by_tag = (form != Form::List).then(|| "ghcr.io/org/repo/api:v1.2.3".to_owned());
        assert_eq!(*pulls, by_tag.into_iter().chain([by_digest]).collect::<Vec<_>>(), "{form:?}");
    }
    assert!(digests(&notes().section(Form::Pointer), &Markers::of(None)).is_empty());
    assert!(digests("### 📦 api\n**Image Digest:** `sha256:1`\n", &Markers::of(None)).is_empty());
    let api: ServiceName = "api".parse().unwrap();
    assert_eq!(change_since(&expected, &api, Some(&Digest::of(&[1]))), Change::Unchanged);
    assert_eq!(change_since(&expected, &api, Some(&Digest::of(&[9]))), Change::Rebuilt(None));
    assert_eq!(change_since(&SortedMap::new(), &api, Some(&Digest::of(&[1]))), Change::New);
}

#[test]
fn a_difference_shows_what_goes_and_what_comes() {
    assert_eq!(diff("a", "a"), "");
    assert_eq!(diff("1\n2\n3\n4\nold\n5\n", "1\n2\n3\n4\nnew\r\n5\n"), "  2\n  3\n  4\n- old\n+ new␍\n  5\n  \n");
    assert_eq!(diff("", "new"), "- \n+ new\n");
    let (old, new) = ("a\n1\n2\n3\n4\n5\n6\n7\n8\nb", "A\n1\n2\n3\n4\n5\n6\n7\n8\nb\nc");
    assert_eq!(diff(old, new), "- a\n+ A\n  1\n  2\n  3\n…\n  7\n  8\n  b\n+ c\n", "what did not change is not shown as changed");
    assert_eq!(diff("a\na\n", "a\na\na\n"), "  a\n  a\n+ a\n  \n");
}

/// Random bodies, the same ones on every run.
struct Bodies(u64);

impl Bodies {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }

    /// A body, and its hand-written lines. It has lone opening or lone closing markers, never both: text between the two is ours.
    fn next(&mut self) -> (String, Vec<String>) {
        let (mut body, mut hand) = (String::new(), Vec::new());
        let stray = if self.below(2) == 0 { BEGIN } else { END };
        let style = self.below(3);
        for at in 0..self.below(12) {
            let end = if style == 0 || style == 2 && self.below(2) == 0 { "\n" } else { "\r\n" };
            let piece = match self.below(8) {
                0 => stray.to_owned(),
                1 => format!("{BEGIN}{end}## stale{end}```bash{end}docker pull x{end}```{end}{END}"),
                2 => format!("````{end}{BEGIN}{end}in code {at}{end}{END}{end}```{end}````"),
                3 => notes().section(Form::Full).replace('\n', end),
                4 => String::new(),
                _ => {
                    let line = format!("hand 🎉 {at}{}", " ".repeat(usize::try_from(self.below(3)).unwrap()));
                    hand.push(line.clone());
                    line
                }
            };
            body.push_str(&piece);
            body.push_str(end);
        }
        if self.below(3) == 0 {
            body.truncate(body.trim_end().len());
        }
        (body, hand)
    }
}

#[test]
fn on_any_body_a_second_run_changes_nothing_and_no_written_line_is_lost() {
    let mut bodies = Bodies(0x9E37_79B9_7F4A_7C15);
    for round in 0..3_000 {
        let (body, hand) = bodies.next();
        let once = merged(&body);
        assert_eq!(merged(&once), once, "round {round}: {body:?}");
        let mut rest = once.as_str();
        for line in &hand {
            let at = rest.find(line.trim_end()).unwrap_or_else(|| panic!("round {round}: lost {line:?} of {body:?}"));
            rest = &rest[at + line.trim_end().len()..];
        }
        assert_eq!(once.matches("in code").count(), body.matches("in code").count(), "round {round}: {body:?}");
        assert_eq!(digests(&once, &Markers::of(None)).len(), 2, "round {round}: {body:?} {once:?}");
    }
}

#[test]
fn each_workspace_of_a_repository_has_a_section_of_its_own() {
    let of = |folder: &str| ReleaseNotes { folder: Some(folder.to_owned()), ..notes() };
    let both = merge(&merge("mine\n", &of("web")).unwrap().body, &of("services/api")).unwrap().body;
    assert!(both.contains("## 🐳 Docker Images of web\n") && both.contains("## 🐳 Docker Images of services/api\n"), "{both}");
    let changed = ReleaseNotes { images: Vec::new(), ..of("web") };
    let again = merge(&both, &changed).unwrap().body;
    assert_eq!(listed(&again, &of("web").markers()).len(), 0);
    assert_eq!(listed(&again, &of("services/api").markers()).len(), 2, "{again}");
    assert_eq!(listed(&again, &Markers::of(None)).len(), 0);
    assert_eq!(merge(&again, &changed).unwrap().body, again);
    // No folder's name ends the comment that the marker is.
    let odd = Markers::of(Some("a-->b"));
    assert_eq!(odd.begin.matches("-->").count(), 1, "{odd:?}");
}
