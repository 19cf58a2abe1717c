//! A service with a Dockerfile of the repository's own: its entry in `xtask.toml`, and what of it is not as it was.

use std::fmt::Write as _;

use monoship_core::collect::Collect as _;
use monoship_core::sorted::SortedMap;

/// A service that is built by a Dockerfile of the repository's own.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept {
    /// Its name.
    pub name: String,
    /// The Dockerfile, from the root.
    pub dockerfile: String,
    /// Its build context, from the root; `.` for the root itself.
    pub context: String,
    /// The target stage, where it is not the last.
    pub target: Option<String>,
    /// Its build arguments.
    pub args: SortedMap<String, String>,
    /// Those that variables of `by` have a part in.
    pub varied: Vec<String>,
    /// Those that are left out, because they look like secrets.
    pub secret: Vec<String>,
    /// What it is given besides: secrets, contexts and the like, by the key of its `[[service]]`.
    pub given: SortedMap<&'static str, toml::Value>,
    /// What its image is called where that is said.
    pub image: Option<String>,
    /// The workspace's package that it is about, by its folder.
    pub package: Option<String>,
    /// The packages that its image holds, where it is about no single one.
    pub covers: Vec<String>,
    /// What it starts: the CMD and ENTRYPOINT of its stage.
    pub starts: Vec<String>,
    /// The file that says so, or what else.
    pub by: String,
}

impl Kept {
    /// The folder of its package, or the Dockerfile's.
    #[must_use]
    pub fn folder(&self) -> &str {
        let of_file = || self.dockerfile.rsplit_once('/').map_or(".", |(folder, _)| folder);
        self.package.as_deref().unwrap_or_else(of_file)
    }

    /// Its entry in `xtask.toml`.
    pub(in super::super) fn entry(&self) -> String {
        let mut entry = format!("\n[[service]]\nname = \"{}\"\ndockerfile = \"{}\"\n", self.name, self.dockerfile);
        if self.context != "." {
            let _ = writeln!(entry, "context = \"{}\"", self.context);
        }
        if let Some(target) = &self.target {
            let _ = writeln!(entry, "target = \"{target}\"");
        }
        if let Some(package) = &self.package {
            let _ = writeln!(entry, "package = \"{package}\"");
        }
        if !self.args.is_empty() {
            let args: Vec<String> =
                self.args.iter().map(|(name, value)| format!("{name} = {}", toml::Value::from(value.as_str()))).into_vec();
            let _ = writeln!(entry, "build-args = {{ {} }}", args.join(", "));
        }
        for (key, value) in &self.given {
            // What a runner or an emulator builds is not what this machine can.
            let _ = writeln!(entry, "{}{key} = {value}", if *key == "platforms" { "# " } else { "" });
        }
        entry
    }

    /// Why it is a service.
    #[must_use]
    pub fn why(&self) -> String {
        format!("{}, context {} by {}", self.dockerfile, self.context, self.by)
    }

    fn platforms(&self) -> Vec<&str> {
        let listed = self.given.get("platforms").and_then(|value| value.as_array());
        listed.into_iter().flatten().filter_map(|platform| platform.as_str()).into_vec()
    }

    /// What is not as it was, and where that is to be changed: each line of its own. `prefix` is where images go from now on, as far as it is known.
    #[must_use]
    pub fn notes(&self, prefix: Option<&str>) -> Vec<String> {
        let special = Some(self.platforms()).filter(|platforms| !platforms.is_empty() && *platforms != ["linux/amd64"]);
        let platforms = special.map(|platforms| {
            let all = platforms.join(", ");
            format!("was built for {all}: take the `#` from its `platforms` in xtask.toml; all but this machine's own need emulation here, or runners of their own")
        });
        let ours = prefix.map(|prefix| format!("{prefix}/{}", self.name));
        let renamed = self.image.as_ref().filter(|image| ours.as_ref() != Some(image));
        let renamed = renamed.map(|image| {
            format!("its image was called {image}: `registry` and `namespace` of `[images]` in xtask.toml, and the service's `name`, make the name")
        });
        let varied = (!self.varied.is_empty()).then(|| {
            let all = self.varied.join(", ");
            format!("{} takes {all} from variables: set them as `build-args` in xtask.toml, `NAME = {{ env = \"NAME\" }}` where a variable has it", self.by)
        });
        let secret = (!self.secret.is_empty()).then(|| {
            let all = self.secret.join(", ");
            format!("{all} of {} is left out: an image keeps its build arguments. Make it a build secret (`secrets`), or give the ARG a default", self.by)
        });
        [platforms, renamed, varied, secret].into_iter().flatten().into_vec()
    }
}

/// Where images go: what the names of all have before `/<service>`. `None` where one is called otherwise, or none has a name.
pub(in super::super) fn prefix(kept: &[Kept]) -> Option<String> {
    let mut all = kept.iter().filter_map(|kept| Some((kept.image.as_ref()?, &kept.name)));
    // A registry alone is no place: `registry` goes with a `namespace`.
    let before = |(image, name): (&String, &String)| {
        image.strip_suffix(name.as_str())?.strip_suffix('/').filter(|prefix| prefix.contains('/')).map(str::to_owned)
    };
    let first = before(all.next()?)?;
    all.all(|one| before(one).as_ref() == Some(&first)).then_some(first)
}
