//! pnpm's lock as text, scanned by lines and cut. No I/O here.
//!
//! A crate of its own because it is compiled with optimisation, as the rest of xtask is not: a lock has a hundred thousand lines.

pub mod lock;

/// `path` taken from the folder `dir`, both relative to one root, with `.` and `..` resolved; `.` is the root. None where it
/// leaves the root or is absolute.
#[must_use]
pub fn join(dir: &str, path: &str) -> Option<String> {
    if path.starts_with('/') {
        return None;
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in dir.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(if parts.is_empty() { ".".to_owned() } else { parts.join("/") })
}

#[cfg(test)]
mod tests {
    use super::join;

    #[test]
    fn a_path_that_leaves_the_root_is_none() {
        assert_eq!(join("apps/a", "../../b").as_deref(), Some("b"));
        assert_eq!(join("apps/a", "../..").as_deref(), Some("."));
        assert_eq!(join("apps/a", "../../../b"), None);
        assert_eq!(join("a", "/etc"), None);
    }
}
