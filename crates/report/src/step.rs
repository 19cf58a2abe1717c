//! A Dockerfile step as a person reads it: the command that runs, without what every other step has as well. The log has it whole. Pure.

use monoship_core::collect::Collect as _;
use monoship_core::text;

/// Flags of an instruction that say how it is done and not what.
const HOW: [&str; 6] = ["--mount=", "--link", "--network=", "--security=", "--chmod=", "--chown="];

/// A label is worth this many columns of a command; where there is less room, the command has it.
const COMMAND: usize = 24;

/// A step on one line: `[api-build 1/2] RUN install-closure everything @acme/api`. Mounts and the like are left out, and of a shell command
/// what only prepares it: `… npm install` stands for `if [ -s /ca ]; then export CA=/ca; fi; npm install`.
///
/// ```
/// use monoship_report::step;
///
/// let name = "[web 1/2] RUN --mount=type=cache,target=/store     set -e; cd apps/web && pnpm build";
/// assert_eq!(step::text(name), "[web 1/2] RUN … pnpm build");
/// ```
#[must_use]
pub fn text(name: &str) -> String {
    let (label, instruction) = divided(name);
    let instruction = text::clean(&shown(instruction));
    if label.is_empty() { instruction } else { format!("{} {instruction}", text::clean(label)) }
}

/// The same in at most `columns` columns: first `RUN` goes, then the middle of the command, and where there is hardly room for one, the label.
#[must_use]
pub fn fit(name: &str, columns: usize) -> String {
    let whole = text(name);
    if text::width(&whole) <= columns {
        return whole;
    }
    let (label, instruction) = divided(name);
    let command = text::clean(&shown(instruction));
    let command = command.strip_prefix("RUN ").unwrap_or(&command);
    let label = if label.is_empty() { String::new() } else { format!("{} ", text::clean(label)) };
    match columns.checked_sub(text::width(&label)) {
        Some(room) if room >= COMMAND.min(text::width(command)) => label + &text::fit_middle(command, room),
        _ => text::fit_middle(command, columns),
    }
}

/// `[api 2/4]` of a step, which names it beside its output; all of what has no label.
#[must_use]
pub fn label(name: &str) -> String {
    match divided(name) {
        ("", instruction) => text::clean(&shown(instruction)),
        (label, _) => text::clean(label),
    }
}

/// `[api 2/4] RUN tsc` → (`[api 2/4]`, `RUN tsc`).
fn divided(name: &str) -> (&str, &str) {
    let end = if name.starts_with('[') { name.find("] ") } else { None };
    end.map_or(("", name), |end| (&name[..=end], &name[end + 2..]))
}

/// The instruction without what says how.
fn shown(instruction: &str) -> String {
    let mut words = instruction.split_whitespace();
    let Some(keyword) = words.next() else { return String::new() };
    let mut rest = words.skip_while(|word| is_how(word)).peekable();
    if keyword != "RUN" {
        // COPY and ADD may have `--from=` among them, which says what.
        let rest: Vec<&str> = rest.filter(|word| !is_how(word)).into_vec();
        return [&[keyword], rest.as_slice()].concat().join(" ");
    }
    rest.next_if(|word| word.starts_with("<<"));
    let command = rest.into_vec().join(" ");
    format!("{keyword} {}", without_preparation(&command))
}

fn is_how(word: &str) -> bool {
    HOW.iter().any(|flag| word.starts_with(flag))
}

/// The command from the first part that does something, with `… ` in place of what is before it.
fn without_preparation(command: &str) -> String {
    let mut from = 0;
    let mut depth = 0_usize;
    let mut prepares = true;
    let mut at = 0;
    for (start, end) in parts(command) {
        let part = command[start..end].trim();
        let first = part.split(' ').next().unwrap_or_default();
        if first == "if" {
            depth += 1;
        }
        prepares &= depth > 0 || is_preparation(first);
        // What an `if` does counts where it is more than a setting.
        let inner = part.strip_prefix("then ").or_else(|| part.strip_prefix("else ")).map(|inner| inner.split(' ').next());
        prepares &= inner.flatten().is_none_or(is_preparation);
        if first == "fi" {
            depth = depth.saturating_sub(1);
        }
        if !prepares {
            break;
        }
        if depth == 0 {
            from = (end..command.len())
                .find(|next| !matches!(command.as_bytes()[*next], b';' | b'&' | b' '))
                .unwrap_or(command.len());
        }
        at = end;
    }
    // All of it prepares: then that is what it does.
    if prepares && at >= command.trim_end().len() || from == 0 || from >= command.len() {
        return command.to_owned();
    }
    format!("… {}", &command[from..])
}

