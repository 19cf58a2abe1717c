//! Tar archives and packed streams as they come, one entry after the other, never on disk. What an entry means is not known here.
//!
//! Tar is the tar crate's to read; what it leaves to its caller is here: content that breaks off, and bounds on what is read into memory.
//! Packed streams: RFC 1952 (gzip), RFC 8878 (zstd). ruzstd reads one frame, and images hold several: the adapter for that is ours.

use std::cell::Cell;
use std::io::{self, BufRead, Read};
use std::rc::Rc;

use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use tar::EntryType;

use monoship_core::collect::Collect as _;

/// More than the headers of any honest entry take, long names included. The tar crate reads those into memory whatever they claim.
const MAX_HEADERS: u64 = 4 << 20;

/// A sparse file's holes cost nothing in the archive and everything to whoever reads them.
const MAX_SPARSE: u64 = 16 << 30;

/// What an entry is, as far as we tell entries apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A file with content of its own.
    File,
    /// A folder.
    Folder,
    /// Another name of an entry before it, or of a file below.
    HardLink,
    /// Anything else: symbolic links, devices, pipes.
    Other,
}

/// An entry's head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Relative to the archive's root, without `./` and slashes at the ends; bytes that are not UTF-8 are replaced.
    pub path: String,
    /// What it is.
    pub kind: Kind,
    /// Its content's length in bytes.
    pub size: u64,
    /// What a link points to.
    pub target: String,
}

/// Hands each entry of an archive to `visit`, with its content, which need not be read. `input` is not compressed.
///
/// # Errors
/// When the input breaks off or is no archive, a header is longer than it can honestly be, and the visitor's.
pub fn visit<R: Read>(input: R, mut visit: impl FnMut(Entry, &mut dyn Read) -> io::Result<()>) -> io::Result<()> {
    let left = Rc::new(Cell::new(MAX_HEADERS));
    let mut archive = tar::Archive::new(Limited { input, left: Rc::clone(&left) });
    for found in archive.entries().map_err(malformed)? {
        let mut found = found.map_err(malformed)?;
        let kind = match found.header().entry_type() {
            EntryType::XGlobalHeader => continue,
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => Kind::File,
            EntryType::Link => Kind::HardLink,
            EntryType::Directory => Kind::Folder,
            _ => Kind::Other,
        };
        let length = found.size();
        if found.header().entry_type() == EntryType::GNUSparse && length > MAX_SPARSE {
            return Err(malformed(io::Error::other("a sparse file is too large")));
        }
        let entry = Entry {
            path: clean(&found.path_bytes()),
            kind,
            size: if kind == Kind::File { length } else { 0 },
            target: found.link_name_bytes().map(|target| clean(&target)).unwrap_or_default(),
        };
        left.set(u64::MAX);
        let mut content = Whole { content: &mut found, left: length };
        visit(entry, &mut content)?;
        io::copy(&mut content, &mut io::sink())?;
        left.set(MAX_HEADERS);
    }
    Ok(())
}

/// An input that gives only so many bytes more.
struct Limited<R> {
    input: R,
    left: Rc<Cell<u64>>,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left.get()).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 && !buffer.is_empty() {
            return Err(io::Error::other("a header is too long"));
        }
        let count = self.input.read(&mut buffer[..most])?;
        self.left.set(self.left.get() - count as u64);
        Ok(count)
    }
}

/// An entry's content; to the tar crate, one that breaks off merely ends.
struct Whole<R> {
    content: R,
    left: u64,
}

impl<R: Read> Read for Whole<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.content.read(buffer)?;
        if count == 0 && self.left > 0 && !buffer.is_empty() {
            return Err(malformed(io::Error::other("an entry breaks off")));
        }
        self.left = self.left.saturating_sub(count as u64);
        Ok(count)
    }
}

/// The tar crate's own errors are of the kind "other"; those of the input keep theirs.
fn malformed(error: io::Error) -> io::Error {
    if error.kind() != io::ErrorKind::Other {
        return error;
    }
    io::Error::new(io::ErrorKind::InvalidData, format!("not a whole tar archive: {error}"))
}

fn clean(path: &[u8]) -> String {
    String::from_utf8_lossy(path).split('/').filter(|part| !matches!(*part, "" | ".")).into_vec().join("/")
}

