//! The engine's image store: which images are there, tagging, removing. Over the engine's unix socket (Docker Engine API 1.24 and
//! later, unversioned paths), because the skip check asks on every run and starting the `docker` client costs 50 ms; through the
//! client where the engine is elsewhere. Building and pulling are not done here.

mod build_cache;
pub use build_cache::Record;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::Deserialize;

use super::socket::Socket;
use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result};
use monoship_core::execute::http::percent_encode;
use monoship_core::execute::pool::in_parallel;
use monoship_core::execute::process::Invocation;
use monoship_core::execute::shutdown::Shutdown;
use monoship_core::name::{Digest, ImageRef};
use monoship_core::sorted::{SortedMap, SortedSet};

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
    pub labels: SortedMap<String, String>,
    /// Every name it has.
    pub tags: Vec<String>,
}

/// An engine's image store.
#[derive(Clone)]
pub struct ImageStore {
    reach: Reach,
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
    labels: Option<SortedMap<String, String>>,
}

/// An image of the engine's list.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    id: Digest,
    repo_tags: Option<Vec<String>>,
    repo_digests: Option<Vec<String>>,
}

/// A layer of an image's history, newest first; only the newest has an id, the others say `<missing>`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Layer {
    id: String,
}

/// A line of the client's list: one name of an image.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListedByClient {
    #[serde(rename = "ID")]
    id: Digest,
    repository: String,
    tag: String,
    digest: String,
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
        Self { reach, shutdown: shutdown.clone() }
    }

    /// The ids of many images, in order; `None` where the store has none of that name.
    ///
    /// An image's history begins with its id and its names, and costs a quarter of what the engine's list does, which adds up the size of
    /// each image. The list is asked about the rest, all at once: names by digest, which no history has, images without a history, images
    /// for other platforms, and those that are not there, which the history says by a status that means other things too.
    ///
    /// # Errors
    /// When the engine cannot be reached or answers nonsense.
    pub fn ids(&self, images: &[ImageRef]) -> Result<Vec<Option<Digest>>> {
        if images.is_empty() {
            return Ok(Vec::new());
        }
        let mut known = match &self.reach {
            Reach::Socket(socket) => histories(socket, images)?,
            Reach::Client(_) => HashMap::new(),
        };
        let open = images.iter().filter(|image| !known.contains_key(&listed_name(image)));
        let patterns: SortedSet<String> = open.map(pattern).into_set();
        if !patterns.is_empty() {
            known.extend(match &self.reach {
                Reach::Socket(socket) => list(socket, &patterns)?,
                Reach::Client(client) => self.list_by_client(client, &patterns)?,
            });
        }
        Ok(images.iter().map(|image| known.get(&listed_name(image)).cloned()).into_vec())
    }

    /// How much memory the machine has that the engine runs on, in bytes (`MemTotal` of `GET /info`); `None` where it does not say.
    ///
    /// # Errors
    /// As [`ImageStore::ids`].
    pub fn memory(&self) -> Result<Option<u64>> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Info {
            #[serde(default)]
            mem_total: u64,
        }
        let total = match &self.reach {
            Reach::Socket(socket) => at(socket).get_json("/info")?.map_or(0, |info: Info| info.mem_total),
            Reach::Client(client) => {
                let call = client.clone().args(["info", "--format", "{{.MemTotal}}"]).timeout(LIMIT);
                call.read(&self.shutdown)?.trim().parse().unwrap_or(0)
            }
        };
        Ok(Some(total).filter(|total| *total > 0))
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
            Reach::Client(client) => self.inspect_by_client(client, image),
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
                if self.ids(std::slice::from_ref(image))? == [None] {
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
        let names: Vec<String> = images.iter().map(|image| format!("names={image}")).into_vec();
        let path = format!("/images/get?{}", names.join("&"));
        at(socket).download(&path, "hand out its images")
    }

    /// Whether there is one is asked of the list: the inspection says only in words that there is none.
    fn inspect_by_client(&self, client: &Invocation, image: &ImageRef) -> Result<Option<LocalImage>> {
        if self.ids(std::slice::from_ref(image))? == [None] {
            return Ok(None);
        }
        let call = client.clone().args(["image", "inspect", "--format", "{{json .}}"]).arg(image.to_string()).timeout(LIMIT);
        let inspected: Inspected = serde_json::from_str(&call.read(&self.shutdown)?)
            .map_err(|e| Error::failed(format!("the client's answer about {image} is unexpected JSON")).source(e))?;
        Ok(Some(inspected.into()))
    }

    /// One start of the client for all images.
    fn list_by_client(&self, client: &Invocation, patterns: &SortedSet<String>) -> Result<HashMap<String, Digest>> {
        let call = client.clone().args(["image", "ls", "--no-trunc", "--digests", "--format", "{{json .}}"]);
        let call = call.args(patterns.iter().map(|pattern| format!("--filter=reference={pattern}")));
        let text = call.timeout(LIMIT.saturating_mul(3)).read(&self.shutdown)?;
        let mut known = HashMap::new();
        for line in text.lines().filter(|line| !line.is_empty()) {
            let listed: ListedByClient = serde_json::from_str(line)
                .map_err(|e| Error::failed("the client's list of images is unexpected JSON").source(e))?;
            let name = |separator, reference| format!("{}{separator}{reference}", listed.repository);
            learn(&mut known, name(':', listed.tag.as_str()), &listed.id);
            learn(&mut known, name('@', listed.digest.as_str()), &listed.id);
        }
        Ok(known)
    }
}

