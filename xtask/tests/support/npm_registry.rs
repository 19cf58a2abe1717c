//! A real npm registry on loopback that gives nothing to whoever has no token: verdaccio, fetched by pnpm once and kept across
//! runs.

#![expect(clippy::disallowed_methods, reason = "a test runs npm and a registry as a user would")]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::pnpm;
use super::repo::target_dir;
use super::turn;

/// A running one. It ends with this value.
pub struct NpmRegistry {
    /// `127.0.0.1:<port>`
    pub address: String,
    /// What it gives packages for.
    pub token: String,
    child: Child,
    dir: tempfile::TempDir,
}

const SETTINGS: &str = "storage: ./storage\nauth:\n  htpasswd:\n    file: ./htpasswd\npackages:\n  '**':\n    access: $authenticated\n    \
    publish: $authenticated\nlog: { type: file, path: ./log, format: json, level: http }\n";

impl NpmRegistry {
    /// Starts one with nothing in it.
    pub fn start() -> Self {
        let pnpm = pnpm::all().iter().find(|pnpm| pnpm.major == 10).expect("pnpm 10 is fetched");
        let home = target_dir().join("npm-registry-of-pnpm");
        let program = home.join("node_modules/verdaccio/bin/verdaccio");
        {
            let _alone = turn::at("npm-registry");
            if !program.is_file() {
                std::fs::create_dir_all(&home).unwrap();
                // It asks for `node-fetch` by a tag that not every registry has, and npm 9 fails at it.
                let overrides = json!({"overrides": {"node-fetch": "2.7.0"}});
                let manifest = json!({"private": true, "dependencies": {"verdaccio": "6"}, "pnpm": overrides});
                std::fs::write(home.join("package.json"), manifest.to_string()).unwrap();
                pnpm.must(&home, &["install", "--ignore-workspace", "--ignore-scripts"]);
            }
        }
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("config.yaml"), SETTINGS).unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("127.0.0.1:{port}");
        let mut command = Command::new(&pnpm.node);
        command.arg(&program).args(["--config", "config.yaml", "--listen", &address]).current_dir(dir.path());
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut registry = Self { address, token: String::new(), child, dir };
        let until = Instant::now() + Duration::from_mins(1);
        while ureq::get(registry.url("-/ping")).call().is_err() {
            assert!(Instant::now() < until, "the npm registry does not answer");
            std::thread::sleep(Duration::from_millis(100));
        }
        let user = json!({"name": "ci", "password": "Marked-Npm-Password-01"}).to_string();
        let mut answer =
            ureq::put(registry.url("-/user/org.couchdb.user:ci")).content_type("application/json").send(&user).unwrap();
        let answer: Value = serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap();
        answer["token"].as_str().unwrap().clone_into(&mut registry.token);
        registry
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    /// Publishes a package with npm, and gives the hash that a lock has of it.
    pub fn publish(&self, name: &str, script: &str) -> String {
        let folder = self.dir.path().join("package");
        std::fs::create_dir_all(&folder).unwrap();
        let write = |file: &str, text: &str| std::fs::write(folder.join(file), text).unwrap();
        write("package.json", &json!({"name": name, "version": "1.0.0", "type": "module", "main": "index.js"}).to_string());
        write("index.js", script);
        write(".npmrc", &format!("//{}/:_authToken={}\n", self.address, self.token));
        self.npm(&folder);
        let url = self.url(&name.replace('/', "%2f"));
        assert_eq!(ureq::get(&url).call().unwrap_err().to_string(), "http status: 401", "it gives nothing without a token");
        let mut answer = ureq::get(&url).header("authorization", format!("Bearer {}", self.token)).call().unwrap();
        let answer: Value = serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap();
        answer["versions"]["1.0.0"]["dist"]["integrity"].as_str().unwrap().to_owned()
    }

    /// What it was asked for, as its log has it: `GET /@acme%2fwords`.
    pub fn requests(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.dir.path().join("log")).unwrap();
        let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap_or_else(|e| panic!("{e}: {line}")));
        let asked =
            lines.filter_map(|line| Some(format!("{} {}", line["req"]["method"].as_str()?, line["req"]["url"].as_str()?)));
        asked.collect()
    }

    fn npm(&self, folder: &Path) {
        let published = Command::new("npm").args(["publish", "--registry", &self.url("")]).current_dir(folder).output().unwrap();
        assert!(published.status.success(), "{}", String::from_utf8_lossy(&published.stderr));
    }
}

impl Drop for NpmRegistry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
