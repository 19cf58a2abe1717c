//! A private Sigstore instance for cosign: the runner's identity service, a certificate authority with its certificate log, and a
//! transparency log, each in the part of its published API that signing an image takes. What they sign, cosign checks in full.

use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use monoship_core::name::{hex, sha256_hex};
use ring::digest;
use serde_json::{Value, json};

use super::http::{Request, Response, Server};
use super::x509::{Authority, Draft, Key, OCTET_STRING, PublicKey, UTF8_STRING, der};

/// Who vouches for a workflow's identity.
pub const ISSUER: &str = "https://token.actions.githubusercontent.com";

/// What the runner gives a job with `id-token: write`.
const REQUEST_TOKEN: &str = "of-this-job-only";

/// A running instance.
pub struct Sigstore {
    server: Server,
    trusted_root: Value,
}

/// The keys, and what happened.
struct Instance {
    authority: Authority,
    certificate_log: Key,
    entry_log: Key,
    identity: String,
    entries: Mutex<i64>,
}

impl Sigstore {
    /// Starts one on whose runner everything is run by `workflow`, a URL with a git reference.
    pub fn start(workflow: &str) -> Self {
        let instance = Instance {
            authority: Authority::new("a private instance"),
            certificate_log: Key::generate(),
            entry_log: Key::generate(),
            identity: workflow.to_owned(),
            entries: Mutex::new(0),
        };
        let logs = [&instance.certificate_log, &instance.entry_log].map(trusted_log);
        let trusted_root = json!({
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "certificateAuthorities": [{
                "subject": {"commonName": "a private instance"},
                "certChain": {"certificates": [{"rawBytes": BASE64_STANDARD.encode(&instance.authority.certificate.der)}]},
                "validFor": {"start": EPOCH},
            }],
            "ctlogs": [logs[0]],
            "tlogs": [logs[1]],
        });
        Self { server: Server::start(move |request| instance.answer(request)), trusted_root }
    }

    /// The file that tells cosign whom to trust.
    pub fn trusted_root(&self) -> String {
        self.trusted_root.to_string()
    }

    /// The file that tells cosign whom to ask.
    pub fn signing_config(&self) -> String {
        let service = json!({
            "url": self.server.url(), "majorApiVersion": 1, "operator": "tests", "validFor": {"start": EPOCH},
        });
        let config = json!({
            "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
            "caUrls": [service], "rekorTlogUrls": [service], "rekorTlogConfig": {"selector": "ANY"},
        });
        config.to_string()
    }

    /// The variables of a job with `id-token: write`.
    pub fn job(&self) -> [(&'static str, String); 2] {
        let url = format!("{}/identity?api-version=2.0", self.server.url());
        [("ACTIONS_ID_TOKEN_REQUEST_URL", url), ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", REQUEST_TOKEN.to_owned())]
    }
}

/// Since when everything is valid.
const EPOCH: &str = "2020-01-01T00:00:00Z";

/// A log as a trusted root names it.
fn trusted_log(key: &Key) -> Value {
    json!({
        "baseUrl": "https://log.test",
        "hashAlgorithm": "SHA2_256",
        "publicKey": {
            "rawBytes": BASE64_STANDARD.encode(key.public().der()),
            "keyDetails": "PKIX_ECDSA_P256_SHA_256",
            "validFor": {"start": EPOCH},
        },
        "logId": {"keyId": BASE64_STANDARD.encode(key_id(key))},
    })
}

/// The SHA-256 of the parts, one after another.
fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    digest::digest(&digest::SHA256, &parts.concat()).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// By which a log is known: the digest of its public key.
fn key_id(key: &Key) -> [u8; 32] {
    sha256(&[&key.public().der()])
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970")
}

impl Instance {
    fn answer(&self, request: &Request) -> Response {
        let bearer = request.header("authorization").and_then(|value| value.split_once(' ')).map(|(_, token)| token);
        match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/identity") if bearer == Some(REQUEST_TOKEN) && request.param("audience") == Some("sigstore") => {
                Response::json(200, &json!({"value": self.token()}))
            }
            ("POST", "/api/v2/signingCert") if bearer.is_some_and(|token| self.vouches_for(token)) => {
                self.certificate(&request.json())
            }
            ("GET", "/identity") | ("POST", "/api/v2/signingCert") => Response::json(401, &json!({"message": "who are you?"})),
            ("POST", "/api/v1/log/entries") => self.entry(&request.json()),
            _ => Response::status(404),
        }
    }

