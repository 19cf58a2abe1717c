//! Blobs: reading with their digest checked, ranges, uploads in one piece or in many, and mounting from another repository.

use std::io::{self, Read};
use std::sync::Arc;

use ring::digest;

use super::{Call, HEAD_REFUSED, Registry, corrupt};
use crate::manifest::{Descriptor, Document, Raw};
use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result};
use monoship_core::execute::http::{Request, Stream, percent_encode, resolve};
use monoship_core::execute::retry::{Again, Failed};
use monoship_core::name::{Digest, ImageRef, hex};

/// Larger uploads go in pieces of this size: some registries and proxies refuse requests of more than a few hundred MiB, and a
/// token may end during a long one.
const CHUNK: usize = 16 << 20;

/// A blob as it comes. Reading to the end checks length and digest; a mismatch is an error of the last read.
pub struct Blob {
    stream: Stream,
    hasher: digest::Context,
    digest: Digest,
    read: u64,
}

impl Read for Blob {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.stream.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        self.read += count as u64;
        if count == 0 && !buffer.is_empty() {
            let got = hex(self.hasher.clone().finish().as_ref());
            if got != self.digest.hex() {
                let message = format!("blob {} is corrupt: {} bytes came, with digest sha256:{got}", self.digest, self.read);
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
        }
        Ok(count)
    }
}

/// Asks for the first byte of a blob; a registry that knows no ranges answers with all of it.
fn first_byte(url: &str) -> Request {
    Request::get(url).header("range", "bytes=0-0").max_body(1 << 20)
}

impl Registry {
    /// The length of a blob in the image's repository; `None` where it is not there.
    ///
    /// # Errors
    /// When the registry cannot be reached or refuses.
    pub fn has_blob(&self, image: &ImageRef, digest: &Digest) -> Result<Option<u64>> {
        self.blob_length(&Call::pull(image), digest)
    }

    /// True where the registry says of the blob, asked for its first byte, that it is not there: what keeps its list of blobs apart from the blobs
    /// themselves (a bucket, a disk) may answer a HEAD by the list.
    ///
    /// # Errors
    /// As [`Registry::has_blob`].
    pub fn has_lost(&self, image: &ImageRef, digest: &Digest) -> Result<bool> {
        let call = Call::pull(image);
        self.retrying(|| {
            let url = self.url(image, &format!("blobs/{digest}"))?;
            Ok(self.must(&call, &[200, 206, 404, 416], || first_byte(&url))?.status == 404)
        })
    }

    fn blob_length(&self, call: &Call<'_>, digest: &Digest) -> Result<Option<u64>> {
        self.retrying(|| {
            let url = self.url(call.image, &format!("blobs/{digest}"))?;
            let mut response = self.must(call, &[&[200, 404], HEAD_REFUSED].concat(), || Request::new("HEAD", &url))?;
            if HEAD_REFUSED.contains(&response.status) {
                response = self.must(call, &[200, 206, 404, 416], || first_byte(&url))?;
            }
            // Of a part, the whole length stands behind the slash (RFC 9110 §14.4).
            let length = match response.header("content-range") {
                Some(range) => range.rsplit('/').next(),
                None => response.header("content-length"),
            };
            let length = length.and_then(|text| text.parse().ok()).unwrap_or(0);
            Ok((response.status != 404).then_some(length))
        })
    }

    /// A whole blob of at most `max` bytes.
    ///
    /// # Errors
    /// When it is larger, missing or corrupt, or the registry cannot be reached or refuses.
    pub fn blob(&self, image: &ImageRef, digest: &Digest, max: u64) -> Result<Vec<u8>> {
        let call = Call::pull(image);
        self.retrying(|| {
            let url = self.url(image, &format!("blobs/{digest}"))?;
            let response = self.must(&call, &[200], || Request::get(&url).max_body(max))?;
            let got = Digest::of(&response.body);
            if got == *digest { Ok(response.body) } else { Err(corrupt(&format!("blob {digest}"), digest, &got)) }
        })
    }

