//! A fake of the GitHub Actions cache service, version 2, as BuildKit's `gha` exporter and importer use it: twirp over JSON
//! for the entries, Azure block blobs for the bytes. It keeps the rules that matter to a build: entries belong to the git ref
//! that wrote them, a token reads the refs it lists and writes one, keys are never overwritten, and budgets run out.
//!
//! Source of the protocol: `tonistiigi/go-actions-cache` (`cache_v2.go`) and `actions/toolkit` (`packages/cache`); what a token
//! without the right is told, and that it is told so with status 200 on a write, is from public runs' logs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use monoship_core::name::sha256_hex;
use serde_json::{Value, json};

use super::http::{Request, Response, Server};

/// Permission bits of a token's scope, as GitHub numbers them.
pub const READ: u32 = 1;
pub const WRITE: u32 = 2;

/// A runtime token as a runner gets it: a JWT whose `ac` claim is a JSON *string*. `valid_for_seconds` may be negative.
pub fn runtime_token(scopes: &[(&str, u32)], valid_for_seconds: i64) -> String {
    let now = seconds_now();
    let access: Vec<Value> = scopes.iter().map(|(scope, bits)| json!({"Scope": scope, "Permission": bits})).collect();
    let claims = json!({
        "ac": Value::from(access).to_string(),
        "scp": "Actions.Results:11111111-1111-1111-1111-111111111111:22222222-2222-2222-2222-222222222222",
        "nbf": now - 300, "exp": now + valid_for_seconds, "iat": now - 300,
    });
    let head = URL_SAFE_NO_PAD.encode(json!({"alg": "RS256", "typ": "JWT"}).to_string());
    let signed = format!("{head}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
    format!("{signed}.{}", signature(&signed))
}

fn signature(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(sha256_hex(format!("the fake's own secret|{text}").as_bytes()))
}

fn seconds_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).expect("this century")
}

/// One finished entry.
#[derive(Debug, Clone)]
pub struct Entry {
    pub id: u64,
    pub key: String,
    pub version: String,
    /// The git ref that wrote it.
    pub git_ref: String,
    pub data: Vec<u8>,
    /// How often a download URL was handed out for it.
    pub hits: usize,
    pub created: SystemTime,
    pub accessed: SystemTime,
}

#[derive(Default)]
struct Upload {
    key: String,
    version: String,
    git_ref: String,
    blocks: BTreeMap<String, Vec<u8>>,
    data: Option<Vec<u8>>,
}

#[derive(Default)]
struct State {
    next_id: u64,
    uploads: BTreeMap<u64, Upload>,
    entries: BTreeMap<u64, Entry>,
    created_at: Vec<Instant>,
    uploads_per_minute: Option<usize>,
    quota_bytes: Option<usize>,
    failures: Vec<(String, u16)>,
    log: Vec<String>,
}

/// The entries of one repository; clones share them, so that the REST fake can list and delete what builds wrote.
#[derive(Clone, Default)]
pub struct CacheStore(Arc<Mutex<State>>);

impl CacheStore {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every finished entry, oldest first.
    pub fn entries(&self) -> Vec<Entry> {
        self.lock().entries.values().cloned().collect()
    }

    /// Bytes of all finished entries.
    pub fn bytes(&self) -> usize {
        self.lock().entries.values().map(|entry| entry.data.len()).sum()
    }

    /// The BuildKit scopes that have an index: `S` of `index-S-1-<8 hex>#N`.
    pub fn scopes(&self) -> BTreeSet<String> {
        let state = self.lock();
        let indexes = state.entries.values().filter_map(|entry| entry.key.strip_prefix("index-"));
        indexes.filter_map(|rest| Some(rest.rsplit_once("-1-")?.0.to_owned())).collect()
    }

    /// One line a call: `CreateCacheEntry index-… 200`, `GET blob/7 206`; ` no` is added where the answer says `ok: false`.
    pub fn log(&self) -> Vec<String> {
        self.lock().log.clone()
    }

