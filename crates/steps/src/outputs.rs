//! Where `--output` writes: one place for each service, and never over files or into a folder of the user's that it did not write.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use crate::Session;
use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result, write_atomically};
use monoship_core::name::hex;
use monoship_core::sorted::SortedSet;
use monoship_plan::request::{BuildRequest, Destination};
use monoship_plan::services::Service;

/// What stands for a service's name in an output.
const PLACEHOLDER: &str = "{service}";

/// A file or folder that buildx writes, as an output names it.
#[derive(Debug, PartialEq, Eq)]
struct Written {
    path: String,
    is_folder: bool,
}

impl Written {
    /// Reads an output as buildx does (`util/buildflags/export.go`): a bare word is a folder, `-` is standard output.
    fn of(output: &str) -> Option<Self> {
        if !output.contains('=') {
            return (output != "-").then(|| Self { path: output.to_owned(), is_folder: true });
        }
        let field = |wanted: &str| {
            let fields = output.split(',').filter_map(|field| field.trim_matches('"').split_once('='));
            fields.filter(|(key, _)| key.trim().eq_ignore_ascii_case(wanted)).map(|(_, value)| value).next_back()
        };
        let path = field("dest").filter(|dest| *dest != "-")?.to_owned();
        let kind = field("type").unwrap_or_default();
        let is_folder = kind == "local" || (matches!(kind, "oci" | "docker") && field("tar") == Some("false"));
        Some(Self { path, is_folder })
    }
}

/// Refuses an output that several services would write to one place, and one that would write over what the user has.
///
/// # Errors
/// Which place that is, and how it is allowed.
pub fn check(session: &Session, request: &BuildRequest, services: &[Service]) -> Result<()> {
    let Destination::Output(output) = &request.destination else { return Ok(()) };
    if output.split(',').any(|field| field == "type=cacheonly") {
        return Ok(());
    }
    if services.len() > 1 && !output.contains(PLACEHOLDER) {
        return Err(Error::usage(format!("`--output {output}` is one place for {} services", services.len()))
            .hint(format!("name one service, or put {PLACEHOLDER} where its name belongs")));
    }
    if request.overwrite {
        return Ok(());
    }
    let ours = ours(session);
    for written in places(output, services) {
        let path = session.env.cwd.join(&written.path);
        let known = path.canonicalize().is_ok_and(|path| ours.contains(&path));
        if !known && holds_something(&path, written.is_folder) {
            let what = if path.is_dir() { "holds files that" } else { "is a file that" };
            return Err(Error::usage(format!("{} {what} `--output` did not write", path.display()))
                .hint("name an empty folder or another file, or pass --overwrite"));
        }
    }
    Ok(())
}

/// Notes down where this run writes, before it does: what a run that fails has half written is ours too. The folders above are made: buildx,
/// which makes those that it fills itself, finds out that a file's is not there when the image is built.
///
/// # Errors
/// When that cannot be noted down, or a folder not made.
pub fn claim(session: &Session, request: &BuildRequest, services: &[Service]) -> Result<()> {
    let Destination::Output(output) = &request.destination else { return Ok(()) };
    let mut all = ours(session);
    let before = all.len();
    for written in places(output, services) {
        let path = session.env.cwd.join(&written.path);
        // A canonical name needs the parent at least.
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { continue };
        std::fs::create_dir_all(parent).map_err(|e| Error::io("create", parent, e))?;
        if let Ok(parent) = parent.canonicalize() {
            all.insert(path.canonicalize().unwrap_or_else(|_| parent.join(name)));
        }
    }
    if all.len() == before {
        return Ok(());
    }
    let all: Vec<String> = all.iter().map(|path| written_down(path)).into_vec();
    let text = serde_json::to_vec(&all).map_err(|e| Error::failed("cannot write the list of outputs").source(e))?;
    write_atomically(&list(session), &text)
}

fn places<'a>(output: &'a str, services: &'a [Service]) -> impl Iterator<Item = Written> + 'a {
    services.iter().filter_map(|service| Written::of(&output.replace(PLACEHOLDER, service.name.as_str())))
}

fn holds_something(path: &Path, is_folder: bool) -> bool {
    match std::fs::read_dir(path) {
        Ok(mut entries) => !is_folder || entries.next().is_some(),
        Err(_) => path.symlink_metadata().is_ok(),
    }
}

fn list(session: &Session) -> PathBuf {
    session.state_dir().join("outputs.json")
}

/// What earlier runs wrote. A list that cannot be read means that nothing is known to be ours.
fn ours(session: &Session) -> SortedSet<PathBuf> {
    let read = std::fs::read(list(session)).ok();
    let listed: Vec<String> = read.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
    listed.iter().map(|line| read_back(line)).into_set()
}

/// What stands before the bytes of a path that is no text, as JSON has nothing else; no path that is whole begins so.
const BYTES: &str = "bytes:";

fn written_down(path: &Path) -> String {
    match path.to_str() {
        Some(text) => text.to_owned(),
        None => format!("{BYTES}{}", hex(path.as_os_str().as_bytes())),
    }
}

fn read_back(line: &str) -> PathBuf {
    let bytes = line.strip_prefix(BYTES).and_then(unhex);
    bytes.map_or_else(|| PathBuf::from(line), |bytes| OsString::from_vec(bytes).into())
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    text.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_whose_name_is_no_text_is_known_again() {
        for place in [&b"/out/api"[..], b"/caf\xe9/api", b"/bytes:2f/\xff"] {
            let place = PathBuf::from(OsString::from_vec(place.to_owned()));
            assert_eq!(read_back(&written_down(&place)), place);
        }
    }

    #[test]
    fn what_an_output_writes_is_read_as_buildx_reads_it() {
        let of = |output: &str| Written::of(output).map(|written| (written.path, written.is_folder));
        assert_eq!(of("out/api"), Some(("out/api".into(), true)));
        assert_eq!(of("type=local,dest=out"), Some(("out".into(), true)));
        assert_eq!(of("type=tar,dest=api.tar"), Some(("api.tar".into(), false)));
        assert_eq!(of("type=oci,tar=false,dest=layout"), Some(("layout".into(), true)));
        assert_eq!(of("dest=api.tar,type=docker"), Some(("api.tar".into(), false)));
        for nothing in ["-", "type=tar,dest=-", "type=cacheonly", "type=image,name=a,push=true"] {
            assert_eq!(of(nothing), None, "{nothing}");
        }
    }
}