    /// An identity token. Issuer and authority are one process here, so the token's signature is the authority's own.
    fn token(&self) -> String {
        let claims = json!({
            "iss": ISSUER, "aud": "sigstore", "sub": "repo:org/repo", "exp": now().as_secs() + 300, "job_workflow_ref": self.identity,
        });
        let encode = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encode(&json!({"typ": "JWT", "alg": "HS256"})), encode(&claims));
        let seal = BASE64_URL_SAFE_NO_PAD.encode(self.seal(&signed));
        format!("{signed}.{seal}")
    }

    fn vouches_for(&self, token: &str) -> bool {
        let (signed, seal) = token.rsplit_once('.').unwrap_or_default();
        BASE64_URL_SAFE_NO_PAD.decode(seal).is_ok_and(|seal| seal == self.seal(signed))
    }

    fn seal(&self, text: &str) -> [u8; 32] {
        sha256(&[self.entry_log.der(), text.as_bytes()])
    }

    /// Fulcio's answer: a certificate of ten minutes over the key in the request, with the timestamp of the certificate log in it.
    fn certificate(&self, request: &Value) -> Response {
        let pem = request["publicKeyRequest"]["publicKey"]["content"].as_str().expect("a public key");
        let (key, now) = (PublicKey::read(pem), SystemTime::now());
        let draft = Draft::new("").valid(now - Duration::from_secs(5), now + Duration::from_mins(10)).url(&self.identity);
        let draft = draft
            .signs_code()
            .extension(&[1, 3, 6, 1, 4, 1, 57264, 1, 1], ISSUER.as_bytes())
            .extension(&[1, 3, 6, 1, 4, 1, 57264, 1, 8], &der(UTF8_STRING, ISSUER.as_bytes()));
        let timestamp = self.certificate_timestamp(&self.authority.issue(&key, &draft).to_be_signed);
        let draft = draft.extension(&[1, 3, 6, 1, 4, 1, 11129, 2, 4, 2], &timestamp);
        let leaf = self.authority.issue(&key, &draft).pem();
        let chain = json!({"certificates": [leaf, self.authority.certificate.pem()]});
        Response::json(200, &json!({"signedCertificateEmbeddedSct": {"chain": chain}}))
    }

    /// The list of one signed timestamp over a certificate that has none yet (RFC 6962, sections 3.2 and 3.3).
    fn certificate_timestamp(&self, certificate: &[u8]) -> Vec<u8> {
        let time = u64::try_from(now().as_millis()).expect("soon enough").to_be_bytes();
        let issuer = sha256(&[&self.authority.key.public().der()]);
        let length = u32::try_from(certificate.len()).expect("a small one").to_be_bytes();
        let signed = [&[0, 0][..], &time, &[0, 1], &issuer, &length[1..], certificate, &[0, 0]].concat();
        let signature = with_length(&self.certificate_log.sign(&signed));
        let timestamp = [&[0][..], &key_id(&self.certificate_log), &time, &[0, 0], &[4, 3], &signature].concat();
        der(OCTET_STRING, &with_length(&with_length(&timestamp)))
    }

    /// Rekor's answer: the entry as it is kept, a promise, and a proof. Each entry is the only one of a tree of its own.
    fn entry(&self, proposed: &Value) -> Response {
        let envelope = proposed["spec"]["proposedContent"]["envelope"].as_str().expect("an envelope");
        let content: Value = serde_json::from_str(envelope).expect("JSON");
        let payload = BASE64_STANDARD.decode(content["payload"].as_str().expect("a payload")).expect("base64");
        let hash = |bytes: &[u8]| json!({"algorithm": "sha256", "value": sha256_hex(bytes)});
        let signed = json!({
            "signature": content["signatures"][0]["sig"], "verifier": proposed["spec"]["proposedContent"]["verifiers"][0],
        });
        let spec = json!({"envelopeHash": hash(envelope.as_bytes()), "payloadHash": hash(&payload), "signatures": [signed]});
        let body = json!({"apiVersion": "0.0.1", "kind": "dsse", "spec": spec}).to_string();
        let mut entries = self.entries.lock().expect("no panic");
        let mut entry = json!({
            "body": BASE64_STANDARD.encode(&body), "integratedTime": now().as_secs(), "logID": hex(&key_id(&self.entry_log)),
            "logIndex": *entries,
        });
        *entries += 1;
        // The keys are sorted, as the promise wants them.
        let promise = BASE64_STANDARD.encode(self.entry_log.sign(entry.to_string().as_bytes()));
        let root = sha256(&[&[0], body.as_bytes()]);
        entry["verification"] = json!({
            "signedEntryTimestamp": promise,
            "inclusionProof": {
                "checkpoint": self.checkpoint(&root), "hashes": [], "logIndex": 0, "rootHash": hex(&root), "treeSize": 1,
            },
        });
        let id = hex(&root);
        let answer = Response::json(201, &json!({id.clone(): entry}));
        answer.header("etag", &id).header("location", format!("/api/v1/log/entries/{id}"))
    }

    /// A signed note of a tree of one leaf.
    fn checkpoint(&self, root: &[u8]) -> String {
        let note = format!("log.test - 1\n1\n{}\n", BASE64_STANDARD.encode(root));
        let signed = [&key_id(&self.entry_log)[..4], &self.entry_log.sign(note.as_bytes())].concat();
        format!("{note}\n— log.test {}\n", BASE64_STANDARD.encode(signed))
    }
}

/// Bytes after their number, as TLS writes them.
fn with_length(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).expect("a short one").to_be_bytes()[..], bytes].concat()
}