    /// Puts an entry as if a run on `git_ref` had written it `age` ago.
    pub fn put(&self, git_ref: &str, key: &str, data: &[u8], age: Duration) -> u64 {
        let mut state = self.lock();
        let id = state.id();
        let then = SystemTime::now() - age;
        let (key, version) = (key.to_owned(), "0".repeat(64));
        let entry =
            Entry { id, key, version, git_ref: git_ref.to_owned(), data: data.to_vec(), hits: 0, created: then, accessed: then };
        state.entries.insert(id, entry);
        id
    }

    /// Deletes an entry; false where there is none of that id.
    pub fn delete(&self, id: u64) -> bool {
        self.lock().entries.remove(&id).is_some()
    }

    /// From now on at most this many `CreateCacheEntry` calls a minute are served, the rest get 429.
    pub fn limit_uploads_per_minute(&self, uploads: usize) {
        self.lock().uploads_per_minute = Some(uploads);
    }

    /// From now on the least recently used entries go once this many bytes are passed.
    pub fn limit_bytes(&self, bytes: usize) {
        self.lock().quota_bytes = Some(bytes);
    }

    /// The next call of `method` (`CreateCacheEntry`, …) is answered with `status`; may be given several times.
    pub fn fail_next(&self, method: &str, status: u16) {
        self.lock().failures.push((method.to_owned(), status));
    }
}

impl State {
    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// An entry for `key` itself, else the newest that starts with one of `prefixes`, ref by ref in the token's order.
    fn find(&self, refs: &[String], version: &str, key: &str, prefixes: &[String]) -> Option<u64> {
        refs.iter().find_map(|git_ref| {
            let mine = || self.entries.values().rev().filter(|e| e.git_ref == *git_ref && e.version == version);
            let exact = mine().find(|entry| entry.key == key);
            let found = exact.or_else(|| prefixes.iter().find_map(|prefix| mine().find(|entry| entry.key.starts_with(prefix))));
            found.map(|entry| entry.id)
        })
    }

    fn evict(&mut self) {
        let Some(quota) = self.quota_bytes else { return };
        while self.entries.values().map(|entry| entry.data.len()).sum::<usize>() > quota {
            let Some(oldest) = self.entries.values().min_by_key(|entry| (entry.accessed, entry.id)).map(|e| e.id) else { return };
            self.entries.remove(&oldest);
        }
    }

    fn over_budget(&mut self) -> bool {
        self.created_at.retain(|at| at.elapsed() < Duration::from_mins(1));
        let over = self.uploads_per_minute.is_some_and(|most| self.created_at.len() >= most);
        if !over {
            self.created_at.push(Instant::now());
        }
        over
    }
}

/// The running service.
pub struct ActionsCache {
    server: Server,
    store: CacheStore,
}

impl ActionsCache {
    /// Serves an empty cache on loopback.
    pub fn start() -> Self {
        Self::serving(CacheStore::default())
    }

    /// Serves `store` on loopback.
    pub fn serving(store: CacheStore) -> Self {
        let shared = store.clone();
        let server = Server::start(move |request| answer(&shared, request));
        Self { server, store }
    }

    /// What `ACTIONS_RESULTS_URL` is set to; with the trailing slash that GitHub's has.
    pub fn url(&self) -> String {
        format!("{}/", self.server.url())
    }

    /// What it holds.
    pub fn store(&self) -> &CacheStore {
        &self.store
    }
}

fn answer(store: &CacheStore, request: &Request) -> Response {
    let parts = request.segments();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let response = match (request.method.as_str(), parts.as_slice()) {
        ("POST", ["twirp", "github.actions.results.api.v1.CacheService", method]) => {
            let response = call(store, request, method);
            let key = request.json()["key"].as_str().unwrap_or("?").to_owned();
            let refused = serde_json::from_slice::<Value>(&response.body).is_ok_and(|answer| answer["ok"] == false);
            store.lock().log.push(format!("{method} {key} {}{}", response.status, if refused { " no" } else { "" }));
            response
        }
        (method, ["blob", id]) => {
            let response = blob(store, request, id.parse().unwrap_or(0));
            store.lock().log.push(format!("{method} blob/{id} {}", response.status));
            response
        }
        _ => twirp(404, "bad_route", "no such service"),
    };
    // Azure's client dereferences this header without a look.
    response.header("x-ms-request-id", "00000000-0000-0000-0000-000000000000").header("x-ms-version", "2025-05-05")
}

