//! The stand-ins that are a distribution's packages and a little around them, one row each: web servers, `busybox`, and the distribution's own
//! image. How a system is put together is [`super::system`]'s.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use xshell::cmd;

use crate::apt::DistributionRelease::{self, Named, Testing};
use crate::apt::{family, make_executable};
use crate::sources::Family;
use monoship_core::error::{Error, Result};
use monoship_core::execute::process::{Invocation, shell};

use super::system::{System, add_user, shadow, write};
use super::{Context, Work};

/// An image that is made of packages.
struct Base {
    /// Its repository on Docker Hub.
    repository: &'static str,
    /// The release that its packages come from, by its tag; an error says why there is none.
    release: fn(&str, Family) -> Result<DistributionRelease, String>,
    /// What it has beside the system; without a system, all that it has.
    packages: &'static [&'static str],
    /// Whether there is a system around them.
    has_system: bool,
    /// The package whose version is the image's; `None` where that is the release's.
    named_by: Option<&'static str>,
    /// Lays out what lies in the official image and in no package.
    lay: fn(&Path) -> Result<()>,
    /// What the image is told besides; `{version}` is that of the package that names it.
    settings: &'static str,
}

/// The web servers are newest in `testing`, where the engine comes from too: settings are written for a server that is not years old.
const BASES: [Base; 6] = [
    Base {
        repository: "library/nginx",
        release: |tag, _| newest(tag, &["perl", "otel"]),
        packages: &NGINX,
        has_system: true,
        named_by: Some("nginx"),
        lay: |root| nginx(root, include_str!("nginx/nginx.conf"), 80),
        settings: "ENV NGINX_VERSION={version}\nEXPOSE 80\nSTOPSIGNAL SIGQUIT\nENTRYPOINT [\"/docker-entrypoint.sh\"]\nCMD [\"nginx\", \"-g\", \"daemon off;\"]\n",
    },
    Base {
        repository: "nginxinc/nginx-unprivileged",
        release: |tag, _| newest(tag, &["perl", "otel"]),
        packages: &NGINX,
        has_system: true,
        named_by: Some("nginx"),
        lay: |root| nginx(root, include_str!("nginx/unprivileged.conf"), 8080),
        settings: "RUN chown -R 101:0 /etc/nginx /var/cache/nginx /var/lib/nginx\n\
                   ENV NGINX_VERSION={version}\nEXPOSE 8080\nSTOPSIGNAL SIGQUIT\nENTRYPOINT [\"/docker-entrypoint.sh\"]\nCMD [\"nginx\", \"-g\", \"daemon off;\"]\nUSER 101\n",
    },
    Base {
        repository: "library/caddy",
        release: |tag, _| newest(tag, &["builder", "windowsservercore", "nanoserver"]),
        packages: &["ca-certificates", "caddy", "media-types", "wget"],
        has_system: true,
        named_by: Some("caddy"),
        lay: |root| folders(root, &["config/caddy", "data/caddy"]),
        settings: "ENV CADDY_VERSION=v{version} XDG_CONFIG_HOME=/config XDG_DATA_HOME=/data\nEXPOSE 80 443 443/udp 2019\nWORKDIR /srv\n\
                   CMD [\"caddy\", \"run\", \"--config\", \"/etc/caddy/Caddyfile\", \"--adapter\", \"caddyfile\"]\n",
    },
    Base {
        repository: "library/busybox",
        release: |tag, _| newest(tag, &[]),
        packages: &["busybox-static"],
        has_system: false,
        named_by: Some("busybox-static"),
        lay: busybox,
        settings: "CMD [\"sh\"]\n",
    },
    Base {
        repository: "library/debian",
        release: |tag, family| debian(tag, family).map(Named),
        packages: &PLAIN,
        has_system: true,
        named_by: None,
        lay: |_| Ok(()),
        settings: "CMD [\"bash\"]\n",
    },
    Base {
        repository: "library/ubuntu",
        release: |tag, family| ubuntu(tag, family).map(Named),
        packages: &PLAIN,
        has_system: true,
        named_by: None,
        lay: |_| Ok(()),
        settings: "CMD [\"/bin/bash\"]\n",
    },
];

/// With what the official image fills in templates by, and asks itself by.
const NGINX: [&str; 4] = ["ca-certificates", "curl", "gettext-base", "nginx"];

/// What a distribution's own image has beside what every system has.
const PLAIN: [&str; 6] = ["adduser", "login", "mount", "ncurses-bin", "passwd", "tzdata"];

/// What can be made here, for people.
pub(super) const NAMES: &str = "nginx, caddy, busybox, debian (on Ubuntu: ubuntu)";

/// The stand-in's context. `None` where no row is the image's; the inner error says why its row has none for this tag.
pub(super) fn context(work: &Work<'_>, tag: &str) -> Option<Result<Result<Context, String>>> {
    let base = BASES.iter().find(|base| base.repository == work.image.repository())?;
    Some(family().and_then(|family| match (base.release)(tag, family) {
        Ok(release) => packages_of(work, base, release, tag).map(Ok),
        Err(why) => Ok(Err(why)),
    }))
}

