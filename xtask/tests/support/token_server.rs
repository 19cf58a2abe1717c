//! A token server for registries, by the distribution project's token specification: knows `writer:right` and `reader:look` and an
//! identity token, gives each what it may, and signs what it gives (ES256, the certificate in the token's header).

use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde_json::json;

use super::http::{Request, Response, Server};
use super::x509::{Authority, Key};

/// The identity token that stands for `writer`.
pub const IDENTITY: &str = "writers-identity";

/// A running token server.
pub struct TokenServer {
    server: Server,
    certificate: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl TokenServer {
    pub const SERVICE: &'static str = "registry.test";
    pub const ISSUER: &'static str = "issuer.test";

    pub fn start() -> Self {
        let Authority { key, certificate, .. } = Authority::new("a token server");
        let (pem, chain) = (certificate.pem(), BASE64_STANDARD.encode(&certificate.der));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        let server = Server::start(move |request| {
            let (answer, line) = answer(request, &key, &chain);
            log.lock().unwrap().push(line);
            answer
        });
        Self { server, certificate: pem, asked }
    }

    /// The certificate that registries check tokens with, in PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// What a registry's challenge names.
    pub fn realm(&self) -> String {
        format!("{}/token", self.server.url())
    }

    /// `METHOD user scopes status` of each request so far.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn answer(request: &Request, key: &Key, chain: &str) -> (Response, String) {
    let form: Vec<(String, String)> = if request.method == "POST" {
        let text = String::from_utf8_lossy(&request.body).into_owned();
        text.split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(n, v)| (n.to_owned(), super::http::decode(v, true)))
            .collect()
    } else {
        request.query.clone()
    };
    let field = |name: &str| form.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
    let scopes = form.iter().filter(|(n, _)| n == "scope").flat_map(|(_, value)| value.split(' ')).collect::<Vec<_>>();
    let basic = request.header("authorization").and_then(|value| value.strip_prefix("Basic "));
    let basic = basic.and_then(|value| String::from_utf8(BASE64_STANDARD.decode(value).ok()?).ok());
    // The OAuth 2 form of the same: buildx asks so.
    let pair = basic.or_else(|| Some(format!("{}:{}", field("username")?, field("password")?)));
    let user = match (pair.as_deref(), field("refresh_token")) {
        (Some("writer:right"), _) | (None, Some(IDENTITY)) => Some("writer"),
        (Some("reader:look"), _) => Some("reader"),
        (None, None) => Some("anonymous"),
        _ => None,
    };
    let line = |status: u16| format!("{} {} {} {status}", request.method, user.unwrap_or("?"), scopes.join(" "));
    let Some(user) = user.filter(|_| field("service") == Some(TokenServer::SERVICE)) else {
        return (Response::json(401, &json!({"details": "incorrect username or password"})), line(401));
    };
    let may = |action: &str| match user {
        "writer" => true,
        "reader" => action == "pull",
        _ => false,
    };
    let access = scopes.iter().filter_map(|scope| {
        let (kind, rest) = scope.split_once(':')?;
        let (name, actions) = rest.rsplit_once(':')?;
        let granted: Vec<_> = actions.split(',').filter(|action| may(action)).collect();
        Some(json!({"type": kind, "name": name, "actions": granted}))
    });
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let claims = json!({
        "iss": TokenServer::ISSUER, "sub": user, "aud": TokenServer::SERVICE, "jti": "1",
        "iat": now, "nbf": now - 60, "exp": now + 300, "access": access.collect::<Vec<_>>(),
    });
    let token = sign(&claims, key, chain);
    let body = if request.method == "POST" { json!({"access_token": token}) } else { json!({"token": token, "expires_in": 300}) };
    (Response::json(200, &body), line(200))
}

fn sign(claims: &serde_json::Value, key: &Key, chain: &str) -> String {
    let header = json!({"typ": "JWT", "alg": "ES256", "x5c": [chain]});
    let encode = |value: &serde_json::Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", encode(&header), encode(claims));
    format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(key.sign_for_jwt(signed.as_bytes())))
}