fn twirp(status: u16, code: &str, message: &str) -> Response {
    Response::json(status, &json!({"code": code, "msg": message}))
}

/// The refs a token may read, in its order, and the one it may write.
struct Access {
    read: Vec<String>,
    write: Option<String>,
}

fn access(request: &Request) -> Result<Access, Response> {
    let refused = |why: &str| twirp(401, "unauthenticated", why);
    let token = request.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
    let token = token.ok_or_else(|| refused("no bearer token"))?;
    let (signed, mark) = token.rsplit_once('.').ok_or_else(|| refused("not a token"))?;
    if mark != signature(signed) {
        return Err(refused("the signature does not verify"));
    }
    let claims = signed.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok()).unwrap_or_default();
    let claims: Value = serde_json::from_slice(&claims).map_err(|_| refused("claims are not JSON"))?;
    let (Some(from), Some(until)) = (claims["nbf"].as_i64(), claims["exp"].as_i64()) else {
        return Err(refused("nbf and exp must be numbers"));
    };
    if seconds_now() < from || seconds_now() >= until {
        return Err(refused("token is expired"));
    }
    let scopes: Vec<Value> = serde_json::from_str(claims["ac"].as_str().unwrap_or_default()).unwrap_or_default();
    let with = |bit: u32| {
        let may = move |scope: &&Value| scope["Permission"].as_u64().is_some_and(|bits| bits & u64::from(bit) != 0);
        scopes.iter().filter(may).filter_map(|scope| scope["Scope"].as_str()).map(str::to_owned).collect::<Vec<_>>()
    };
    Ok(Access { read: with(READ), write: with(WRITE).into_iter().next_back() })
}

fn call(store: &CacheStore, request: &Request, method: &str) -> Response {
    let access = match access(request) {
        Ok(access) => access,
        Err(refused) => return refused,
    };
    let mut state = store.lock();
    if let Some(at) = state.failures.iter().position(|(name, _)| name == method) {
        let (_, status) = state.failures.remove(at);
        return twirp(status, "unavailable", "injected");
    }
    let body = request.json();
    let (Some(key), Some(version)) = (body["key"].as_str(), body["version"].as_str()) else {
        return twirp(400, "invalid_argument", "key and version are required");
    };
    if key.is_empty() || key.len() > 512 || key.contains(',') {
        return twirp(400, "invalid_argument", "a key has 1 to 512 bytes and no comma");
    }
    let base = format!("http://{}", request.header("host").unwrap_or_default());
    let signed = |id: u64| format!("{base}/blob/{id}?se=2099-01-01&sig={}", signature(&id.to_string()));
    match method {
        "CreateCacheEntry" => {
            let Some(git_ref) = access.write else {
                let said = "cache write denied: token has no writable scopes";
                return Response::json(200, &json!({"ok": false, "signed_upload_url": "", "message": said}));
            };
            let same = |k: &str, v: &str, r: &str| k == key && v == version && r == git_ref;
            let stored = state.entries.values().any(|e| same(&e.key, &e.version, &e.git_ref));
            let reserved = state.uploads.values().any(|u| same(&u.key, &u.version, &u.git_ref));
            if stored || reserved {
                return twirp(409, "already_exists", "an entry of this key exists");
            }
            if state.over_budget() {
                return twirp(429, "resource_exhausted", "too many uploads this minute").header("retry-after", "1");
            }
            let id = state.id();
            let upload = Upload { key: key.to_owned(), version: version.to_owned(), git_ref, ..Upload::default() };
            state.uploads.insert(id, upload);
            Response::json(200, &json!({"ok": true, "signed_upload_url": signed(id)}))
        }
        "FinalizeCacheEntryUpload" => finalize(&mut state, &access, key, version, &body),
        "GetCacheEntryDownloadURL" => {
            if access.read.is_empty() {
                return twirp(403, "permission_denied", "cache read denied: token has no readable scopes");
            }
            let prefixes = body["restore_keys"].as_array().cloned().unwrap_or_default();
            let prefixes: Vec<String> = prefixes.iter().filter_map(Value::as_str).map(str::to_owned).collect();
            let Some(id) = state.find(&access.read, version, key, &prefixes) else {
                return Response::json(200, &json!({"ok": false, "signed_download_url": "", "matched_key": ""}));
            };
            let entry = state.entries.get_mut(&id).expect("just found");
            entry.hits += 1;
            entry.accessed = SystemTime::now();
            Response::json(200, &json!({"ok": true, "signed_download_url": signed(id), "matched_key": entry.key}))
        }
        _ => twirp(404, "bad_route", "no such method"),
    }
}

