//! The engine's image store: which images are there, tagging, removing. Over the engine's unix socket (Docker Engine API 1.24 and
//! later, unversioned paths), because the skip check asks on every run and starting the `docker` client costs 50 ms; through the
//! client where the engine is elsewhere. Building and pulling are not done here.
//!
//! Measured on engine 28.5 with containerd's store: the list of all images takes 8 ms an image, since it adds up sizes on disk;
//! `/images/X/json` 11 ms; `/images/X/history`, whose first entry carries the digest, 4 ms; a name that is not there 0.4 ms. All of
//! them together cost 2 ms where the engine's containerd can be asked.

mod build_cache;
pub use build_cache::Record;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::Deserialize;

use super::containerd;
use super::registry::in_parallel;
use super::socket::Socket;
use monoship_core::error::{Error, Result};
use monoship_core::execute::process::Invocation;
use monoship_core::execute::shutdown::Shutdown;
use monoship_core::name::{Digest, ImageRef};

/// A local engine answers within milliseconds; removing a large image takes a second or two.
const LIMIT: Duration = Duration::from_secs(20);

/// An image in the engine's store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalImage {
    /// With containerd's store, the digest of what was pulled or built (an index where there are several platforms or
    /// attestations); with the older store, the digest of its configuration.
    pub id: Digest,
    /// Bytes, as the engine counts: packed with containerd's store, unpacked with the older one.
    pub size: u64,
    /// When it was built; `None` where the image does not say.
    pub created: Option<SystemTime>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Every name it has.
    pub tags: Vec<String>,
}

/// An engine's image store.
#[derive(Clone)]
pub struct ImageStore {
    reach: Reach,
    containerd: Option<PathBuf>,
    shutdown: Shutdown,
}

#[derive(Debug, Clone)]
enum Reach {
    Socket(PathBuf),
    Client(Invocation),
}

