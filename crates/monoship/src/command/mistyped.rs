//! What clap says of a command line that cannot be meant, in the tool's own words: what is wrong, and the way on.

use std::ffi::OsString;

use clap::CommandFactory as _;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::cli::Cli;
use monoship_core::collect::Collect as _;
use monoship_core::error::Error;

/// The error to show for a command line, the program's name first; none where clap's text says all there is, as help does.
pub fn explained(error: &clap::Error, typed: &[OsString]) -> Option<Error> {
    let of = |kind: ContextKind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(vec![text.clone()]),
        Some(ContextValue::Strings(texts)) => Some(texts.clone()),
        _ => None,
    };
    let first = |kind: ContextKind| of(kind).and_then(|texts| texts.into_iter().next());
    let verb = verb(typed);
    let help = if verb.is_empty() {
        "`cargo xtask --help` lists the commands".to_owned()
    } else {
        format!("`{} --help` says what it takes", ["cargo xtask", &verb].join(" "))
    };
    let argument = first(ContextKind::InvalidArg).unwrap_or_default();
    let meant = |near: Option<String>| near.map_or_else(|| help.clone(), |near| format!("did you mean `{near}`?"));
    let found = match error.kind() {
        ErrorKind::InvalidSubcommand => {
            let typed = first(ContextKind::InvalidSubcommand)?;
            let command = Cli::command();
            let verbs = command.get_subcommands().map(clap::Command::get_name);
            let near = monoship_core::name::nearest(&typed, verbs).filter(|_| verb.is_empty() || verb == "help");
            let near = first(ContextKind::SuggestedSubcommand).or_else(|| near.map(str::to_owned));
            Error::usage(format!("there is no command `{typed}`")).hint(meant(near))
        }
        ErrorKind::UnknownArgument if argument.starts_with('-') => {
            let whose = if verb.is_empty() { "there is".to_owned() } else { format!("`{verb}` has") };
            let hint = if ["-q", "--quiet", "-v", "--verbose"].contains(&argument.as_str()) {
                "`--progress quiet` shows problems and the table only, `--progress plain` each line".to_owned()
            } else {
                meant(first(ContextKind::SuggestedArg))
            };
            Error::usage(format!("{whose} no flag `{argument}`")).hint(hint)
        }
        ErrorKind::UnknownArgument => Error::usage(format!("`{verb}` takes no argument `{argument}`")).hint(help),
        ErrorKind::ValueValidation => {
            let source = std::error::Error::source(error)?;
            let value = first(ContextKind::InvalidValue)?;
            let said = source.to_string();
            let place = if !said.contains(&format!("`{value}`")) {
                given(&argument, &value) + ": "
            } else if argument.starts_with('-') {
                name(&argument) + ": "
            } else {
                String::new()
            };
            let hint = source.downcast_ref::<Error>().and_then(Error::hint_text).map_or(help, str::to_owned);
            Error::usage(place + &said).hint(hint)
        }
        ErrorKind::InvalidValue => {
            let valid = of(ContextKind::ValidValue).unwrap_or_default();
            let typed = first(ContextKind::InvalidValue)?;
            let near = monoship_core::name::nearest(&typed, valid.iter().map(String::as_str)).map(str::to_owned);
            let said = if typed.is_empty() { name(&argument) + " needs a value" } else { given(&argument, &typed) };
            let known = match valid.as_slice() {
                [] => String::new(),
                [one] => format!(": the only value is `{one}`"),
                several => format!(": expected one of {}", several.join(", ")),
            };
            Error::usage(said + &known).hint(meant(near))
        }
        ErrorKind::ArgumentConflict => {
            let others: Vec<String> = of(ContextKind::PriorArg)?.iter().map(|other| name(other)).into_vec();
            if others == [name(&argument)] {
                return Some(Error::usage(format!("{} is given twice", name(&argument))).hint("leave one of them out"));
            }
            Error::usage(format!("{} and {} cannot be used together", name(&argument), others.join(", ")))
                .hint("leave one of them out")
        }
        ErrorKind::TooManyValues => {
            let value = first(ContextKind::InvalidValue)?;
            Error::usage(format!("{} takes no value, and `{value}` is one", name(&argument))).hint(help)
        }
        ErrorKind::MissingRequiredArgument => {
            let missing: Vec<String> = of(ContextKind::InvalidArg)?.iter().map(|one| name(one)).into_vec();
            if let Some(flag) = demanding(typed) {
                let needs = missing.join(" and ");
                let hint = format!("add {needs}, or leave `{flag}` out");
                return Some(Error::usage(format!("`{flag}` needs {needs}")).hint(hint));
            }
            let flags = typed.iter().filter_map(|word| word.to_str()).filter(|word| word.starts_with("--"));
            let flags: Vec<&str> = flags.map(|word| word.split('=').next().unwrap_or(word)).into_vec();
            let whose = std::iter::once(verb.as_str()).chain(flags).into_vec().join(" ");
            Error::usage(format!("`{whose}` needs {}", missing.join(" and "))).hint(help)
        }
        _ => return None,
    };
    Some(found)
}

/// The verb that was typed: `cache prune` of `--engine docker cache prune api`, where that is one.
fn verb(typed: &[OsString]) -> String {
    let words = typed.iter().skip(1).filter_map(|word| word.to_str());
    let command = Cli::command();
    let (mut at, mut verb) = (&command, Vec::new());
    for word in words {
        if let Some(below) = at.get_subcommands().find(|below| below.get_name() == word) {
            verb.push(word);
            at = below;
        }
    }
    verb.join(" ")
}

/// The flag without which, and without whose value, the command line could be meant: clap does not tell which one demands another.
fn demanding(typed: &[OsString]) -> Option<&str> {
    let is_meant = |rest: Vec<&OsString>| Cli::command().try_get_matches_from(rest).is_ok();
    let flags =
        typed.iter().enumerate().filter_map(|(at, word)| Some((at, word.to_str().filter(|word| word.starts_with("--"))?)));
    let mut without = flags.filter(|(at, _)| {
        let rest = |from: usize| typed[..*at].iter().chain(typed.iter().skip(from)).into_vec();
        is_meant(rest(at + 1)) || is_meant(rest(at + 2))
    });
    without.next().map(|(_, flag)| flag.split('=').next().unwrap_or(flag))
}

/// `--jobs <N>` is `--jobs`, `<TAG>` is a TAG.
fn name(argument: &str) -> String {
    let word = argument.split([' ', '=']).next().unwrap_or(argument);
    if word.starts_with('-') { format!("`{word}`") } else { format!("a {}", word.trim_matches(['<', '>', '[', ']', '.'])) }
}

/// `--jobs four`, or the value alone where it has no flag.
fn given(argument: &str, value: &str) -> String {
    let flag = argument.split([' ', '=']).next().filter(|word| word.starts_with('-'));
    flag.map_or_else(|| format!("`{value}`"), |flag| format!("`{flag} {value}`"))
}
