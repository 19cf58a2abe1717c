//! What the mask promises of secrets in every form.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::*;

/// Odd enough that each way of writing it is another one.
const ODD: &str = r#"p&s<w>"o'r/d \\+é=9Qz"#;

#[test]
fn a_secret_is_masked_in_every_form_that_it_is_passed_on_in() {
    let _made = Secret::new(ODD);
    let in_json = serde_json::json!({ "log": format!("said {ODD}.") }).to_string();
    let nested = serde_json::json!({ "record": in_json }).to_string();
    let percent = |code: fn(u8) -> String| -> String {
        ODD.bytes().map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { code(b) }).collect()
    };
    let (upper, lower) = (percent(|b| format!("%{b:02X}")), percent(|b| format!("%{b:02x}")));
    let forms = [
        ODD.to_owned(),
        in_json,
        nested,
        format!("https://u:{upper}@host/x?y={upper}"),
        format!("y={lower}"),
        ODD.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;"),
        ODD.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;"),
        ODD.replace('\'', r"'\''"),
        ODD.bytes().map(|b| format!("{b:02x}")).collect(),
    ];
    for form in &forms {
        let masked = mask(form);
        assert!(masked.contains(MASK) && !masked.contains("9Qz") && !masked.contains("39517a"), "{form} is shown as {masked}");
    }
    for user in ["", "u", "us", "use", "x-access-token"] {
        let whole = BASE64_STANDARD.encode(format!("{user}:{ODD}"));
        let masked = mask(&whole).into_owned();
        assert!(masked.contains(MASK) && masked.len() < whole.len() / 2, "{whole} is shown as {masked}");
    }
}

#[test]
fn a_secret_shows_as_stars_and_what_is_made_of_it_is_one_too() {
    let secret = Secret::new("AUTHORIZATION: basic eDpzM2NyZXQtb2YtYS1oZWFkZXI=");
    assert_eq!((format!("{secret}"), format!("{secret:?}")), (MASK.to_owned(), MASK.to_owned()));
    assert_eq!(mask("password s3cret-of-a-header!"), "password ***!");
    Secret::new("https://robot:pass%2Dof-an-address@host/way/to/the/secret-hook?x=1");
    assert_eq!(mask("pass-of-an-address pass%2Dof-an-address"), "*** ***");
    assert_eq!(mask("to /way/to/the/secret-hook?x=1"), "to /***");
    Secret::new(r#"{"auths":{"r.example":{"auth":"dXNlcjppbi1hLWRvY2tlci1maWxl"}}}"#);
    assert_eq!(mask("in-a-docker-file, dXNlcjppbi1hLWRvY2tlci1maWxl"), "***, ***");
    Secret::new("-----BEGIN KEY-----\nMIIEfirstLineOfAKey\nandTheSecondLineOfIt\n-----END KEY-----\n");
    assert_eq!(mask("| andTheSecondLineOfIt |"), "| *** |");
}

#[test]
fn what_nobody_told_us_of_is_known_by_its_shape() {
    let token = format!("ghs_{}", "Ab3".repeat(12));
    let web = "eyJhbGciOiJIUzI1NiJ9.eyJhYyI6IltdIiwiZXhwIjoxfQ.c2lnbmF0dXJl";
    let cases = [
        (format!("GET failed with {token}: 403"), "GET failed with ***: 403".to_owned()),
        (
            format!("GIT_CONFIG_VALUE_0='AUTHORIZATION: basic {}' git", BASE64_STANDARD.encode("a:b")),
            "GIT_CONFIG_VALUE_0='AUTHORIZATION: basic ***' git".to_owned(),
        ),
        (format!("x={web};"), "x=***;".to_owned()),
        ("fetching https://user:pw@host/p?q".to_owned(), "fetching https://***@host/p?q".to_owned()),
        (
            "unable to access 'https://h/x.git?a=1&private_token=Ab3&b=2': no".to_owned(),
            "unable to access 'https://h/x.git?a=1&private_token=***&b=2': no".to_owned(),
        ),
        (
            "https://h/x?se=1&sig=a%2Bb%3D https://h/y?X-Amz-Signature=0f1e#z".to_owned(),
            "https://h/x?se=1&sig=*** https://h/y?X-Amz-Signature=***#z".to_owned(),
        ),
        (r#"{"Authorization": "Bearer abc.def"}"#.to_owned(), r#"{"Authorization": "Bearer ***"}"#.to_owned()),
    ];
    for (text, expected) in cases {
        assert_eq!(mask(&text), expected);
    }
    for plain in [
        "npm_config_user_agent_and_more",
        "https://host/a@b:c",
        "authorization: none",
        "eyJ.x",
        "ghp_short1",
        "é…",
        "token=none",
        "a?token=&b",
    ] {
        assert_eq!(mask(plain), plain);
    }
}

#[test]
fn json_stays_json_whatever_the_secret() {
    Secret::new("quo\"te-in-the-secret");
    let mut value = serde_json::json!({"a": ["x quo\"te-in-the-secret"], "quo\"te-in-the-secret": 1});
    mask_json(&mut value);
    assert_eq!(value, serde_json::json!({"a": ["x ***"], "***": 1}));
}

#[test]
fn variables_are_judged_by_their_name_and_by_what_they_hold() {
    let yes = [
        ("NPM_TOKEN", "n-123456"),
        ("X_API_KEY", "x"),
        ("GIT_CONFIG_VALUE_0", "AUTHORIZATION: basic eDp5"),
        ("SLACK_WEBHOOK_URL", "https://h/s"),
    ];
    let no = [
        ("COSIGN_KEY", "/run/key"),
        ("TOKEN_FILE", "x"),
        ("GIT_CONFIG_KEY_0", "http.x"),
        ("AWS_ACCESS_KEY_ID", "AKIA"),
        ("PATH", "/bin"),
        ("HTTPS_PROXY", "http://u:proxy-pass-1@h"),
    ];
    assert!(yes.iter().all(|(name, value)| is_withheld(name, value)));
    assert!(no.iter().all(|(name, value)| !is_withheld(name, value)));
    learn_environment(&Env::new(
        "/",
        [
            ("NPM_TOKEN".to_owned(), "learnt-npm-tok3n".to_owned()),
            ("HTTPS_PROXY".to_owned(), "http://u:proxy-pass-1@h".to_owned()),
        ],
    ));
    assert_eq!(mask("learnt-npm-tok3n proxy-pass-1"), "*** ***");
    assert!(is_withheld("INNOCENT", "learnt-npm-tok3n") && !is_withheld("HOME", "learnt-npm-tok3n"));
}

#[test]
fn short_words_are_no_secrets_and_a_thousand_lines_cost_little() {
    Secret::new("main");
    assert_eq!(mask("the branch main"), "the branch main");
    let line = "#12 0.431 a line of a build's log such as there are many of: node_modules/.pnpm/typescript@5.9.2 done".repeat(2);
    assert!((0..1_000).all(|_| mask(&line) == line));
}