/// The parts of the engine's answers that we read; absent and `null` are the same to it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    id: Digest,
    #[serde(default)]
    size: u64,
    created: Option<String>,
    config: Option<ImageConfig>,
    repo_tags: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ImageConfig {
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Layer {
    id: String,
}

impl From<Inspected> for LocalImage {
    fn from(found: Inspected) -> Self {
        Self {
            id: found.id,
            size: found.size,
            created: found.created.and_then(|time| humantime::parse_rfc3339(&time).ok()),
            labels: found.config.and_then(|config| config.labels).unwrap_or_default(),
            tags: found.repo_tags.unwrap_or_default(),
        }
    }
}

impl ImageStore {
    /// The store of the engine at `docker_host` (`unix:///run/docker.sock`; `None` is the default socket). `client` is the `docker`
    /// command with its variables and no arguments, used for every other kind of address.
    #[must_use]
    pub fn new(docker_host: Option<&str>, client: Invocation, shutdown: &Shutdown) -> Self {
        let reach = match docker_host.unwrap_or("unix:///var/run/docker.sock").strip_prefix("unix://") {
            Some(socket) => Reach::Socket(PathBuf::from(socket)),
            None => Reach::Client(client),
        };
        Self { reach, containerd: None, shutdown: shutdown.clone() }
    }

    /// The same, knowing the socket of the containerd that keeps the engine's images.
    #[must_use]
    pub fn with_containerd(self, socket: Option<PathBuf>) -> Self {
        Self { containerd: socket, ..self }
    }

    /// The ids of many images at once, in order; `None` where the store has none of that name. Without containerd about 4 ms of
    /// processor time an image.
    ///
    /// # Errors
    /// When the engine cannot be reached or answers nonsense.
    pub fn ids(&self, images: &[ImageRef]) -> Result<Vec<Option<Digest>>> {
        // It is only the quicker way: what it does not answer, the engine does. It lists tags; whether an image has a digest it does not say.
        let containerd = self.containerd.as_deref().filter(|_| images.iter().all(|image| image.digest().is_none()));
        if let Some(known) = containerd.and_then(|socket| containerd::images(socket).ok()) {
            return Ok(images.iter().map(|image| known.get(&image.to_string())?.parse().ok()).collect());
        }
        match &self.reach {
            Reach::Socket(socket) => in_parallel(images, |image| history_id(socket, image)).into_iter().collect(),
            Reach::Client(client) => {
                let found = self.inspect_by_client(client, images)?;
                Ok(found.into_iter().map(|image| image.map(|image| image.id)).collect())
            }
        }
    }

    /// One image; `None` where the store has none of that name.
    ///
    /// # Errors
    /// As [`ImageStore::ids`].
    pub fn inspect(&self, image: &ImageRef) -> Result<Option<LocalImage>> {
        match &self.reach {
            Reach::Socket(socket) => {
                let found: Option<Inspected> = at(socket).get_json(&format!("/images/{image}/json"))?;
                Ok(found.map(Into::into))
            }
            Reach::Client(client) => Ok(self.inspect_by_client(client, std::slice::from_ref(image))?.pop().flatten()),
        }
    }

    /// Gives an image another name; an image that had it loses it.
    ///
    /// # Errors
    /// When there is no such image or the engine cannot be reached.
    pub fn tag(&self, image: &ImageRef, name: &ImageRef) -> Result<()> {
        match &self.reach {
            Reach::Socket(socket) => {
                let repository = name.without_reference();
                let path = format!("/images/{image}/tag?repo={repository}&tag={}", name.reference());
                let answer = at(socket).ask("POST", &path)?;
                if answer.status == 201 { Ok(()) } else { Err(answer.failure(&format!("tag {image} as {name}"))) }
            }
            Reach::Client(client) => {
                let words = ["image".to_owned(), "tag".to_owned(), image.to_string(), name.to_string()];
                client.clone().args(words).timeout(LIMIT).read(&self.shutdown).map(drop)
            }
        }
    }

    /// Takes a name away, and the image with it where it has no other. False where there was none.
    ///
    /// # Errors
    /// When a container uses it, or the engine cannot be reached.
    pub fn remove(&self, image: &ImageRef) -> Result<bool> {
        match &self.reach {
            Reach::Socket(socket) => {
                let answer = at(socket).ask("DELETE", &format!("/images/{image}"))?;
                match answer.status {
                    200 => Ok(true),
                    404 => Ok(false),
                    _ => Err(answer.failure(&format!("remove {image}"))),
                }
            }
            Reach::Client(client) => {
                if self.inspect(image)?.is_none() {
                    return Ok(false);
                }
                let words = ["image".to_owned(), "rm".to_owned(), image.to_string()];
                client.clone().args(words).timeout(LIMIT).read(&self.shutdown).map(|_| true)
            }
        }
    }

    /// The images as `docker save` writes them, as they come: one tar archive in which what they share is once.
    ///
    /// # Errors
    /// When the engine cannot be reached, has one of them not, or is not on a local socket.
    pub fn export(&self, images: &[ImageRef]) -> Result<impl std::io::Read + use<>> {
        let Reach::Socket(socket) = &self.reach else {
            return Err(Error::failed("images can be read from an engine on a local socket only")
                .hint("push the image, and name it with its registry"));
        };
        let names: Vec<String> = images.iter().map(|image| format!("names={image}")).collect();
        let path = format!("/images/get?{}", names.join("&"));
        at(socket).download(&path, "hand out its images")
    }

    /// One start of the client for all images: it prints what it finds and complains about the rest.
    fn inspect_by_client(&self, client: &Invocation, images: &[ImageRef]) -> Result<Vec<Option<LocalImage>>> {
        if images.is_empty() {
            return Ok(Vec::new());
        }
        let invocation =
            client.clone().args(["image", "inspect", "--format", "{{json .}}"]).args(images.iter().map(ToString::to_string));
        let invocation = invocation.timeout(LIMIT.saturating_mul(3));
        let output = invocation.run(&self.shutdown)?;
        let said = output.error_tail();
        // The client shortens Docker Hub's names.
        let missing = |image: &ImageRef| {
            let (full, short) = (image.to_string(), image.familiar());
            let about = |line: &str| line.ends_with(&format!(": {short}")) || line.ends_with(&format!(": {full}"));
            said.lines().any(|line| line.contains("No such image") && about(line))
        };
        let text = output.text();
        let mut answers = text.lines().filter(|line| !line.is_empty());
        let mut found = Vec::new();
        for image in images {
            if missing(image) {
                found.push(None);
                continue;
            }
            let Some(line) = answers.next() else { return Err(invocation.failure(output.code, &said)) };
            let inspected: Inspected = serde_json::from_str(line)
                .map_err(|e| Error::failed(format!("the client's answer about {image} is unexpected JSON")).source(e))?;
            found.push(Some(inspected.into()));
        }
        Ok(found)
    }
}

fn at(path: &Path) -> Socket<'_> {
    Socket { path, patience: LIMIT }
}

