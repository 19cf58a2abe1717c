//! The proxies of the user's client, which buildx makes build arguments of (`storeutil.GetProxyConfig`, docker/cli `ParseProxyConfig`): of the
//! engine's entry under `proxies` in Docker's configuration file, else of the one called `default`.

use serde::Deserialize;

use crate::credentials::configuration_file;
use monoship_core::collect::Collect as _;
use monoship_core::env::Env;
use monoship_core::sorted::SortedMap;

/// Each with its key in the file.
const ARGUMENTS: [(&str, &str); 5] = [
    ("ALL_PROXY", "allProxy"),
    ("FTP_PROXY", "ftpProxy"),
    ("HTTP_PROXY", "httpProxy"),
    ("HTTPS_PROXY", "httpsProxy"),
    ("NO_PROXY", "noProxy"),
];

#[derive(Default, Deserialize)]
#[serde(default)]
struct File {
    proxies: SortedMap<String, SortedMap<String, Option<String>>>,
}

/// Each argument that buildx can add by itself, with what tells one value of it from another: which engine's entry is taken is the client's
/// to say, so all of them count. A file that cannot be read adds none; whoever logs in with it says what is wrong.
#[must_use]
pub fn arguments(env: &Env) -> SortedMap<String, String> {
    let bytes = configuration_file(env).and_then(|path| std::fs::read(path).ok());
    let file: File = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
    let of = |key: &str| {
        let given = |(engine, proxies): (&String, &SortedMap<String, Option<String>>)| {
            let value = proxies.get(key)?.as_ref().filter(|value| !value.is_empty())?;
            Some(format!("{engine} {value}"))
        };
        file.proxies.iter().filter_map(given).into_vec().join("\n")
    };
    ARGUMENTS.into_iter().map(|(name, key)| (name.to_owned(), of(key))).filter(|(_, value)| !value.is_empty()).into_map()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clients_proxies_are_the_arguments_that_buildx_makes_of_them() {
        let dir = tempfile::tempdir().unwrap();
        let env = Env::new(dir.path(), []).with("DOCKER_CONFIG", dir.path().to_str().unwrap());
        let of = |text: &str| {
            std::fs::write(dir.path().join("config.json"), text).unwrap();
            arguments(&env).into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>()
        };
        assert_eq!(
            of(r#"{"proxies": {"default": {"httpProxy": "http://a", "noProxy": "b,c", "ftpProxy": ""}}}"#),
            ["HTTP_PROXY=default http://a", "NO_PROXY=default b,c"]
        );
        assert_eq!(
            of(r#"{"proxies": {"default": {"allProxy": "a"}, "tcp://b:1": {"allProxy": "b"}}, "auths": {}}"#),
            ["ALL_PROXY=default a\ntcp://b:1 b"]
        );
        assert!(of("{").is_empty() && of("{}").is_empty());
    }
}
