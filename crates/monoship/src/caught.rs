//! A team's code may panic: that is its failure, and the run still ends in order, with its record and whoever is told.

use std::any::Any;
use std::panic::AssertUnwindSafe;

use monoship_core::error::{Error, Result};

/// Does a team's work; a panic in it is an error of `who`.
pub(crate) fn caught(who: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
    let done = std::panic::catch_unwind(AssertUnwindSafe(work));
    done.unwrap_or_else(|panic| Err(Error::failed(format!("{who} panicked: {}", words(&*panic)))))
}

/// What a panic says. Where in the code it came is on standard error.
fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("it does not say why")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_that_says_what_the_panic_said() {
        assert!(caught("it", || Ok(())).is_ok());
        let of = |work: fn() -> Result<()>| caught("`seed`", work).unwrap_err().to_string();
        assert_eq!(of(|| panic!("no database")), "`seed` panicked: no database");
        assert_eq!(of(|| panic!("no {}", "port")), "`seed` panicked: no port");
        assert_eq!(of(|| std::panic::panic_any(7)), "`seed` panicked: it does not say why");
        assert_eq!(of(|| Err(Error::failed("down"))), "down");
    }
}
