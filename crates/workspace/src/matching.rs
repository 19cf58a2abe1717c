//! The one matcher under every kind of pattern here: ignore files, workspace globs, `COPY` sources, `${name%pattern}`. What a pattern's
//! text means is said by whoever reads it; this only follows its tokens.
//!
//! It keeps the set of positions that the tokens so far can end at, and never goes back: matching takes at most
//! (tokens + 1) × (items + 1) steps, whatever the pattern.

/// One token of a pattern over items `I`: characters, or the components of a path.
pub(crate) trait Token<I: ?Sized> {
    /// How many items it takes.
    fn count(&self) -> Count;

    /// Whether it takes this one.
    fn takes(&self, item: &I) -> bool;

    /// Whether a token that takes many may end behind this one.
    fn may_end_behind(&self, _item: &I) -> bool {
        true
    }
}

/// How many items a token takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Count {
    /// None, and only at the start.
    Start,
    /// Exactly one.
    One,
    /// None or more.
    Many,
}

/// True where the tokens take all of the items.
pub(crate) fn matches<I>(tokens: &[impl Token<I>], items: &[I]) -> bool {
    ends(tokens, items).last() == Some(&true)
}

/// For each number of items from none to all: whether the tokens can take just so many, from the first on.
pub(crate) fn ends<I>(tokens: &[impl Token<I>], items: &[I]) -> Vec<bool> {
    follow(tokens, items, || ())
}

fn follow<I>(tokens: &[impl Token<I>], items: &[I], mut step: impl FnMut()) -> Vec<bool> {
    let mut reached = vec![false; items.len() + 1];
    reached[0] = true;
    for token in tokens {
        let mut next = vec![false; items.len() + 1];
        // Whether a token that takes many can take the next item, too.
        let mut open = false;
        for at in 0..=items.len() {
            step();
            let item = items.get(at);
            match token.count() {
                Count::Start => next[at] = at == 0 && reached[at],
                Count::One => {
                    if reached[at] && item.is_some_and(|item| token.takes(item)) {
                        next[at + 1] = true;
                    }
                }
                Count::Many => {
                    open |= reached[at];
                    next[at] |= reached[at];
                    open &= item.is_some_and(|item| token.takes(item));
                    if open && item.is_some_and(|item| token.may_end_behind(item)) {
                        next[at + 1] = true;
                    }
                }
            }
        }
        reached = next;
    }
    reached
}

/// A token over the characters of a text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Char {
    /// This character.
    Is(char),
    /// One character that is no slash: `?` in a path.
    One,
    /// Any number of characters, none a slash: `*` in a path.
    Star,
    /// One character, a slash too: the shell's `?`.
    Each,
    /// Any number of characters, slashes too: the shell's `*`.
    All,
    /// Nothing, or anything in one line that ends in a slash: `**` with more behind it.
    Folders,
    /// Anything in one line: `**` at the end.
    Rest,
    /// One of these characters, or one of all others.
    Class {
        /// All others.
        negated: bool,
        /// From and to, both included.
        ranges: Vec<(char, char)>,
    },
    /// The start of the text.
    Start,
}

impl Token<char> for Char {
    fn count(&self) -> Count {
        match self {
            Self::Is(_) | Self::One | Self::Each | Self::Class { .. } => Count::One,
            Self::Star | Self::All | Self::Folders | Self::Rest => Count::Many,
            Self::Start => Count::Start,
        }
    }

    fn takes(&self, c: &char) -> bool {
        match self {
            Self::Is(wanted) => c == wanted,
            Self::One | Self::Star => *c != '/',
            Self::Each | Self::All => true,
            Self::Folders | Self::Rest => *c != '\n',
            Self::Class { negated, ranges } => ranges.iter().any(|(low, high)| (low..=high).contains(&c)) != *negated,
            Self::Start => false,
        }
    }

    fn may_end_behind(&self, c: &char) -> bool {
        !matches!(self, Self::Folders) || *c == '/'
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `*`, `?` and characters, as in a path.
    fn read(pattern: &str) -> Vec<Char> {
        pattern
            .chars()
            .map(|c| match c {
                '*' => Char::Star,
                '?' => Char::One,
                c => Char::Is(c),
            })
            .collect()
    }

    /// The obvious matcher, which goes back: for small texts.
    fn plainly(tokens: &[Char], text: &[char]) -> bool {
        let Some((first, rest)) = tokens.split_first() else { return text.is_empty() };
        match first.count() {
            Count::One => text.first().is_some_and(|c| first.takes(c)) && plainly(rest, &text[1..]),
            Count::Many => plainly(rest, text) || text.first().is_some_and(|c| first.takes(c)) && plainly(tokens, &text[1..]),
            Count::Start => false,
        }
    }

    #[test]
    fn it_finds_what_the_obvious_matcher_finds() {
        let mut texts = vec![String::new()];
        for length in 0..5 {
            let longest: Vec<String> = texts.iter().filter(|text| text.len() == length).cloned().collect();
            texts.extend(longest.iter().flat_map(|text| ["a", "b", "/"].map(|c| format!("{text}{c}"))));
        }
        for pattern in ["", "*", "a*", "*a", "*a*b", "a?b", "**", "*?*", "?*?/*", "*/*", "a*a*a*b", "*ab*ab"] {
            let tokens = read(pattern);
            for text in &texts {
                let text: Vec<char> = text.chars().collect();
                assert_eq!(matches(&tokens, &text), plainly(&tokens, &text), "{pattern} {text:?}");
            }
        }
    }

    #[test]
    fn no_pattern_takes_more_steps_than_its_tokens_times_the_text() {
        let text = vec!['a'; 500];
        // The first that fail last: a matcher that goes back tries 2^40 ways and more.
        for pattern in ["*a".repeat(40) + "b", "*".repeat(80) + "b", "a*".repeat(40) + "?b", "?*".repeat(100) + "/"] {
            let tokens = read(&pattern);
            let mut steps = 0;
            let ends = follow(&tokens, &text, || steps += 1);
            assert_eq!(ends.last(), Some(&false), "{pattern}");
            assert!(steps <= (tokens.len() + 1) * (text.len() + 1), "{pattern}: {steps} steps");
        }
    }
}