fn packages_of(work: &Work<'_>, base: &Base, release: DistributionRelease, tag: &str) -> Result<Context> {
    let name = base.repository.rsplit('/').next().unwrap_or(base.repository);
    let context = work.context(&format!("{name}-{}", release.folder()), |dir| make(work, base, release, dir))?;
    match asks_for_another(tag, &context.made_of) {
        Some(major) => {
            let error = format!("{} asks for version {major}, and the distribution has {}", work.image, context.made_of);
            Err(Error::failed(error).hint("name a version that it has, or load the image here (`docker save`, `docker load`)"))
        }
        None => Ok(context),
    }
}

fn make(work: &Work<'_>, base: &Base, release: DistributionRelease, dir: &Path) -> Result<String> {
    let root = dir.join("rootfs");
    let of = if base.has_system { System::make } else { System::bare };
    let system = of(work, release, base.packages, &root)?;
    (base.lay)(&root)?;
    if base.has_system {
        shadow(&root)?;
    }
    let made_of = format!("Debian-style {} packages", system.codename);
    let version = base.named_by.and_then(|package| Some((package, system.version(package)?)));
    let settings = base.settings.replace("{version}", version.as_ref().map_or("", |(_, version)| version));
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    write(&dir.join("Dockerfile"), &format!("FROM scratch\nCOPY rootfs/ /\nENV PATH={path}\n{settings}"))?;
    Ok(match version {
        Some((package, version)) => format!("{made_of}, {package} {version}"),
        None => made_of,
    })
}

/// The major version that a tag names, where what was made has another. Debian's tags name the release, which decided already.
fn asks_for_another(tag: &str, made_of: &str) -> Option<u32> {
    let major = |text: &str| text.split(['.', '-']).next()?.parse::<u32>().ok();
    let has = major(made_of.rsplit_once(", ")?.1.rsplit(' ').next()?)?;
    major(tag).filter(|asked| *asked != has)
}

/// The newest release there is, unless the tag has one of the words that its packages do not give.
fn newest(tag: &str, without: &[&str]) -> Result<DistributionRelease, String> {
    match tag.split('-').find(|word| without.iter().any(|no| word.starts_with(no))) {
        Some(word) => Err(format!("has no stand-in: the distribution's packages give no `{word}`")),
        None => Ok(Testing),
    }
}

/// The release that a tag of `debian` names.
fn debian(tag: &str, family: Family) -> Result<&'static str, String> {
    const RELEASES: [(&str, &[&str]); 8] = [
        ("bookworm", &["12", "bookworm"]),
        ("trixie", &["13", "trixie"]),
        ("bullseye", &["11", "bullseye"]),
        ("forky", &["14", "forky"]),
        ("stable", &["stable", "latest"]),
        ("oldstable", &["oldstable"]),
        ("testing", &["testing"]),
        ("sid", &["sid", "unstable"]),
    ];
    named(tag, &RELEASES, Family::Debian, family)
}

/// The release that a tag of `ubuntu` names.
fn ubuntu(tag: &str, family: Family) -> Result<&'static str, String> {
    const RELEASES: [(&str, &[&str]); 4] = [
        ("jammy", &["22.04", "jammy"]),
        ("noble", &["24.04", "noble", "latest"]),
        ("questing", &["25.10", "questing"]),
        ("resolute", &["26.04", "resolute"]),
    ];
    named(tag, &RELEASES, Family::Ubuntu, family)
}

