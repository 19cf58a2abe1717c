//! What those who use the program type. Messages are written for `cargo xtask`; in a repository whose crate has another name (`init --name
//! ship`) they are put right on their way out.

use std::borrow::Cow;
use std::sync::OnceLock;

/// As every message has it.
const WRITTEN: &str = "cargo xtask";

type Find = Box<dyn Fn() -> String + Send + Sync>;

static FIND: OnceLock<Find> = OnceLock::new();
static NAME: OnceLock<String> = OnceLock::new();

/// Says how the crate's name is found. It is asked for once, by the first message that needs it.
pub fn learn(find: impl Fn() -> String + Send + Sync + 'static) {
    // A second one would say the same: a process has one program.
    let _ = FIND.set(Box::new(find));
}

/// The crate's name: what is typed after `cargo`.
#[must_use]
pub fn name() -> &'static str {
    FIND.get().map_or("xtask", |find| NAME.get_or_init(find))
}

/// A message as it is typed here.
#[must_use]
pub fn named(text: &str) -> Cow<'_, str> {
    if text.contains(WRITTEN) { renamed(text, name()) } else { Cow::Borrowed(text) }
}

/// Whole words only: `cargo xtask-images` would be another program.
fn renamed<'t>(text: &'t str, name: &str) -> Cow<'t, str> {
    if name == "xtask" {
        return Cow::Borrowed(text);
    }
    let mut pieces = text.split(WRITTEN);
    let mut shown = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let goes_on = piece.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_');
        shown += if goes_on { WRITTEN } else { "cargo " };
        shown += if goes_on { "" } else { name };
        shown += piece;
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_says_what_is_typed_in_this_repository() {
        assert_eq!(renamed("run `cargo xtask update`, then cargo xtask", "ship"), "run `cargo ship update`, then cargo ship");
        assert_eq!(renamed("cargo xtasks, cargo xtask-x", "ship"), "cargo xtasks, cargo xtask-x");
        assert_eq!(renamed("cargo xtask", "xtask"), "cargo xtask");
    }
}
