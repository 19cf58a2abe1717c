//! The one question we have for containerd, which keeps the images of an engine: every image's name and digest (`Images.List` of
//! containerd's `services/images/v1/images.proto`). The engine itself answers for one image at a time and takes 4 ms of processor
//! time for each; this takes 2 ms for hundreds. It is gRPC (HTTP/2 with length-prefixed protobuf messages): of RFC 9113 and RFC 7541
//! there is here what one question takes, with header fields written without compression and none read.

use std::collections::HashMap;
use std::io::{BufReader, Error, ErrorKind, Read, Result, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Where Docker keeps its images: the default of its `containerd-namespace`.
const NAMESPACE: &str = "moby";

/// It answers within milliseconds; who asks has another way.
const PATIENCE: Duration = Duration::from_secs(2);

/// More than any honest answer.
const MAX_BYTES: usize = 64 << 20;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Frame types and flags of RFC 9113, section 6.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// The digest that each image's full name points to.
///
/// # Errors
/// When nobody listens, or what answers is not a containerd that we understand.
pub fn images(socket: &Path) -> Result<HashMap<String, String>> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(&question())?;
    let answer = answer(&mut stream)?;
    let image = |field: &[u8]| {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
        // `Image`: name = 1, target = 3; `Descriptor`: digest = 2.
        Some((text(message(field, 1)?)?, text(message(message(field, 3)?, 2)?)?))
    };
    // `ListImagesResponse`: repeated images = 1.
    fields(&answer).filter(|(number, _)| *number == 1).map(|(_, field)| image(field).ok_or_else(unknown)).collect()
}

/// Everything that is sent: no filter, so the message is empty.
fn question() -> Vec<u8> {
    // The answer may come whole, without our saying in between that we can take more.
    let (most, more) = (u32::MAX >> 1, (u32::MAX >> 1) - 65_535);
    let initial_window = [&[0, 4][..], &most.to_be_bytes()].concat();
    // `:method: POST` and `:scheme: http` by their places in HPACK's static table; the others by name or by the name's place.
    let mut head = vec![0x83, 0x86];
    literal(&mut head, &[4], "/containerd.services.images.v1.Images/List");
    literal(&mut head, &[1], "localhost");
    literal(&mut head, &[15, 16], "application/grpc");
    literal(&mut head, b"\0\x02te", "trailers");
    literal(&mut head, b"\0\x14containerd-namespace", NAMESPACE);
    [
        PREFACE.to_vec(),
        frame(SETTINGS, 0, 0, &initial_window),
        frame(WINDOW_UPDATE, 0, 0, &more.to_be_bytes()),
        frame(HEADERS, END_HEADERS, 1, &head),
        frame(DATA, END_STREAM, 1, &[0; 5]),
    ]
    .concat()
}

/// A header field that is not compressed; values are shorter than 127 bytes.
fn literal(head: &mut Vec<u8>, name: &[u8], value: &str) {
    head.extend_from_slice(name);
    head.push(u8::try_from(value.len()).unwrap_or(u8::MAX));
    head.extend_from_slice(value.as_bytes());
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The message that is answered with. A refusal comes without one; what it says is in compressed headers.
fn answer(stream: &mut UnixStream) -> Result<Vec<u8>> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut body = Vec::new();
    loop {
        let mut head = [0; 9];
        reader.read_exact(&mut head)?;
        let [a, b, c, kind, flags, ..] = head;
        let length = u64::from(u32::from_be_bytes([0, a, b, c]));
        let mut payload = Vec::new();
        if reader.by_ref().take(length).read_to_end(&mut payload)? as u64 != length || body.len() > MAX_BYTES {
            return Err(unknown());
        }
        match kind {
            DATA => body.extend_from_slice(&payload),
            SETTINGS if flags & ACK == 0 => stream.write_all(&frame(SETTINGS, ACK, 0, &[]))?,
            _ => {}
        }
        if matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0 {
            break;
        }
    }
    // A byte that says whether it is compressed, four with its length, the message.
    let (prefix, message) = body.split_at_checked(5).ok_or_else(unknown)?;
    let length = u32::try_from(message.len()).map_err(|_| unknown())?;
    if prefix == [&[0], &length.to_be_bytes()[..]].concat() { Ok(message.to_vec()) } else { Err(unknown()) }
}

fn unknown() -> Error {
    Error::new(ErrorKind::InvalidData, "containerd answered something unknown")
}

/// The first field of that number which holds bytes.
fn message(bytes: &[u8], number: u64) -> Option<&[u8]> {
    fields(bytes).find(|(found, _)| *found == number).map(|(_, field)| field)
}

/// The fields of a protobuf message that hold bytes, with their numbers; the others are passed over. It ends where it is not understood.
fn fields(bytes: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        loop {
            let key = varint(&mut rest)?;
            let length = match key & 7 {
                0 => varint(&mut rest).map(|_| 0)?,
                1 => 8,
                2 => usize::try_from(varint(&mut rest)?).ok()?,
                5 => 4,
                _ => return None,
            };
            let (field, after) = rest.split_at_checked(length)?;
            rest = after;
            if key & 7 == 2 {
                return Some((key >> 3, field));
            }
        }
    })
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    /// What is made of an answer of these bytes.
    fn answered(bytes: Vec<u8>) -> Result<HashMap<String, String>> {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("containerd.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(&bytes).unwrap();
            // The client may have hung up over what it was told.
            let _ = stream.read_to_end(&mut Vec::new());
        });
        images(&socket)
    }

    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, u8::try_from(bytes.len()).unwrap()], bytes].concat()
    }

    #[test]
    fn an_answer_in_pieces_is_read_and_what_is_not_asked_for_passed_over() {
        // A number and a time stamp before the digest, and a label beside the target.
        let target = [&[8, 0x96, 1, 0x19, 0, 0, 0, 0, 0, 0, 0, 0][..], &field(2, b"sha256:1")].concat();
        let image = [field(1, b"r/a:1"), field(2, b"label"), field(3, &target)].concat();
        let response = [field(1, &image), field(7, b"new")].concat();
        let body = [&[0, 0, 0, 0, u8::try_from(response.len()).unwrap()], &response[..]].concat();
        let (one, two) = body.split_at(20);
        let frames = [
            frame(SETTINGS, 0, 0, &[]),
            frame(HEADERS, END_HEADERS, 1, &[0x88]),
            frame(DATA, 0, 1, one),
            frame(6, 0, 0, &[0; 8]),
            frame(DATA, 0, 1, two),
            frame(HEADERS, END_HEADERS | END_STREAM, 1, &[]),
        ];
        assert_eq!(answered(frames.concat()).unwrap(), HashMap::from([("r/a:1".to_owned(), "sha256:1".to_owned())]));
    }

    #[test]
    fn a_refusal_or_an_answer_that_breaks_off_is_an_error_and_not_an_empty_store() {
        let end = frame(HEADERS, END_HEADERS | END_STREAM, 1, &[]);
        assert!(answered(end.clone()).is_err());
        assert!(answered([frame(DATA, 0, 1, &[0, 0, 0, 0, 9, 1]), end.clone()].concat()).is_err());
        assert!(answered([frame(DATA, 0, 1, &[1, 0, 0, 0, 0]), end.clone()].concat()).is_err());
        assert!(answered(frame(DATA, 0, 1, &[0; 5])).is_err());
        assert!(answered([frame(DATA, 0, 1, &[0, 0, 0, 0, 4, 10, 2, 8, 0]), end.clone()].concat()).is_err());
        assert_eq!(answered([frame(DATA, 0, 1, &[0; 5]), end].concat()).unwrap(), HashMap::new());
    }
}