fn is_preparation(word: &str) -> bool {
    matches!(word, "set" | "export" | "cd" | "if" | "then" | "else" | "fi" | "." | "source" | "umask" | ":" | "mkdir")
        || word.is_empty()
}

/// The stretches of a shell command between `;` and `&&`, those in quotes left alone.
fn parts(command: &str) -> Vec<(usize, usize)> {
    let bytes = command.as_bytes();
    let (mut parts, mut start, mut quote) = (Vec::new(), 0, None);
    let mut at = 0;
    while at < bytes.len() {
        match (quote, bytes[at]) {
            (None, b'\'' | b'"') => quote = Some(bytes[at]),
            (Some(open), byte) if open == byte => quote = None,
            (_, b'\\') => at += 1,
            (None, b';') => {
                parts.push((start, at));
                start = at + 1;
            }
            (None, b'&') if bytes.get(at + 1) == Some(&b'&') => {
                parts.push((start, at));
                at += 1;
                start = at + 1;
            }
            _ => {}
        }
        at += 1;
    }
    parts.push((start.min(bytes.len()), bytes.len()));
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_shown_as_the_command_that_runs() {
        let shown = [
            (
                "[api-build 1/2] RUN --mount=type=bind,from=manifests,target=/manifests     --mount=type=secret,id=ca     install-closure everything @acme/api",
                "[api-build 1/2] RUN install-closure everything @acme/api",
            ),
            (
                "[base 2/5] RUN --mount=type=secret,id=ca     if [ -s /run/secrets/ca ]; then export NODE_EXTRA_CA_CERTS=/run/secrets/ca; fi;     npm install --global \"pnpm@10\" &&     pnpm --version",
                "[base 2/5] RUN … npm install --global \"pnpm@10\" && pnpm --version",
            ),
            ("[deps 2/2] RUN if true; then make; fi", "[deps 2/2] RUN if true; then make; fi"),
            ("[deps 2/2] RUN set -e; cd /x", "[deps 2/2] RUN set -e; cd /x"),
            ("[deps 2/2] RUN cd 'a; b' && make && cd ..", "[deps 2/2] RUN … make && cd .."),
            ("[deps 2/2] RUN echo 'a && b'; make", "[deps 2/2] RUN echo 'a && b'; make"),
            ("[web 2/3] COPY --link --from=web-build --chmod=0644 /out /app", "[web 2/3] COPY --from=web-build /out /app"),
            ("[base 3/5] COPY <<SCRIPT /usr/local/bin/x", "[base 3/5] COPY <<SCRIPT /usr/local/bin/x"),
            ("exporting to image", "exporting to image"),
            ("[a 1/1] RUN", "[a 1/1] RUN "),
            ("", ""),
        ];
        for (name, expected) in shown {
            assert_eq!(text(name), expected);
        }
        assert_eq!(label("[api-build 1/2] RUN tsc"), "[api-build 1/2]");
        assert_eq!(label("pnpm build"), "pnpm build");
    }

    #[test]
    fn a_step_that_is_too_long_keeps_both_ends_of_its_command() {
        let name = "[api-build 1/2] RUN install-closure everything @acme/api";
        assert_eq!(fit(name, 80), name);
        assert_eq!(fit(name, 52), "[api-build 1/2] install-closure everything @acme/api");
        assert_eq!(fit(name, 44), "[api-build 1/2] install-closur…ing @acme/api");
        assert_eq!(fit(name, 24), "install-clos…g @acme/api");
        for columns in 0..60 {
            assert!(text::width(&fit(name, columns)) <= columns, "{columns}");
        }
    }
}