/// What the filter `reference` finds an image by (Go's `path.Match` on the short form of its name): all of its tagged name, or for
/// a digest, which the filter does not know, its repository.
fn pattern(image: &ImageRef) -> String {
    if image.digest().is_some() { image.without_reference().familiar() } else { listed_name(image) }
}

/// An image's name as the engine's list writes it: short, with the digest in place of a tag where it has one.
fn listed_name(image: &ImageRef) -> String {
    let separator = if image.digest().is_some() { '@' } else { ':' };
    format!("{}{separator}{}", image.without_reference().familiar(), image.reference())
}

/// What the histories of these images tell: the ids by name.
fn histories(socket: &Path, images: &[ImageRef]) -> Result<HashMap<String, Digest>> {
    let tagged: SortedSet<String> = images.iter().filter(|image| image.digest().is_none()).map(listed_name).into_set();
    let tagged: Vec<String> = tagged.into_iter().into_vec();
    let ask = |name: &String| at(socket).ask("GET", &format!("/images/{name}/history"));
    let mut known = HashMap::new();
    for (name, answer) in tagged.iter().zip(in_parallel(&tagged, ask)) {
        let answer = answer?;
        let layers: Vec<Layer> =
            if answer.status == 200 { serde_json::from_slice(&answer.body).unwrap_or_default() } else { Vec::new() };
        if let Some(id) = layers.first().and_then(|newest| newest.id.parse().ok()) {
            known.insert(name.clone(), id);
        }
    }
    Ok(known)
}

/// The images that bear one of these names, by every name they have.
fn list(socket: &Path, patterns: &SortedSet<String>) -> Result<HashMap<String, Digest>> {
    let filters = serde_json::json!({ "reference": patterns }).to_string();
    let listed: Option<Vec<Listed>> = at(socket).get_json(&format!("/images/json?filters={}", percent_encode(&filters)))?;
    let mut known = HashMap::new();
    for image in listed.unwrap_or_default() {
        for name in [image.repo_tags, image.repo_digests].into_iter().flatten().flatten() {
            learn(&mut known, name, &image.id);
        }
    }
    Ok(known)
}

/// Of an image with several names the list tells one by its digest alone (engine 28.5); the others follow from their tags.
fn learn(known: &mut HashMap<String, Digest>, name: String, id: &Digest) {
    if let Some((repository, _)) = name.rsplit_once(':').filter(|(repository, _)| !repository.contains('@')) {
        known.insert(format!("{repository}@{id}"), id.clone());
    }
    known.insert(name, id.clone());
}

