//! A build as a buildx command line. Which flags an engine understands was decided before: nothing here asks anything.

use std::ffi::OsString;
use std::path::Path;

use crate::spec::{BuildSpec, Output, SecretValue};
use monoship_core::collect::Collect as _;
use monoship_core::name::ImageRef;

/// The arguments of `buildx build` for `spec`. The metadata file is written when the build succeeds.
pub fn build_arguments(spec: &BuildSpec, metadata: &Path) -> Vec<OsString> {
    let mut args = Arguments::default();
    args.flag("build");
    args.pair("--file", &spec.dockerfile);
    if !spec.target.is_empty() {
        args.pair("--target", &spec.target);
    }
    if let Some(builder) = &spec.builder {
        args.pair("--builder", builder);
    }
    for (name, source) in &spec.contexts {
        args.pair("--build-context", format!("{name}={source}"));
    }
    for (name, value) in &spec.build_args {
        args.pair("--build-arg", format!("{name}={value}"));
    }
    if matches!(spec.output, Output::Push { .. }) {
        for (name, value) in &spec.mark {
            let on = if spec.makes_index() { "index" } else { "manifest" };
            args.pair("--annotation", format!("{on}:{name}={value}"));
        }
    }
    for (id, value) in &spec.secrets {
        let source = match value {
            SecretValue::File(file) => format!("src={}", file.display()),
            SecretValue::Env(name) => format!("env={name}"),
            SecretValue::Command(_) => format!("env={}", SecretValue::variable(id)),
        };
        args.pair("--secret", format!("id={id},{source}"));
    }
    for (flag, value) in &spec.options {
        args.pair(flag, value);
    }
    if matches!(spec.output, Output::Load { .. } | Output::Push { .. }) {
        for (name, value) in &spec.annotations {
            args.pair("--annotation", format!("{name}={value}"));
        }
    }
    if !spec.platforms.is_empty() {
        let platforms: Vec<&str> = spec.platforms.iter().map(AsRef::as_ref).into_vec();
        args.pair("--platform", platforms.join(","));
    }
    for source in &spec.cache_from {
        args.pair("--cache-from", source);
    }
    for target in &spec.cache_to {
        args.pair("--cache-to", target);
    }
    if spec.no_cache {
        args.flag("--no-cache");
    }
    args.flag(format!("--provenance={}", spec.provenance.as_deref().unwrap_or("false")));
    args.flag(format!("--sbom={}", spec.sbom.as_deref().unwrap_or("false")));
    args.output(&spec.output);
    args.pair("--metadata-file", metadata);
    args.pair("--progress", "rawjson");
    args.flag(spec.link.as_ref().unwrap_or(&spec.context));
    args.0
}

#[derive(Default)]
struct Arguments(Vec<OsString>);

impl Arguments {
    fn flag(&mut self, flag: impl Into<OsString>) {
        self.0.push(flag.into());
    }

    fn pair(&mut self, flag: &str, value: impl Into<OsString>) {
        self.flag(flag);
        self.flag(value);
    }

    /// Several names in one `name=` need quoting, because the value itself is a list.
    fn image(&mut self, names: &[ImageRef], rest: &str) {
        let names: Vec<String> = names.iter().map(ToString::to_string).into_vec();
        self.pair("--output", format!("type=image,\"name={}\",{rest}", names.join(",")));
    }