    /// Opens a blob of any size. Only the opening is tried again.
    ///
    /// # Errors
    /// When it is missing, or the registry cannot be reached or refuses.
    pub fn open_blob(&self, image: &ImageRef, digest: &Digest) -> Result<Blob> {
        let call = Call::pull(image);
        self.retrying(|| {
            let url = self.url(image, &format!("blobs/{digest}"))?;
            // A byte tells whether we may, and buys the token; its answer may be a redirect that was followed.
            self.must(&call, &[200, 206, 416], || first_byte(&url))?;
            let stream = self.stream(&call, &url)?;
            Ok(Blob { stream, hasher: digest::Context::new(&digest::SHA256), digest: digest.clone(), read: 0 })
        })
    }

    /// Puts a blob into the image's repository, unless it is there. Returns its descriptor under `media_type`.
    ///
    /// # Errors
    /// When the registry cannot be reached or refuses.
    pub fn push_blob(&self, image: &ImageRef, media_type: &str, bytes: &[u8]) -> Result<Descriptor> {
        self.push_blob_in_pieces(image, media_type, bytes, CHUNK)
    }

    /// [`Registry::push_blob`] with another size of the pieces, in bytes, at least 1.
    ///
    /// # Errors
    /// As there.
    pub fn push_blob_in_pieces(&self, image: &ImageRef, media_type: &str, bytes: &[u8], chunk: usize) -> Result<Descriptor> {
        let descriptor = Descriptor::of(media_type, bytes);
        // As one who writes: of a repository that is not there yet, Docker Hub and Quay tell nobody else that it holds nothing.
        if self.blob_length(&Call::push(image), &descriptor.digest)?.is_some() {
            return Ok(descriptor);
        }
        let pieces: Vec<Arc<[u8]>> = bytes.chunks(chunk.max(1)).map(Arc::from).into_vec();
        self.retrying(|| self.upload(image, &descriptor.digest, &pieces))?;
        Ok(descriptor)
    }

    /// One try of a whole upload: an interrupted one is begun anew, since what the registry kept of it is not certain.
    fn upload(&self, image: &ImageRef, digest: &Digest, pieces: &[Arc<[u8]>]) -> Result<(), Failed> {
        let call = Call::push(image);
        let start = self.url(image, "blobs/uploads/")?;
        let begun = self.must(&call, &[202], || Request::new("POST", &start).body(Vec::new()))?;
        let mut location = location_of(image, &start, begun.header("location"))?;
        let (last, before) = pieces.split_last().map_or((None, pieces), |(last, before)| (Some(last), before));
        let mut sent = 0;
        for piece in before {
            let range = format!("{sent}-{}", sent + piece.len() - 1);
            let response = self.upload_step(&call, &[202], || {
                Request::new("PATCH", &location)
                    .header("content-type", "application/octet-stream")
                    .header("content-range", &range)
                    .body(Arc::clone(piece))
            })?;
            location = location_of(image, &location, response.as_deref())?;
            sent += piece.len();
        }
        let separator = if location.contains('?') { '&' } else { '?' };
        let end = format!("{location}{separator}digest={}", percent_encode(digest.as_str()));
        let last = last.cloned().unwrap_or_else(|| Arc::from(&b""[..]));
        self.upload_step(&call, &[201, 204], || {
            let request = Request::new("PUT", &end).header("content-type", "application/octet-stream");
            // The last of several pieces says where it belongs, too.
            let request =
                if sent > 0 { request.header("content-range", format!("{sent}-{}", sent + last.len() - 1)) } else { request };
            request.body(Arc::clone(&last))
        })?;
        Ok(())
    }