fn finalize(state: &mut State, access: &Access, key: &str, version: &str, body: &Value) -> Response {
    let mine = |u: &Upload| u.key == key && u.version == version && Some(&u.git_ref) == access.write.as_ref();
    let Some(id) = state.uploads.iter().find(|(_, upload)| mine(upload)).map(|(id, _)| *id) else {
        return twirp(404, "not_found", "nothing reserved under this key");
    };
    let upload = state.uploads.remove(&id).expect("just found");
    // protobuf's JSON writes 64-bit numbers as strings; BuildKit writes a number.
    let size = body["size_bytes"].as_u64().or_else(|| body["size_bytes"].as_str()?.parse().ok());
    let Some(data) = upload.data.filter(|data| Some(data.len() as u64) == size) else {
        return twirp(400, "invalid_argument", "the uploaded size differs");
    };
    let Upload { key, version, git_ref, .. } = upload;
    let now = SystemTime::now();
    state.entries.insert(id, Entry { id, key, version, git_ref, data, hits: 0, created: now, accessed: now });
    state.evict();
    Response::json(200, &json!({"ok": true, "entry_id": id.to_string()}))
}

/// The part of Azure's Blob service that its client uses.
fn blob(store: &CacheStore, request: &Request, id: u64) -> Response {
    let mut state = store.lock();
    if request.param("sig") != Some(&signature(&id.to_string())) {
        return Response::status(403).header("x-ms-error-code", "AuthenticationFailed");
    }
    if request.method == "GET" || request.method == "HEAD" {
        let Some(entry) = state.entries.get(&id) else {
            return Response::status(404).header("x-ms-error-code", "BlobNotFound");
        };
        return ranged(&entry.data, request.header("x-ms-range").or_else(|| request.header("range")));
    }
    let Some(upload) = state.uploads.get_mut(&id) else { return Response::status(404) };
    match request.param("comp") {
        None => upload.data = Some(request.body.clone()),
        Some("block") => {
            upload.blocks.insert(request.param("blockid").unwrap_or_default().to_owned(), request.body.clone());
        }
        Some("blocklist") => {
            let xml = String::from_utf8_lossy(&request.body).into_owned();
            let ids = xml.split("<Latest>").skip(1).filter_map(|part| part.split_once("</Latest>")).map(|(id, _)| id);
            let blocks: Option<Vec<&Vec<u8>>> = ids.map(|id| upload.blocks.get(id)).collect();
            let Some(blocks) = blocks else {
                return Response::status(400).header("x-ms-error-code", "InvalidBlockList");
            };
            upload.data = Some(blocks.into_iter().flatten().copied().collect());
        }
        Some(_) => return Response::status(400),
    }
    Response::status(201).header("etag", format!("\"{id}\""))
}

fn ranged(data: &[u8], range: Option<&str>) -> Response {
    let whole = || Response::bytes(200, data.to_vec()).header("accept-ranges", "bytes");
    let Some((from, to)) = range.and_then(|range| range.strip_prefix("bytes=")).and_then(|range| range.split_once('-')) else {
        return whole();
    };
    let Ok(from) = from.parse::<usize>() else { return whole() };
    let last = to.parse::<usize>().unwrap_or(usize::MAX).min(data.len().saturating_sub(1));
    if from >= data.len() || from > last {
        return Response::status(416).header("x-ms-error-code", "InvalidRange");
    }
    let answer = Response::bytes(206, data[from..=last].to_vec()).header("accept-ranges", "bytes");
    answer.header("content-range", format!("bytes {from}-{last}/{}", data.len()))
}