    fn output(&mut self, output: &Output) {
        match output {
            Output::CacheOnly => self.pair("--output", "type=cacheonly"),
            Output::Other(written) => self.pair("--output", written.clone()),
            Output::Load { names, zstd: true } => self.image(names, "compression=zstd,oci-mediatypes=true"),
            Output::Load { names, zstd: false } => {
                self.flag("--load");
                for name in names {
                    self.pair("--tag", name.to_string());
                }
            }
            // `--push` also unpacks the image into the local store, which is wasted work.
            Output::Push { names, folder: Some(folder), .. } => {
                let names: Vec<String> = names.iter().map(ToString::to_string).into_vec();
                let format = "tar=false,compression=zstd,oci-mediatypes=true,rewrite-timestamp=true";
                self.pair("--output", format!("type=oci,\"name={}\",\"dest={}\",{format}", names.join(","), folder.display()));
            }
            Output::Push { names, direct: true, by_digest, .. } => {
                let how = "push=true,store=false,compression=zstd,oci-mediatypes=true,rewrite-timestamp=true";
                if *by_digest {
                    let names: Vec<ImageRef> = names.iter().map(ImageRef::without_reference).into_vec();
                    self.image(&names, &format!("push-by-digest=true,{how}"));
                } else {
                    self.image(names, how);
                }
            }
            Output::Push { names, direct: false, .. } => {
                self.flag("--push");
                for name in names {
                    self.pair("--tag", name.to_string());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use monoship_core::sorted::SortedMap;

    use super::*;
    use monoship_core::event::Task;

    fn spec(output: Output) -> BuildSpec {
        BuildSpec {
            task: Task::Service("api".parse().unwrap()),
            dockerfile: "Dockerfile".into(),
            built_in_frontend: false,
            context: ".".into(),
            link: None,
            target: "api".into(),
            contexts: SortedMap::from([("sources".into(), "ctx/sources".into())]),
            build_args: SortedMap::from([("A".into(), "1 2".into())]),
            secrets: SortedMap::from([
                ("ca".into(), SecretValue::File("/ca.pem".into())),
                ("gh".into(), SecretValue::Command(vec!["gh".into(), "auth".into(), "token".into()])),
                ("npm".into(), SecretValue::Env("NPM_TOKEN".into())),
            ]),
            options: vec![("--ssh", "default".into()), ("--network", "none".into())],
            annotations: SortedMap::from([("a".into(), "b".into())]),
            mark: SortedMap::from([("by".into(), "us".into())]),
            platforms: vec!["linux/amd64".parse().unwrap(), "linux/arm64".parse().unwrap()],
            cache_from: vec!["type=gha,scope=s".into()],
            cache_to: vec![],
            no_cache: false,
            output,
            provenance: None,
            sbom: Some("true".into()),
            builder: None,
        }
    }

    fn line(output: Output) -> String {
        let args = build_arguments(&spec(output), Path::new("m.json"));
        args.iter().map(|a| a.to_str().unwrap()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_build_is_told_everything_and_nothing_twice() {
        let start = "build --file Dockerfile --target api --build-context sources=ctx/sources --build-arg A=1 2 \
                     --secret id=ca,src=/ca.pem --secret id=gh,env=XTASK_BUILD_SECRET_GH --secret id=npm,env=NPM_TOKEN \
                     --ssh default --network none --platform linux/amd64,linux/arm64 --cache-from type=gha,scope=s \
                     --provenance=false --sbom=true";
        let noted = start.replace(" --platform", " --annotation a=b --platform");
        let marked = noted.replace("--secret id=ca", "--annotation index:by=us --secret id=ca");
        let end = "--metadata-file m.json --progress rawjson .";
        assert_eq!(line(Output::CacheOnly), format!("{start} --output type=cacheonly {end}"));
        let names = vec!["ghcr.io/o/r/api:a".parse().unwrap(), "ghcr.io/o/r/api:b".parse().unwrap()];
        assert_eq!(
            line(Output::Load { names: names.clone(), zstd: false }),
            format!("{noted} --load --tag ghcr.io/o/r/api:a --tag ghcr.io/o/r/api:b {end}")
        );
        assert_eq!(
            line(Output::Load { names: names.clone(), zstd: true }),
            format!(
                "{noted} --output type=image,\"name=ghcr.io/o/r/api:a,ghcr.io/o/r/api:b\",compression=zstd,\
                 oci-mediatypes=true {end}"
            )
        );
        assert_eq!(
            line(Output::Push { names, direct: true, by_digest: false, folder: None }),
            format!(
                "{marked} --output type=image,\"name=ghcr.io/o/r/api:a,ghcr.io/o/r/api:b\",push=true,store=false,\
                 compression=zstd,oci-mediatypes=true,rewrite-timestamp=true {end}"
            )
        );
        let name = vec!["ghcr.io/o/r/api:a".parse().unwrap()];
        assert_eq!(
            line(Output::Push { names: name, direct: true, by_digest: true, folder: None }),
            format!(
                "{marked} --output type=image,\"name=ghcr.io/o/r/api\",push-by-digest=true,push=true,store=false,\
                 compression=zstd,oci-mediatypes=true,rewrite-timestamp=true {end}"
            )
        );
        let bare = BuildSpec {
            sbom: None,
            platforms: Vec::new(),
            ..spec(Output::Push { names: Vec::new(), direct: false, by_digest: false, folder: None })
        };
        let args = build_arguments(&bare, Path::new("m.json"));
        assert!(
            args.iter().any(|arg| arg == "manifest:by=us"),
            "where there is no index the image's own manifest is marked: {args:?}"
        );
    }
}
