//! Tar archives and packed streams as they come, one entry after the other, never on disk. What an entry means is not known here.
//!
//! Formats: POSIX.1-2017 `pax` (ustar with extended headers), GNU tar's long names and base-256 numbers; RFC 1952 (gzip), RFC 8878 (zstd).

use std::io::{self, BufRead, Read};

use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

const BLOCK: usize = 512;

/// Longer than any path; an extended header that claims more is not read into memory.
const MAX_EXTENDED: u64 = 1 << 20;

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

/// An archive that is being read. After [`Tar::next`], reading gives the entry's content.
pub struct Tar<R> {
    input: R,
    /// Bytes of the entry's content that were not read yet.
    left: u64,
    /// Zeros that fill its last block.
    padding: u64,
}

impl<R: Read> Tar<R> {
    /// Reads from `input`, which is not compressed.
    pub fn new(input: R) -> Self {
        Self { input, left: 0, padding: 0 }
    }

    /// The next entry; what was not read of the one before is passed over. `None` at the end.
    ///
    /// # Errors
    /// When the input breaks off or is no archive.
    pub fn next(&mut self) -> io::Result<Option<Entry>> {
        let (mut path, mut size, mut target) = (None, None, None);
        loop {
            let Some(block) = self.header()? else { return Ok(None) };
            let (kind, length) = (block[156], number(&block[124..136])?);
            match kind {
                b'L' => path = Some(text(&self.extended(length)?)),
                b'K' => target = Some(text(&self.extended(length)?)),
                b'x' => {
                    for (key, value) in records(&self.extended(length)?)? {
                        match key.as_str() {
                            "path" => path = Some(value),
                            "linkpath" => target = Some(value),
                            "size" => size = Some(value.parse().map_err(|_| malformed("a size that is no number"))?),
                            _ => {}
                        }
                    }
                }
                // Global headers hold nothing that we read.
                b'g' => drop(self.extended(length)?),
                _ => {
                    let kind = match kind {
                        b'0' | 0 | b'7' => Kind::File,
                        b'1' => Kind::HardLink,
                        b'5' => Kind::Folder,
                        _ => Kind::Other,
                    };
                    let size = if kind == Kind::File { size.unwrap_or(length) } else { 0 };
                    self.open(if kind == Kind::File { size } else { length });
                    let path = path.unwrap_or_else(|| name(&block));
                    let target = target.unwrap_or_else(|| text(&block[157..257]));
                    return Ok(Some(Entry { path: clean(&path), kind, size, target: clean(&target) }));
                }
            }
        }
    }

    fn open(&mut self, length: u64) {
        self.left = length;
        self.padding = length.next_multiple_of(BLOCK as u64) - length;
    }

    /// The next header block, `None` at the archive's end or the input's.
    fn header(&mut self) -> io::Result<Option<[u8; BLOCK]>> {
        let rest = self.left + self.padding;
        if io::copy(&mut (&mut self.input).take(rest), &mut io::sink())? < rest {
            return Err(malformed("an entry breaks off"));
        }
        (self.left, self.padding) = (0, 0);
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match self.input.read(&mut block[filled..])? {
                0 if filled == 0 => return Ok(None),
                0 => return Err(malformed("a header breaks off")),
                count => filled += count,
            }
        }
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        // The checksum counts its own field as blanks.
        let sum: u64 =
            block.iter().enumerate().map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u64::from(*byte) }).sum();
        if number(&block[148..156])? == sum { Ok(Some(block)) } else { Err(malformed("a header's checksum is wrong")) }
    }

    fn extended(&mut self, length: u64) -> io::Result<Vec<u8>> {
        if length > MAX_EXTENDED {
            return Err(malformed("an extended header is too long"));
        }
        self.open(length);
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

impl<R: Read> Read for Tar<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let count = self.input.read(&mut buffer[..most])?;
        if count == 0 {
            return Err(malformed("an entry breaks off"));
        }
        self.left -= count as u64;
        Ok(count)
    }
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not a whole tar archive: {what}"))
}

/// Octal digits, or big-endian binary where the first bit is set (GNU).
fn number(field: &[u8]) -> io::Result<u64> {
    if field[0] & 0x80 != 0 {
        let (first, rest) = (u64::from(field[0] & 0x7f), &field[1..]);
        let add = |sum: u64, byte: &u8| sum.checked_mul(256)?.checked_add(u64::from(*byte));
        return rest.iter().try_fold(first, add).ok_or_else(|| malformed("a number is too large"));
    }
    let digits = field.iter().copied().filter(|byte| !matches!(byte, b' ' | 0));
    digits.into_iter().try_fold(0_u64, |sum, byte| match byte {
        b'0'..=b'7' => Ok(sum.saturating_mul(8).saturating_add(u64::from(byte - b'0'))),
        _ => Err(malformed("a number is none")),
    })
}

/// Up to the first zero.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned()
}

fn name(block: &[u8; BLOCK]) -> String {
    let (name, prefix) = (text(&block[..100]), text(&block[345..500]));
    // GNU's own format keeps other things where ustar keeps the prefix.
    if prefix.is_empty() || &block[257..263] != b"ustar\0" { name } else { format!("{prefix}/{name}") }
}

fn clean(path: &str) -> String {
    path.split('/').filter(|part| !matches!(*part, "" | ".")).collect::<Vec<_>>().join("/")
}

/// The records of a pax header: `<length> <key>=<value>\n`, the length counting all of it.
fn records(mut bytes: &[u8]) -> io::Result<Vec<(String, String)>> {
    let wrong = || malformed("an extended header cannot be read");
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let blank = bytes.iter().position(|byte| *byte == b' ').ok_or_else(wrong)?;
        let length: usize = text(&bytes[..blank]).parse().map_err(|_| wrong())?;
        let record = bytes.get(blank + 1..length.checked_sub(1).ok_or_else(wrong)?).ok_or_else(wrong)?;
        let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(wrong)?;
        found.push((text(&record[..equals]), String::from_utf8_lossy(&record[equals + 1..]).into_owned()));
        bytes = bytes.get(length..).ok_or_else(wrong)?;
    }
    Ok(found)
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
        let mut tar = Tar::new(bytes);
        let mut found = Vec::new();
        while let Some(entry) = tar.next()? {
            let mut content = String::new();
            tar.read_to_string(&mut content)?;
            assert_eq!(content.len() as u64, entry.size, "{entry:?}");
            found.push((entry.path, entry.kind, if entry.kind == Kind::File { content } else { entry.target }));
        }
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