/// `12.5-slim`, `bookworm-20250520`: what stands in front decides.
fn named(tag: &str, releases: &[(&'static str, &[&str])], of: Family, own: Family) -> Result<&'static str, String> {
    if of != own {
        return Err(format!("has no stand-in: this machine's mirror has the packages of {own:?}, and it is {of:?}"));
    }
    let first = tag.split('-').next().unwrap_or(tag);
    let is_it = |name: &str| name == first || of == Family::Debian && first.split('.').next() == Some(name);
    let found = releases.iter().find(|(_, names)| names.iter().any(|name| is_it(name)));
    found
        .map(|(release, _)| *release)
        .ok_or_else(|| format!("has no stand-in: `{first}` is no release of {of:?} that is known here"))
}

/// The settings, the user and the folders of nginx's image, which Debian's package has otherwise.
fn nginx(root: &Path, settings: &str, port: u16) -> Result<()> {
    write(&root.join("etc/nginx/nginx.conf"), settings)?;
    let site = include_str!("nginx/default.conf").replace("{port}", &port.to_string());
    write(&root.join("etc/nginx/conf.d/default.conf"), &site)?;
    let page = "<!DOCTYPE html>\n<title>Error</title>\n<h1>An error occurred.</h1>\n";
    write(&root.join("usr/share/nginx/html/50x.html"), page)?;
    for folder in ["sites-available", "sites-enabled", "modules-available", "modules-enabled"] {
        crate::apt::remove_tree(&root.join("etc/nginx").join(folder))?;
    }
    script(root, "docker-entrypoint.sh", include_str!("nginx/entrypoint.sh"))?;
    script(root, "docker-entrypoint.d/20-envsubst-on-templates.sh", include_str!("nginx/templates.sh"))?;
    folders(root, &["var/cache/nginx", "var/log/nginx", "var/lib/nginx"])?;
    add_user(root, "nginx", 101, "/nonexistent", "/bin/false")?;
    for (log, stream) in [("access.log", "/dev/stdout"), ("error.log", "/dev/stderr")] {
        link(stream, &root.join("var/log/nginx").join(log))?;
    }
    link("/usr/lib/nginx/modules", &root.join("etc/nginx/modules"))
}

/// Every command of busybox where its image has them, and the accounts that a program asks for.
fn busybox(root: &Path) -> Result<()> {
    let program = root.join("bin/busybox");
    let unpacked = root.join("usr/bin/busybox");
    if unpacked.exists() {
        folders(root, &["bin"])?;
        std::fs::rename(&unpacked, &program).map_err(|e| Error::io("move into place", &program, e))?;
    }
    let sh = shell(root)?;
    let commands = Invocation::from(cmd!(sh, "{program} --list")).read(&monoship_core::execute::shutdown::Shutdown::new())?;
    for command in commands.lines().filter(|command| *command != "busybox") {
        link("busybox", &root.join("bin").join(command))?;
    }
    script(root, "bin/adduser", include_str!("busybox/adduser.sh"))?;
    link("adduser", &root.join("bin/addgroup"))?;
    folders(root, &["dev", "home", "lib", "root", "usr/bin", "usr/sbin", "var/spool/mail", "var/www"])?;
    link("../../bin/env", &root.join("usr/bin/env"))?;
    write(
        &root.join("etc/passwd"),
        "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/bin/false\nwww-data:x:33:33:www-data:/var/www:/bin/false\nnobody:x:65534:65534:nobody:/home:/bin/false\n",
    )?;
    write(&root.join("etc/group"), "root:x:0:\ndaemon:x:1:\nwww-data:x:33:\nusers:x:100:\nnogroup:x:65534:\n")?;
    write(&root.join("etc/nsswitch.conf"), "passwd: files\ngroup: files\nhosts: files dns\n")?;
    for folder in ["tmp", "var/tmp"] {
        folders(root, &[folder])?;
        let path = root.join(folder);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o1777))
            .map_err(|e| Error::io("set the mode of", &path, e))?;
    }
    Ok(())
}

fn folders(root: &Path, names: &[&str]) -> Result<()> {
    let make = |path: &Path| std::fs::create_dir_all(path).map_err(|e| Error::io("create", path, e));
    names.iter().try_for_each(|name| make(&root.join(name)))
}

fn link(target: &str, at: &Path) -> Result<()> {
    if std::fs::symlink_metadata(at).is_ok() {
        return Ok(());
    }
    symlink(target, at).map_err(|e| Error::io("write", at, e))
}

fn script(root: &Path, name: &str, text: &str) -> Result<()> {
    let path = root.join(name);
    write(&path, text)?;
    make_executable(&path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_decides_the_release_or_says_why_there_is_none() {
        for (tag, release) in [
            ("bookworm-slim", Ok("bookworm")),
            ("12.5", Ok("bookworm")),
            ("13-slim", Ok("trixie")),
            ("latest", Ok("stable")),
            ("bookworm-20250520-slim", Ok("bookworm")),
            ("jessie", Err("`jessie` is no release of Debian")),
        ] {
            match (debian(tag, Family::Debian), release) {
                (Ok(made), Ok(wanted)) => assert_eq!(made, wanted, "{tag}"),
                (Err(said), Err(why)) => assert!(said.contains(why), "{said}"),
                (made, _) => panic!("{tag}: {made:?}"),
            }
        }
        assert_eq!(ubuntu("24.04", Family::Ubuntu), Ok("noble"));
        assert!(ubuntu("24.10", Family::Ubuntu).unwrap_err().contains("`24.10`"));
        assert!(ubuntu("24.04", Family::Debian).unwrap_err().contains("the packages of Debian"));
        assert!(newest("2-builder", &["builder"]).unwrap_err().contains("`builder`"));
    }

    #[test]
    fn another_major_version_than_the_tags_is_none() {
        let made_of = "Debian-style forky packages, caddy 2.11.4";
        for (tag, asks) in [("2", None), ("2.8", None), ("latest", None), ("stable-bookworm", None), ("1.0", Some(1))] {
            assert_eq!(asks_for_another(tag, made_of), asks, "{tag}");
        }
        assert_eq!(asks_for_another("12-slim", "Debian-style bookworm packages"), None);
    }
}