/// The stream's content, unpacked where its first bytes say that it is packed with gzip or zstd.
///
/// # Errors
/// When the first bytes cannot be read.
pub fn unpacked<'a>(mut input: impl BufRead + 'a) -> io::Result<Box<dyn Read + 'a>> {
    // A buffer may hold fewer bytes than were sent.
    let mut head = Vec::new();
    (&mut input).take(4).read_to_end(&mut head)?;
    let is_gzip = head.starts_with(&[0x1f, 0x8b]);
    // A frame's magic number, or a skippable frame's.
    let is_zstd = matches!(head[..], [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18]);
    let input = io::Cursor::new(head).chain(input);
    Ok(if is_gzip {
        Box::new(flate2::bufread::MultiGzDecoder::new(input))
    } else if is_zstd {
        Box::new(Zstd { input, decoder: FrameDecoder::new(), within: false })
    } else {
        Box::new(input)
    })
}

/// Any number of zstd frames, one after the other; ruzstd reads one.
struct Zstd<R> {
    input: R,
    decoder: FrameDecoder,
    within: bool,
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while !buffer.is_empty() {
            if !self.within && !self.begin()? {
                break;
            }
            while self.decoder.can_collect() < buffer.len() && !self.decoder.is_finished() {
                let missing = BlockDecodingStrategy::UptoBytes(buffer.len() - self.decoder.can_collect());
                self.decoder.decode_blocks(&mut self.input, missing).map_err(io::Error::other)?;
            }
            let count = self.decoder.read(buffer)?;
            if count > 0 {
                return Ok(count);
            }
            self.within = false;
        }
        Ok(0)
    }
}

impl<R: BufRead> Zstd<R> {
    /// Begins the next frame; false at the end of the input.
    fn begin(&mut self) -> io::Result<bool> {
        while !self.input.fill_buf()?.is_empty() {
            match self.decoder.init(&mut self.input) {
                Ok(()) => {
                    self.within = true;
                    return Ok(true);
                }
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                    io::copy(&mut (&mut self.input).take(u64::from(length)), &mut io::sink())?;
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::path::Path;

    use monoship_core::execute::process::Invocation;
    use monoship_core::execute::shutdown::Shutdown;

    fn packed(dir: &Path, format: &str) -> Vec<u8> {
        let archive = dir.join("a.tar");
        let tar = Invocation::new("tar").args(["--create", "--format", format, "--file"]).arg(&archive).dir(dir.join("in"));
        tar.arg(".").read(&Shutdown::new()).unwrap();
        std::fs::read(archive).unwrap()
    }

    fn listed(bytes: &[u8]) -> io::Result<Vec<(String, Kind, String)>> {
        let mut found = Vec::new();
        visit(bytes, |entry, content| {
            let mut text = String::new();
            content.read_to_string(&mut text)?;
            assert_eq!(text.len() as u64, entry.size, "{entry:?}");
            found.push((entry.path, entry.kind, if entry.kind == Kind::File { text } else { entry.target }));
            Ok(())
        })?;
        found.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(found)
    }

    #[test]
    fn what_tar_packs_in_any_of_its_formats_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let long = "a-rather-long-name/".repeat(9) + &"x".repeat(120);
        let root = dir.path().join("in");
        std::fs::create_dir_all(root.join(&long).parent().unwrap()).unwrap();
        std::fs::write(root.join("short"), "one").unwrap();
        std::fs::write(root.join(&long), "y".repeat(700)).unwrap();
        std::fs::hard_link(root.join("short"), root.join("twin")).unwrap();
        std::os::unix::fs::symlink("short", root.join("soft")).unwrap();
        for format in ["pax", "gnu"] {
            let found = listed(&packed(dir.path(), format)).unwrap();
            let of = |name: &str| found.iter().find(|(path, ..)| path == name).unwrap();
            assert_eq!(of(&long).2.len(), 700, "{format}");
            assert_eq!((of("soft").1, of("a-rather-long-name").1), (Kind::Other, Kind::Folder), "{format}");
            let mut twins = [of("short").clone(), of("twin").clone()];
            twins.sort_by_key(|twin| twin.1 == Kind::HardLink);
            assert_eq!((twins[0].2.as_str(), &twins[1].2), ("one", &twins[0].0), "{format}");
        }
    }

    #[test]
    fn a_cut_or_foreign_archive_is_an_error_and_never_the_end() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("in")).unwrap();
        std::fs::write(dir.path().join("in/file"), "z".repeat(2_000)).unwrap();
        let whole = packed(dir.path(), "pax");
        let cut = whole.iter().position(|byte| *byte == b'z').unwrap();
        for length in [100, cut + 1, cut + 1_999, cut + 2_001] {
            assert!(listed(&whole[..length]).is_err(), "{length}");
        }
        assert!(listed(&[b'x'; 1_024]).unwrap_err().to_string().contains("not a whole tar archive"));
        assert!(listed(b"").unwrap().is_empty());
    }

