//! What git's refusals mean.

use std::fmt;

use monoship_core::error::Error;
use monoship_core::execute::process::{Invocation, Output};

/// What git says outside of a repository; its exit code is that of every other trouble.
#[derive(Debug)]
pub(super) struct NotARepository(String);

impl fmt::Display for NotARepository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotARepository {}

/// What git says where the repository is another user's, as in many a CI system's containers (`die_upon_dubious_ownership`, setup.c).
const DUBIOUS: &str = "dubious ownership";

/// True where git refused for that.
pub(super) fn is_another_users(output: &Output) -> bool {
    !output.success() && output.error_tail().contains(DUBIOUS)
}

/// The error of a command that git refused.
pub(super) fn refusal(command: &Invocation, output: &Output) -> Error {
    let said = output.error_tail();
    let error = command.failure(output.code, &said);
    if said.contains(DUBIOUS) {
        return error
            .hint("the repository belongs to another user; run `git config --global --add safe.directory` with its path");
    }
    if said.contains("not a git repository") {
        let error = Error::failed("this folder is in no git repository").source(NotARepository(said));
        return error.hint("this needs a git repository; run it inside one");
    }
    error
}
