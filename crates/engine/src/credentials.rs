//! The client configuration that embedded clients read: the user's own credentials beside our buildx plugin. The user's file is
//! only read. Values are handed through, never shown.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::{Map, Value};

use monoship_core::error::{Error, Result, read_text};

/// What is taken over: how to log in, and what to send along. Contexts, plugin folders and output formats are the user's own.
const KEPT: [&str; 5] = ["auths", "credHelpers", "credsStore", "HttpHeaders", "proxies"];

/// Writes `<ours>/config.json` (mode 0600) from the user's and links the plugin. Writes nothing where nothing changed, and no configuration
/// where the user's is ours: a shell that was pointed at the engine has logged in there.
///
/// # Errors
/// When the user's file is not JSON, or ours cannot be written.
pub fn merge(user: Option<&Path>, ours: &Path, buildx: &Path) -> Result<()> {
    if user != Some(ours) {
        write_config(user, ours)?;
    }
    let plugins = ours.join("cli-plugins");
    let link = plugins.join("docker-buildx");
    if std::fs::read_link(&link).ok().as_deref() == Some(buildx) {
        return Ok(());
    }
    std::fs::create_dir_all(&plugins).map_err(|e| Error::io("create", &plugins, e))?;
    let beside = plugins.join(format!(".docker-buildx.{}", std::process::id()));
    std::os::unix::fs::symlink(buildx, &beside).map_err(|e| Error::io("write", &beside, e))?;
    std::fs::rename(&beside, &link).map_err(|e| Error::io("replace", &link, e))
}

fn write_config(user: Option<&Path>, ours: &Path) -> Result<()> {
    let text = serde_json::to_string_pretty(&kept(user)?).map_err(|e| Error::failed("cannot write JSON").source(e))?;
    let path = ours.join("config.json");
    if read_text(&path).ok().as_deref() != Some(text.as_str()) {
        write_private(&path, text.as_bytes())?;
    }
    Ok(())
}

fn kept(user: Option<&Path>) -> Result<Map<String, Value>> {
    let Some(path) = user.map(|dir| dir.join("config.json")).filter(|path| path.is_file()) else { return Ok(Map::new()) };
    let config: Map<String, Value> = serde_json::from_str(&read_text(&path)?).map_err(|e| {
        let line = e.line();
        Error::usage("this client configuration is not JSON").source(e).at(&path, Some(line)).hint("fix it, or log in again")
    })?;
    Ok(config.into_iter().filter(|(key, _)| KEPT.contains(&key.as_str())).collect())
}

/// Nobody else may read it, not even for the moment before it has its final name.
fn write_private(path: &Path, bytes: &[u8]) -> Result<()> {
    let parent = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).map_err(|e| Error::io("create", parent, e))?;
    let private = std::fs::Permissions::from_mode(0o700);
    std::fs::set_permissions(parent, private).map_err(|e| Error::io("protect", parent, e))?;
    monoship_core::error::write_private(path, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_come_along_privately_and_nothing_else_does() {
        let dir = tempfile::tempdir().unwrap();
        let (user, ours) = (dir.path().join("user"), dir.path().join("ours"));
        std::fs::create_dir_all(&user).unwrap();
        let text = r#"{"auths":{"ghcr.io":{"auth":"eDp5"}},"credsStore":"pass","currentContext":"remote","psFormat":"x"}"#;
        std::fs::write(user.join("config.json"), text).unwrap();
        merge(Some(&user), &ours, Path::new("/p/docker-buildx")).unwrap();
        let path = ours.join("config.json");
        let merged: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(merged, serde_json::json!({"auths": {"ghcr.io": {"auth": "eDp5"}}, "credsStore": "pass"}));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::metadata(&ours).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(std::fs::read_link(ours.join("cli-plugins/docker-buildx")).unwrap(), Path::new("/p/docker-buildx"));
    }

    #[test]
    fn a_second_merge_writes_nothing_and_a_logout_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (user, ours) = (dir.path().join("user"), dir.path().join("ours"));
        std::fs::create_dir_all(&user).unwrap();
        std::fs::write(user.join("config.json"), r#"{"auths":{"a.io":{"auth":"eDp5"}}}"#).unwrap();
        let modified = || std::fs::metadata(ours.join("config.json")).unwrap().modified().unwrap();
        merge(Some(&user), &ours, Path::new("/p/b")).unwrap();
        let first = modified();
        merge(Some(&user), &ours, Path::new("/p/b")).unwrap();
        assert_eq!(first, modified());
        std::fs::write(user.join("config.json"), "{}").unwrap();
        merge(Some(&user), &ours, Path::new("/p/other")).unwrap();
        assert_eq!(std::fs::read_to_string(ours.join("config.json")).unwrap(), "{}");
        assert_eq!(std::fs::read_link(ours.join("cli-plugins/docker-buildx")).unwrap(), Path::new("/p/other"));
    }

    #[test]
    fn users_with_other_credentials_do_not_meet_and_a_shell_pointed_at_the_engine_keeps_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let layout = |user: &Path| {
            let layout = crate::layout::Layout::new(&dir.path().join("cache"), &dir.path().join("data"));
            layout.unwrap().for_user(Some(user.to_owned()))
        };
        let text = |ours: &Path| std::fs::read_to_string(ours.join("config.json")).unwrap();
        let made = ["one", "two"].map(|name| {
            let user = dir.path().join(name);
            std::fs::create_dir(&user).unwrap();
            std::fs::write(user.join("config.json"), format!(r#"{{"auths":{{"{name}.io":{{"auth":"eDp5"}}}}}}"#)).unwrap();
            let ours = layout(&user).docker_config();
            merge(Some(&user), &ours, Path::new("/p/b")).unwrap();
            ours
        });
        assert!(text(&made[0]).contains("one.io") && text(&made[1]).contains("two.io"));
        let pointed = layout(&made[0]).docker_config();
        assert_eq!(pointed, made[0]);
        merge(Some(&pointed), &pointed, Path::new("/p/b")).unwrap();
        assert!(text(&pointed).contains("one.io"));
    }

    #[test]
    fn a_broken_configuration_names_its_line_and_shows_no_value() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("config.json"), "{\n\"auths\": {\"a\": \"secret\"}\n").unwrap();
        let error = merge(Some(dir.path()), &dir.path().join("ours"), Path::new("/p")).unwrap_err().to_string();
        assert!(error.contains("config.json:3") && !error.contains("secret"), "{error}");
    }
}