    #[test]
    fn content_that_nobody_reads_is_passed_over_and_must_be_there_all_the_same() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("in")).unwrap();
        std::fs::write(dir.path().join("in/one"), "z".repeat(2_000)).unwrap();
        std::fs::write(dir.path().join("in/two"), "y").unwrap();
        let whole = packed(dir.path(), "gnu");
        let count = |bytes: &[u8]| {
            let mut files = 0;
            visit(bytes, |entry, _| {
                files += u32::from(entry.kind == Kind::File);
                Ok(())
            })
            .map(|()| files)
        };
        assert_eq!(count(&whole).unwrap(), 2);
        let cut = whole.iter().position(|byte| *byte == b'z').unwrap();
        assert!(count(&whole[..cut + 900]).unwrap_err().to_string().contains("an entry breaks off"));
        let stop = visit(whole.as_slice(), |_, _| Err(io::Error::other("enough")));
        assert_eq!(stop.unwrap_err().to_string(), "enough", "the visitor's own errors stay as they are");
    }

    #[test]
    fn a_sparse_file_has_its_holes() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("in")).unwrap();
        let file = std::fs::File::create(dir.path().join("in/holes")).unwrap();
        file.set_len(1 << 20).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, b"end", (1 << 20) - 3).unwrap();
        let archive = dir.path().join("a.tar");
        let tar = Invocation::new("tar").args(["--create", "--sparse", "--format", "gnu", "--file"]).arg(&archive);
        tar.dir(dir.path().join("in")).arg("holes").read(&Shutdown::new()).unwrap();
        let bytes = std::fs::read(archive).unwrap();
        assert!(bytes.len() < 1 << 19, "tar packed the holes: {} bytes", bytes.len());
        let (path, kind, content) = listed(&bytes).unwrap().remove(0);
        assert_eq!((path.as_str(), kind, content.len()), ("holes", Kind::File, 1 << 20));
        assert!(content.ends_with("\0end") && content.starts_with("\0\0"));
    }

    /// A header of that kind which claims that much content.
    fn header(kind: EntryType, size: u64) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_path("x").unwrap();
        header.set_size(size);
        header.set_cksum();
        header
    }

    #[test]
    fn a_header_that_claims_gigabytes_is_refused_before_they_are_read() {
        for kind in [EntryType::GNULongName, EntryType::GNULongLink, EntryType::XHeader] {
            let left = Rc::new(Cell::new(u64::MAX));
            let content = Limited { input: io::repeat(b'a').take(1 << 34), left: Rc::clone(&left) };
            let header = header(kind, 1 << 34);
            let error = visit(header.as_bytes().chain(content), |_, _| Ok(())).unwrap_err().to_string();
            assert!(error.contains("a header is too long"), "{error}");
            assert!(u64::MAX - left.get() <= MAX_HEADERS, "{} bytes were read", u64::MAX - left.get());
        }
        // A file may be as long as it is.
        let file = header(EntryType::Regular, 3 * MAX_HEADERS);
        let archive = file.as_bytes().chain(io::repeat(0).take(3 * MAX_HEADERS));
        visit(archive, |entry, _| {
            assert_eq!(entry.size, 3 * MAX_HEADERS);
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn a_sparse_file_of_nothing_but_an_endless_hole_is_refused() {
        let mut bomb = header(EntryType::GNUSparse, 0);
        let gnu = bomb.as_gnu_mut().unwrap();
        gnu.set_real_size(1 << 50);
        (gnu.sparse[0].offset, gnu.sparse[0].numbytes) = (gnu.realsize, *b"00000000000\0");
        bomb.set_cksum();
        let error = visit(bomb.as_bytes().as_slice(), |_, _| Ok(())).unwrap_err().to_string();
        assert!(error.contains("sparse"), "{error}");
    }

    #[test]
    fn gzip_zstd_and_plain_streams_are_told_apart() {
        let text = "the same bytes again and again, ".repeat(10_000);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(text.as_bytes()).unwrap();
        let zstd = |part: &str| ruzstd::encoding::compress_to_vec(part.as_bytes(), ruzstd::encoding::CompressionLevel::Fastest);
        let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
        let frames = [skippable.clone(), zstd(&text[..100_000]), skippable, zstd(&text[100_000..])].concat();
        for stream in [text.clone().into_bytes(), gzip.finish().unwrap(), zstd(&text), frames] {
            let mut back = String::new();
            unpacked(io::BufReader::with_capacity(3, stream.as_slice())).unwrap().read_to_string(&mut back).unwrap();
            assert!(back == text, "{} bytes", back.len());
        }
        let cut = &zstd(&text)[..50];
        assert!(unpacked(cut).unwrap().read_to_end(&mut Vec::new()).is_err());
    }
}