    /// A step of an upload, returning its location. A 404 or 416 says that the registry lost track of it: begin anew.
    fn upload_step(&self, call: &Call<'_>, expected: &[u16], make: impl Fn() -> Request) -> Result<Option<String>, Failed> {
        let all: Vec<u16> = expected.iter().copied().chain([404, 416]).into_vec();
        let response = self.must(call, &all, make)?;
        if matches!(response.status, 404 | 416) {
            let error = Error::failed(format!("{} lost track of an upload", call.image.registry()));
            return Err(Failed { error, again: Again::Backoff });
        }
        Ok(response.header("location").map(str::to_owned))
    }

    /// Makes a blob of `from`'s repository appear in `to`'s, both on one registry, without moving it. False where the registry
    /// would not (the upload it offers instead is left to expire).
    ///
    /// # Errors
    /// When the registry cannot be reached or refuses.
    pub fn mount_blob(&self, from: &ImageRef, to: &ImageRef, digest: &Digest) -> Result<bool> {
        let mut call = Call::push(to);
        call.scope = format!("{} repository:{}:pull", call.scope, from.repository());
        self.retrying(|| {
            let (digest, source) = (percent_encode(digest.as_str()), percent_encode(from.repository()));
            let url = self.url(to, &format!("blobs/uploads/?mount={digest}&from={source}"))?;
            Ok(self.must(&call, &[201, 202], || Request::new("POST", &url).body(Vec::new()))?.status == 201)
        })
    }

    /// Makes an image of one repository stand in another, on one or two registries, byte for byte: blobs and children first, then
    /// the image itself under `to`'s tag or its digest. Returns it.
    ///
    /// # Errors
    /// When something it needs is missing, or a registry cannot be reached or refuses.
    pub fn copy(&self, from: &ImageRef, to: &ImageRef) -> Result<Raw> {
        let raw = self.need_manifest(from)?;
        self.copy_children(from, to, &raw)?;
        self.put_manifest(to, &raw)?;
        Ok(raw)
    }

    fn copy_children(&self, from: &ImageRef, to: &ImageRef, raw: &Raw) -> Result<()> {
        let document = raw.document()?;
        for child in document.children() {
            if child.is_manifest() && matches!(document, Document::Index(_)) {
                let source = from.without_reference().with_digest(child.digest.clone());
                let target = to.without_reference().with_digest(child.digest.clone());
                if self.resolve(&target)?.is_none() {
                    self.copy(&source, &target)?;
                }
            } else {
                self.copy_blob(from, to, child)?;
            }
        }
        Ok(())
    }

    fn copy_blob(&self, from: &ImageRef, to: &ImageRef, blob: &Descriptor) -> Result<()> {
        if self.has_blob(to, &blob.digest)?.is_some() {
            return Ok(());
        }
        if from.registry() == to.registry() && self.mount_blob(from, to, &blob.digest)? {
            return Ok(());
        }
        let bytes = self.blob(from, &blob.digest, blob.size)?;
        self.push_blob(to, &blob.media_type, &bytes)?;
        Ok(())
    }

    fn stream(&self, call: &Call<'_>, url: &str) -> Result<Stream, Failed> {
        let session = self.session(call.image.registry());
        let mut request = Request::get(url);
        if let super::Proof::Header(Some(header)) = session.proof(&self.http, &self.inner.credentials, &call.scope)? {
            request = request.header("authorization", header.expose());
        }
        let (head, stream) = self.http.open(request)?;
        if head.status != 200 {
            let error = Error::failed(format!("{} answered {} instead of a blob", head.url(), head.status));
            return Err(Failed { again: head.again(), error });
        }
        Ok(stream)
    }
}

/// Where an upload goes on: the answer's location, seen from what was asked.
fn location_of(image: &ImageRef, asked: &str, answer: Option<&str>) -> Result<String, Failed> {
    let Some(location) = answer else {
        return Err(Error::failed(format!("{} begins an upload without saying where", image.registry())).into());
    };
    Ok(resolve(asked, location)?)
}