fn history_id(socket: &Path, image: &ImageRef) -> Result<Option<Digest>> {
    let Some(layers) = at(socket).get_json::<Vec<Layer>>(&format!("/images/{image}/history"))? else { return Ok(None) };
    // An image without any history has no first entry either; then the longer question is asked.
    match layers.first().and_then(|layer| layer.id.parse().ok()) {
        Some(digest) => Ok(Some(digest)),
        None => Ok(at(socket).get_json::<Inspected>(&format!("/images/{image}/json"))?.map(|found| found.id)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::net::UnixListener;

    const ID: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn image(text: &str) -> ImageRef {
        text.parse().unwrap()
    }

    /// An engine of a few lines on a socket in `dir`; every answer is by method and path.
    fn engine(dir: &Path, answer: impl Fn(&str) -> (u16, String) + Send + 'static) -> ImageStore {
        let socket = dir.join("docker.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut request = [0; 4096];
                let length = stream.read(&mut request).unwrap();
                let line = String::from_utf8_lossy(&request[..length]).lines().next().unwrap_or_default().to_owned();
                let (status, body) = answer(line.trim_end_matches(" HTTP/1.0"));
                let cut = if status == 299 { body.len() / 2 } else { body.len() };
                let status = if status == 299 { 200 } else { status };
                write!(stream, "HTTP/1.0 {status} X\r\nContent-Length: {}\r\n\r\n{}", body.len(), &body[..cut]).unwrap();
            }
        });
        let host = format!("unix://{}", socket.display());
        ImageStore::new(Some(&host), Invocation::new("no-client-is-needed"), &Shutdown::new())
    }

    #[test]
    fn ids_come_in_order_and_an_image_that_is_not_there_is_no_error() {
        let dir = tempfile::tempdir().unwrap();
        let store = engine(dir.path(), |asked| match asked {
            "GET /images/docker.io/library/a:1/history" => (200, format!(r#"[{{"Id":"{ID}"}},{{"Id":"<missing>"}}]"#)),
            "GET /images/docker.io/library/old:1/history" => (200, r#"[{"Id":"<missing>"}]"#.to_owned()),
            "GET /images/docker.io/library/old:1/json" => (200, format!(r#"{{"Id":"{ID}"}}"#)),
            _ => (404, r#"{"message":"No such image"}"#.to_owned()),
        });
        let id = Some(ID.parse().unwrap());
        assert_eq!(store.ids(&[image("a:1"), image("b:1"), image("old:1")]).unwrap(), [id.clone(), None, id]);
        assert_eq!(store.inspect(&image("b:1")).unwrap(), None);
        assert!(!store.remove(&image("b:1")).unwrap());
    }

    #[test]
    fn an_inspection_reads_what_the_engine_says_and_forgives_what_it_leaves_out() {
        let dir = tempfile::tempdir().unwrap();
        let store = engine(dir.path(), |asked| {
            let full = format!(
                r#"{{"Id":"{ID}","Size":7,"Created":"2026-01-02T03:04:05.5Z","Config":{{"Labels":{{"a":"b"}}}},"RepoTags":["x:1"]}}"#
            );
            if asked.contains("full") { (200, full) } else { (200, format!(r#"{{"Id":"{ID}","Config":null,"RepoTags":null}}"#)) }
        });
        let found = store.inspect(&image("full:1")).unwrap().unwrap();
        assert_eq!((found.size, found.labels["a"].as_str(), found.tags), (7, "b", vec!["x:1".to_owned()]));
        assert_eq!(found.created, humantime::parse_rfc3339("2026-01-02T03:04:05.5Z").ok());
        let bare = store.inspect(&image("bare:1")).unwrap().unwrap();
        assert_eq!((bare.size, bare.created, bare.tags.len()), (0, None, 0));
    }

    #[test]
    fn a_dead_or_dying_engine_is_an_error_that_names_its_socket() {
        let dir = tempfile::tempdir().unwrap();
        let dead =
            ImageStore::new(Some(&format!("unix://{}/none.sock", dir.path().display())), Invocation::new("x"), &Shutdown::new());
        assert!(dead.ids(&[image("a")]).unwrap_err().to_string().contains("none.sock"));
        let dying = engine(dir.path(), |_| (299, format!(r#"[{{"Id":"{ID}"}}]"#)));
        assert!(dying.ids(&[image("a")]).unwrap_err().to_string().contains("docker.sock"));
    }

    #[test]
    fn what_the_engine_refuses_is_quoted() {
        let dir = tempfile::tempdir().unwrap();
        let store = engine(dir.path(), |asked| match asked {
            "POST /images/docker.io/library/a:1/tag?repo=r.example/b&tag=2" => (201, String::new()),
            _ => (409, r#"{"message":"a container is using it"}"#.to_owned()),
        });
        store.tag(&image("a:1"), &image("r.example/b:2")).unwrap();
        let error = store.remove(&image("a:1")).unwrap_err().to_string();
        assert_eq!(error, "the engine could not remove docker.io/library/a:1: a container is using it");
    }

    #[test]
    fn an_engine_that_is_elsewhere_is_asked_through_the_client_once_for_all_images() {
        let dir = tempfile::tempdir().unwrap();
        let client = dir.path().join("docker");
        let script = format!(
            "#!/bin/sh\necho \"$*\" >> {0}/calls\necho '{{\"Id\":\"{ID}\",\"Size\":3}}'\necho 'Error response from daemon: No such image: b:1' >&2\nexit 1\n",
            dir.path().display()
        );
        std::fs::write(&client, script).unwrap();
        std::fs::set_permissions(&client, std::fs::Permissions::from_mode(0o755)).unwrap();
        let store = ImageStore::new(Some("ssh://build@host"), Invocation::new(&client), &Shutdown::new());
        assert_eq!(store.ids(&[image("b:1"), image("a:1")]).unwrap(), [None, Some(ID.parse().unwrap())]);
        let calls = std::fs::read_to_string(dir.path().join("calls")).unwrap();
        assert_eq!(calls, "image inspect --format {{json .}} docker.io/library/b:1 docker.io/library/a:1\n");
        assert!(store.ids(&[image("a:1"), image("c:1")]).is_err(), "one answer for two images");
    }
}