fn at(path: &Path) -> Socket<'_> {
    Socket { path, patience: LIMIT }
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
    fn histories_and_one_list_give_the_ids_in_order_and_an_image_that_is_not_there_is_no_error() {
        let dir = tempfile::tempdir().unwrap();
        let (asked, questions) = std::sync::mpsc::channel();
        let store = engine(dir.path(), move |question| {
            asked.send(question.to_owned()).unwrap();
            let of_two = format!(r#"{{"Id":"{ID}","RepoTags":["a:1","r.example/x/c:2"],"RepoDigests":["a@{ID}"]}}"#);
            match question {
                "GET /images/own:1/history" => (200, format!(r#"[{{"Id":"{ID}","Tags":null}},{{"Id":"<missing>"}}]"#)),
                "GET /images/a:1/history" => (200, "null".to_owned()),
                list if list.starts_with("GET /images/json?") => (200, format!(r#"[{of_two},{{"Id":"{ID}","RepoTags":null}}]"#)),
                _ => (404, r#"{"message":"No such image"}"#.to_owned()),
            }
        });
        let id: Option<Digest> = Some(ID.parse().unwrap());
        let of_digest = format!("a@{ID}");
        let images = ["docker.io/library/a:1", "b:1", "own:1", "r.example/x/c:2", "r.example/x/c", &of_digest].map(image);
        assert_eq!(store.ids(&images).unwrap(), [id.clone(), None, id.clone(), id.clone(), None, id.clone()]);
        let filters = percent_encode(r#"{"reference":["a","a:1","b:1","r.example/x/c:2","r.example/x/c:latest"]}"#);
        let mut asked: Vec<String> = questions.try_iter().collect();
        assert_eq!(asked.pop().unwrap(), format!("GET /images/json?filters={filters}"));
        asked.sort();
        let of = ["a:1", "b:1", "own:1", "r.example/x/c:2", "r.example/x/c:latest"];
        assert_eq!(asked, of.map(|name| format!("GET /images/{name}/history")));
        assert_eq!(store.ids(&[image("own:1")]).unwrap(), [id]);
        assert_eq!(questions.try_iter().collect::<Vec<_>>(), ["GET /images/own:1/history"], "nothing is left for the list");
        assert_eq!(store.ids(&[]).unwrap(), []);
        assert_eq!(questions.try_iter().count(), 0, "nothing to ask, nothing asked");
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
            "#!/bin/sh\necho \"$*\" >> {0}/calls\ncase $2 in\n\
             ls) echo '{{\"ID\":\"{ID}\",\"Repository\":\"a\",\"Tag\":\"1\",\"Digest\":\"<none>\"}}' ;;\n\
             inspect) echo '{{\"Id\":\"{ID}\",\"Size\":3}}' ;;\nesac\n",
            dir.path().display()
        );
        std::fs::write(&client, script).unwrap();
        std::fs::set_permissions(&client, std::fs::Permissions::from_mode(0o755)).unwrap();
        let store = ImageStore::new(Some("ssh://build@host"), Invocation::new(&client), &Shutdown::new());
        let calls = || std::fs::read_to_string(dir.path().join("calls")).unwrap();
        assert_eq!(store.ids(&[image("b:1"), image("a:1")]).unwrap(), [None, Some(ID.parse().unwrap())]);
        let list = "image ls --no-trunc --digests --format {{json .}}";
        assert_eq!(calls(), format!("{list} --filter=reference=a:1 --filter=reference=b:1\n"));
        assert_eq!(store.inspect(&image("a:1")).unwrap().unwrap().size, 3);
        assert_eq!(store.inspect(&image("b:1")).unwrap(), None);
        assert!(!store.remove(&image("b:1")).unwrap());
        assert_eq!(
            calls().lines().filter(|call| !call.starts_with(list)).count(),
            1,
            "what is not there is not inspected or removed"
        );
    }
}
