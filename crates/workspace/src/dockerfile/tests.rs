//! What the parser and the slice promise, on Dockerfiles small enough to read.

use super::*;
use monoship_core::name::Platform;
use monoship_core::sorted::{SortedMap, SortedSet};

fn parse(text: &str) -> Dockerfile {
    Dockerfile::parse(Path::new("Dockerfile"), text).unwrap()
}

fn set(names: &[&str]) -> SortedSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn map(pairs: &[(&str, &str)]) -> SortedMap<String, String> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

fn slice<'d>(file: &'d Dockerfile, target: &str, contexts: &[&str], args: &[(&str, &str)]) -> Slice<'d> {
    file.slice(&SliceRequest { target, contexts: &set(contexts), args: &map(args), platforms: &[], own: None }).unwrap()
}

fn refused(text: &str, target: &str) -> Error {
    let file = parse(text);
    file.slice(&SliceRequest { target, contexts: &set(&[]), args: &map(&[]), platforms: &[], own: None }).unwrap_err()
}

fn names<'d>(slice: &'d Slice<'d>) -> Vec<&'d str> {
    slice.stages().filter_map(Stage::name).collect()
}

fn patterns<'d>(slice: &'d Slice<'d>) -> Vec<&'d str> {
    slice.sources().iter().map(|source| source.pattern.as_str()).collect()
}

const SAMPLE: &str = r"# syntax=docker/dockerfile:1
# the toolchain
ARG NODE=24
ARG BASE=node:${NODE:-22}-slim
FROM --platform=$BUILDPLATFORM ${BASE} AS base
ENV DIR=apps
FROM base AS src
COPY . .
FROM base AS Build
ARG SERVICE=api
COPY --from=src /src \
    # in between

    /src
RUN --mount=type=cache,target=/store,from=seed \
    --mount=type=bind,source=tools,target=/tools <<EOF
FROM is not a stage here
EOF
COPY $DIR/${SERVICE}/package.json tsconfig.json ./
FROM scratch AS seed
ADD --checksum=sha256:00 https://example.com/x.tgz /
FROM gcr.io/distroless/nodejs24 AS api
COPY --from=build /out /app
FROM nginx AS web
COPY --from=2 /out /usr/share/nginx/html
COPY --from=alpine:3 /etc/passwd /etc/passwd
";

/// Docker's reference says that ENV wins, and BuildKit 0.25 was measured to go by the later line: neither is relied on.
#[test]
fn an_arg_after_another_env_and_what_a_base_image_may_set_are_not_known() {
    let of = |base: &str, lines: &str| {
        let file = parse(&format!("ARG GLOBAL=global\nFROM {base} AS p\nENV SET=set\nFROM p AS api\n{lines}\n"));
        patterns(&slice(&file, "api", &[], &[("GIVEN", "given")])).join(" ")
    };
    let cases = [
        ("ARG V=arg\nCOPY $V /", "arg"),
        ("ENV V=env\nARG V=arg\nCOPY $V /", "."),
        ("ENV V=same\nARG V=same\nCOPY $V /", "same"),
        ("ENV V=env\nARG V=arg\nENV V=later\nCOPY $V /", "later"),
        ("ARG V=arg\nENV V=env\nCOPY $V /", "env"),
        ("ARG SET=arg\nCOPY $SET /", "."),
        ("ARG SET\nCOPY $SET /", "set"),
        ("ENV V=env\nARG GIVEN\nENV GIVEN=$GIVEN-$V\nCOPY $GIVEN /", "given-env"),
        ("ENV GLOBAL=env\nARG GLOBAL\nCOPY $GLOBAL /", "."),
        ("ENV V=env\nARG V=$V-arg\nCOPY $V /", "."),
        ("COPY ${SET:-a} /", "set"),
        ("COPY plain /", "plain"),
        ("RUN --mount=type=${DIR:-bind},src=plain,dst=/x true", "plain"),
    ];
    for (lines, sources) in cases {
        assert_eq!((of("node:24", lines), of("scratch", lines)), (sources.to_owned(), sources.to_owned()), "{lines}");
    }
    // An image may set these; `scratch` sets nothing.
    let cases = [
        ("COPY ${DIR:-a} /", "a"),
        ("COPY x${DIR:+a} /", "x"),
        ("ENV D=${DIR:-a}\nCOPY $D /", "a"),
        ("ENV D=b\nENV D=${DIR:-a}\nCOPY ${D:-c} /", "a"),
        ("RUN --mount=type=bind,source=${DIR:-a},target=/x true", "a"),
        ("ARG DIR\nCOPY ${DIR:-a} /", "a"),
    ];
    for (lines, sources) in cases {
        assert_eq!((of("node:24", lines).as_str(), of("scratch", lines).as_str()), (".", sources), "{lines}");
    }
    let file = parse(
        "FROM scratch AS q\nONBUILD ENV A=b C=c\nFROM q AS r\nONBUILD ARG B=d\nFROM r AS api\nCOPY ${A:-a} ${B:-a} ${C} /\n",
    );
    assert_eq!(patterns(&slice(&file, "api", &[], &[])), ["b", "c", "d"], "what a stage leaves to those that start from it");
    let file = parse("FROM scratch AS q\nENV A=a\nONBUILD ENV A=b\nONBUILD COPY $A /\nFROM q AS api\n");
    assert_eq!(patterns(&slice(&file, "api", &[], &[])), ["."]);
    let file = parse("FROM node AS api\nADD ${HOST:-https://example.com}/x /\n");
    assert_eq!(slice(&file, "api", &[], &[]).addresses().len(), 1);
}

#[test]
fn a_target_reaches_its_stages_through_from_copy_and_mount_and_no_other() {
    let file = parse(SAMPLE);
    assert_eq!(file.targets().collect::<Vec<_>>(), ["base", "src", "build", "seed", "api", "web"]);
    assert_eq!(file.syntax(), Some("docker/dockerfile:1"));
    assert_eq!(names(&slice(&file, "api", &[], &[])), ["base", "src", "build", "seed", "api"]);
    assert_eq!(names(&slice(&file, "WEB", &[], &[])), ["base", "src", "build", "seed", "web"]);
    assert_eq!(names(&slice(&file, "base", &[], &[])), ["base"]);
    let reached = file.reachable("api", &set(&["src", "seed", "unused"])).unwrap();
    assert_eq!(reached.iter().map(|s| s.line()).collect::<Vec<_>>(), [5, 9, 22]);
}

#[test]
fn a_named_context_replaces_the_stage_or_image_of_its_name() {
    let file = parse(SAMPLE);
    let cut = slice(&file, "web", &["src", "alpine:3", "unused"], &[]);
    assert_eq!(*cut.contexts(), set(&["alpine:3", "src"]));
    assert_eq!(patterns(&cut), ["apps/api/package.json", "tools", "tsconfig.json"]);
    for from in ["alpine", "alpine:latest", "docker.io/library/alpine", "index.docker.io/alpine:latest"] {
        let file = parse(&format!("FROM {from} AS api\n"));
        assert_eq!(*slice(&file, "api", &["alpine"], &[]).contexts(), set(&["alpine"]), "{from}");
        let images = slice(&file, "api", &[], &[]).images().map(|base| base.image.familiar()).collect::<Vec<_>>();
        assert_eq!(images, ["alpine"], "{from}");
    }
    let whole = slice(&file, "web", &["build"], &[]);
    assert_eq!((names(&whole), patterns(&whole)), (vec!["web"], vec![]));
}

#[test]
fn images_come_with_their_variables_replaced_and_their_line() {
    let file = parse(SAMPLE);
    let images = |args: &[(&str, &str)]| -> Vec<(String, usize)> {
        slice(&file, "web", &[], args).images().map(|b| (b.image.to_string(), b.line)).collect()
    };
    let wanted = |base: &str| {
        vec![
            ("docker.io/library/alpine:3".to_owned(), 26),
            ("docker.io/library/nginx".to_owned(), 24),
            (format!("docker.io/library/{base}"), 5),
        ]
    };
    assert_eq!(images(&[]), wanted("node:24-slim"));
    assert_eq!(images(&[("NODE", "")]), wanted("node:22-slim"));
    assert_eq!(images(&[("BASE", "node:20")]), wanted("node:20"));
    assert_eq!(*slice(&file, "api", &[], &[]).args(), set(&["BASE", "BUILDPLATFORM", "NODE", "SERVICE"]));
    assert_eq!(*slice(&file, "base", &[], &[]).args(), set(&["BASE", "BUILDPLATFORM", "NODE"]));
}

#[test]
fn the_canonical_text_is_blind_to_comments_blanks_and_what_is_not_reached() {
    let texts = |text: &str| {
        let stages = slice(&parse(text), "api", &[], &[]).texts();
        stages.into_iter().map(|s| (s.name, s.steps.into_iter().map(|(text, _)| text).collect::<Vec<_>>())).collect::<Vec<_>>()
    };
    let before = texts(SAMPLE);
    let same = [
        SAMPLE.replace("# the toolchain\n", "\n\n# another remark\n"),
        SAMPLE.replace("    # in between\n\n", ""),
        SAMPLE.replace("COPY --from=build /out /app", "copy   --from=build\t/out    /app"),
        SAMPLE.replace("FROM nginx AS web", "FROM nginx AS site\nRUN true"),
        SAMPLE.replace("FROM scratch AS seed", "FROM    scratch as SEED"),
        SAMPLE.replace("ARG BASE=node:${NODE:-22}-slim", "ARG BASE=node:24-slim"),
        SAMPLE.replace("ARG NODE=24\n", "ARG NODE=24\nARG UNUSED=1\n"),
    ];
    for text in same {
        assert_ne!(text, SAMPLE);
        assert_eq!(texts(&text), before, "{text}");
    }
    let different = [
        SAMPLE.replace("ARG NODE=24", "ARG NODE=23"),
        SAMPLE.replace("FROM is not a stage here\n", "FROM is not a stage there\n"),
        SAMPLE.replace("COPY . .", "COPY apps ."),
        SAMPLE.replace("SERVICE=api", "SERVICE=web"),
        SAMPLE.replace("<<EOF", "<<-EOF"),
    ];
    for text in different {
        assert_ne!(texts(&text), before, "{text}");
    }
}

#[test]
fn blanks_count_in_the_text_where_they_are_part_of_a_value() {
    let text = |step: &str| slice(&parse(&format!("FROM scratch AS api\n{step}\n")), "api", &[], &[]).texts();
    for step in ["ENV K a  b", "LABEL k a  b", "MAINTAINER a  b", "WORKDIR /a  b", "USER a  b", "CMD a  b", "ENV K='a  b'"] {
        assert_ne!(text(step), text(&step.replace("  ", " ")), "{step}");
    }
    for step in ["ENV A=1  B=2", "LABEL a=1  b=2", "EXPOSE 1  2", "VOLUME /a  /b", "ARG A  B", "COPY a  b /c/"] {
        assert_eq!(text(step), text(&step.replace("  ", " ")), "{step}");
    }
}

#[test]
fn each_stage_of_one_name_counts_and_whoever_names_it_means_the_last_above() {
    let texts = |first: &str| {
        let text = format!("FROM scratch AS x\nENV A={first}\nFROM x AS x\nENV B=1\nFROM x AS api\n");
        slice(&parse(&text), "api", &[], &[]).texts()
    };
    let names: Vec<String> = texts("1").into_iter().map(|stage| stage.name).collect();
    assert_eq!(names, ["#1", "x", "api"]);
    assert_ne!(texts("1"), texts("2"));
}

#[test]
fn stages_without_a_name_and_stages_by_number_are_followed() {
    let file = parse("FROM a\nRUN one\nFROM b\nRUN two\nFROM c AS api\nCOPY --from=1 / /\n");
    let cut = slice(&file, "api", &[], &[]);
    let stages: Vec<_> = cut.texts().into_iter().map(|s| (s.name, s.steps[1].0.clone())).collect();
    assert_eq!(stages, [("#1".to_owned(), "RUN two".to_owned()), ("api".to_owned(), "COPY --from=#1 / /".to_owned())]);
    assert!(refused("FROM c AS api\nCOPY --from=7 / /\n", "api").to_string().contains("no stage 7"));
}

#[test]
fn a_global_arg_counts_only_where_a_stage_asks_for_it() {
    let texts =
        |global: &str, ask: &str| slice(&parse(&format!("ARG V={global}\nFROM a AS api\n{ask}RUN x\n")), "api", &[], &[]).texts();
    assert_eq!(texts("1", ""), texts("2", ""));
    assert_ne!(texts("1", "ARG V\n"), texts("2", "ARG V\n"));
    assert_eq!(texts("1", "ARG V=3\n"), texts("2", "ARG V=3\n"));
}

#[test]
fn a_base_chosen_by_platform_reaches_every_platforms_stage() {
    let file = parse(
        "FROM a AS base-amd64\nFROM b AS base-arm64\nFROM c AS base-s390x\nFROM base-${TARGETARCH} AS api\nARG TARGETARCH\nCOPY dist/$TARGETARCH /\n",
    );
    let platforms = ["linux/amd64".parse().unwrap(), "linux/arm64".parse().unwrap()];
    let cut = file
        .slice(&SliceRequest { target: "api", contexts: &set(&[]), args: &map(&[]), platforms: &platforms, own: None })
        .unwrap();
    assert_eq!(names(&cut), ["base-amd64", "base-arm64", "api"]);
    assert_eq!(patterns(&cut), ["dist/amd64", "dist/arm64"]);
    // With none named it is the builder's own, as for buildx.
    let own: Platform = "linux/s390x".parse().unwrap();
    let request = SliceRequest { target: "api", contexts: &set(&[]), args: &map(&[]), platforms: &[], own: Some(&own) };
    assert_eq!(names(&file.slice(&request).unwrap()), ["base-s390x", "api"]);
    let native = slice(&file, "api", &[], &[("TARGETARCH", "arm64")]);
    assert_eq!(names(&native), ["base-arm64", "api"], "an argument of that name wins");
}

#[test]
fn what_an_instruction_sees_of_the_main_context_is_never_too_little() {
    let file = parse(
        "FROM a AS api\nARG KNOWN=apps\nENV TWO=$KNOWN/x\nCOPY apps/*/package.json ./x/../y /\nCOPY [\"with space\", \"/\"]\nCOPY --parents **/tsconfig.json /\nADD <<one two.txt /\n1\none\nONBUILD COPY late /\nCOPY $TWO /\n",
    );
    let cut = slice(&file, "api", &[], &[]);
    assert_eq!(patterns(&cut), ["**/tsconfig.json", "apps/*/package.json", "apps/x", "late", "two.txt", "with space", "y"]);
    let seen = ["apps/a/package.json", "a/b/tsconfig.json", "tsconfig.json", "y/z", "with space", "late/x", "apps/x/deep"];
    assert!(seen.iter().all(|path| cut.sees(path)));
    assert!(["apps/a/b/package.json", "x", "one", "latex"].iter().all(|path| !cut.sees(path)));
    let unknown = parse("FROM a AS api\nCOPY $HOME/x /\n");
    assert_eq!(patterns(&slice(&unknown, "api", &[], &[])), ["."]);
    let mounted = parse("FROM a AS api\nRUN --mount=target=/x ls\nRUN --mount=type=secret,id=s ls\n");
    assert_eq!(patterns(&slice(&mounted, "api", &[], &[])), ["."]);
}

#[test]
fn heredocs_are_found_where_buildkit_finds_them() {
    let cases = [
        ("RUN <<EMPTY\nEMPTY\n", Some(("EMPTY", true, ""))),
        ("RUN 3<<E\nx\nE\n", Some(("E", true, "x\n"))),
        ("RUN \"<<NOHEREDOC\"\n", None),
        ("RUN it's <<E\n", None),
        ("RUN [\"a\", \"<<E\"]\n", None),
        ("USER <<E\n", None),
        ("RUN <<-U\n\tbaz\n\tU\n", Some(("U", true, "\tbaz\n"))),
        ("RUN <<-'NO'\n$NAME\nNO\n", Some(("NO", false, "$NAME\n"))),
        ("RUN <<C\n# internal\necho\nC\n", Some(("C", true, "# internal\necho\n"))),
        ("RUN <<eo'f'\nx\neof\n", Some(("eof", false, "x\n"))),
        ("RUN <<eo\\'f\nx\neo'f\n", Some(("eo'f", true, "x\n"))),
        ("RUN <<  EOF  > foo\nEOF\n", Some(("EOF", true, ""))),
        ("ONBUILD RUN <<E\nx\nE\n", Some(("E", true, "x\n"))),
    ];
    for (text, wanted) in cases {
        let file = parse(&format!("FROM a AS t\n{text}"));
        let found = &file.stages()[0].instructions()[0].heredocs;
        assert_eq!(found.first().map(|h| (h.name.as_str(), h.expand, h.content.as_str())), wanted, "{text}");
    }
    let two = parse("FROM a\nCOPY <<X <<Y /dest\nY\nX\nX\nY\nRUN next\n");
    let contents: Vec<_> = two.stages()[0].instructions()[0].heredocs.iter().map(|h| h.content.as_str()).collect();
    assert_eq!((contents, two.stages()[0].instructions().len()), (vec!["Y\n", "X\n"], 2));
}

#[test]
fn the_escape_directive_moves_continuations_to_the_backtick() {
    let file = parse("# escape=`\nFROM a\nRUN dir C:\\\nRUN one `\n  two\nRUN not``\nRUN last `");
    let args: Vec<_> = file.stages()[0].instructions().iter().map(|i| i.args.as_str()).collect();
    assert_eq!(args, ["dir C:\\", "one   two", "not``", "last"]);
    let late = parse("FROM a\n# escape=`\nRUN one \\\n two\n");
    assert_eq!(late.stages()[0].instructions().len(), 1);
}

#[test]
fn substitutions_are_those_of_a_shell() {
    let lookup = |name: &str| match name {
        "set" => Some("a.b.c".to_owned()),
        "empty" => Some(String::new()),
        _ => None,
    };
    let cases = [
        ("$set-${set}", "a.b.c-a.b.c"),
        ("${none:-x${set}}", "xa.b.c"),
        ("${empty-x}|${empty:-x}", "|x"),
        ("${set:+y}|${empty:+y}|${none+y}", "y||"),
        ("${set#*.}|${set##*.}|${set%.*}|${set%%.*}", "b.c|c|a.b|a"),
        ("${set/./-}|${set//./-}", "a-b.c|a-b-c"),
        ("'$set' \"$set\" \\$set", "$set a.b.c $set"),
        ("$", "$"),
    ];
    for (text, wanted) in cases {
        assert_eq!(words::expand(text, '\\', false, &lookup).as_deref(), Ok(wanted), "{text}");
    }
    assert_eq!(words::expand("${none}/$none", '\\', true, &lookup).unwrap(), "${none}/$none");
    for bad in ["${", "${set", "${}", "${set^}", "${none:?is needed}", "'open", "\"open"] {
        assert!(words::expand(bad, '\\', false, &lookup).is_err(), "{bad}");
    }
}

#[test]
fn a_malformed_file_is_refused_at_its_line() {
    let cases = [
        ("RUN x\n", 1, "before the first `FROM`"),
        ("FROM a\n\nCOPYY x y\n", 3, "no instruction `COPYY`"),
        ("FROM a b\n", 1, "`FROM` takes"),
        ("FROM a AS 1x\n", 1, "not a stage name"),
        ("FROM --plattform=x a\n", 1, "no flag"),
        ("FROM a\nRUN <<E\nx\n", 2, "has no end"),
        ("# escape=x\nFROM a\n", 1, "escape character"),
        ("FROM a\nRUN\n", 2, "has no arguments"),
    ];
    for (text, line, what) in cases {
        let error = Dockerfile::parse(Path::new("Dockerfile"), text).unwrap_err();
        assert_eq!(error.place().unwrap().1, Some(line), "{text}");
        assert!(error.to_string().contains(what), "{error}");
    }
    assert!(Dockerfile::parse(Path::new("D"), "# only\n").unwrap_err().to_string().contains("no `FROM`"));
    let error = refused("FROM a AS scheduler\n", "schedular");
    assert_eq!(error.hint_text(), Some("did you mean `scheduler`?"));
    assert!(refused("FROM A AS t\n", "t").to_string().starts_with("Dockerfile:1: `A` is not an image reference"));
}

#[test]
fn the_ignore_file_beside_the_dockerfile_wins() {
    let dir = tempfile::tempdir().unwrap();
    let dockerfile = dir.path().join("Dockerfile.monorepo-optimized");
    assert!(load(&dockerfile).unwrap_err().to_string().contains("there is no Dockerfile here"));
    assert_eq!(ignore_file(&dockerfile, dir.path()), None);
    std::fs::write(dir.path().join(".dockerignore"), "a").unwrap();
    assert_eq!(ignore_file(&dockerfile, dir.path()), Some(dir.path().join(".dockerignore")));
    let own = dir.path().join("Dockerfile.monorepo-optimized.dockerignore");
    std::fs::write(&own, "b").unwrap();
    assert_eq!(ignore_file(&dockerfile, dir.path()), Some(own));
}

#[test]
fn a_link_out_of_its_folder_is_no_file_to_a_builder() {
    let dir = tempfile::tempdir().unwrap();
    let (root, dockerfile) = (dir.path().join("repository"), dir.path().join("repository/docker/D"));
    std::fs::create_dir_all(root.join("docker")).unwrap();
    std::fs::write(dir.path().join("shared"), "FROM scratch\n").unwrap();
    let link = |target: &str, path: &str| std::os::unix::fs::symlink(target, root.join(path)).unwrap();
    link("../shared", ".dockerignore");
    link("../.dockerignore", "docker/D.dockerignore");
    link("../../shared", "docker/D");
    assert_eq!(std::fs::read_to_string(root.join("docker/D.dockerignore")).unwrap(), "FROM scratch\n");
    assert_eq!(ignore_file(&dockerfile, &root), None, "a builder leaves nothing out");
    let error = load(&dockerfile).unwrap_err();
    assert!(error.to_string().contains("it is a link to ../../shared, and builders follow links within its folder"), "{error}");
    // What it would lead to if its folder were all there is.
    std::fs::write(root.join("shared"), "*.pem\n").unwrap();
    assert_eq!(ignore_file(&dockerfile, &root), Some(root.join("shared")));
    std::fs::write(root.join("docker/shared"), "FROM scratch AS other\n").unwrap();
    assert_eq!(load(&dockerfile).unwrap().targets().collect::<Vec<_>>(), ["other"]);
}

#[test]
fn every_argument_that_buildkit_sets_by_itself_is_known_without_a_platform() {
    let names = ["BUILDARCH", "BUILDOS", "BUILDPLATFORM", "TARGETARCH", "TARGETOS", "TARGETPLATFORM", "TARGETSTAGE"];
    let native = Platform::native();
    for name in names {
        let file = parse(&format!("FROM scratch AS rt\nFROM rt AS api\nARG {name}\nCOPY dist/${name} /\n"));
        let cut = slice(&file, "api", &[], &[]);
        let [os, arch, _] = native.parts();
        let value = match name {
            "TARGETSTAGE" => "api",
            name if name.ends_with("ARCH") => arch,
            name if name.ends_with("OS") => os,
            _ => native.as_str(),
        };
        assert_eq!(patterns(&cut), [format!("dist/{value}")], "{name}");
        assert_eq!(cut.depends_on_builder(), name.starts_with("BUILD"), "{name}");
    }
    let file = parse("FROM scratch AS tools-linux\nFROM tools-${BUILDOS} AS api\nCOPY a /\n");
    assert_eq!(slice(&file, "api", &[], &[]).stages().count(), 2);
    let cross = parse("FROM --platform=$BUILDPLATFORM a AS build\nFROM scratch AS api\nCOPY --from=build /x /\n");
    assert!(slice(&cross, "api", &[], &[]).depends_on_builder());
}

#[test]
fn an_address_is_known_with_its_variables_and_whether_the_dockerfile_pins_it() {
    let id = "0123456789abcdef0123456789abcdef01234567";
    let text = format!(
        "FROM a AS api\nARG V=1\nADD https://h/x-$V.tgz /\nADD --checksum=sha256:00 https://h/y /\nADD https://h/r.git#main:sub /\n\
         ADD https://h/r.git#{id} /\nADD git@h:o/r.git /\nADD deploy@h:r /\nADD https://h/r.git?ref={id} $UNKNOWN/z local /\nADD https://h/$W /\n"
    );
    let file = parse(&text);
    let cut = slice(&file, "api", &[], &[]);
    let found: Vec<(&str, bool)> = cut.addresses().iter().map(|a| (a.address.as_str(), a.is_pinned())).collect();
    let (commit, query) = (format!("https://h/r.git#{id}"), format!("https://h/r.git?ref={id}"));
    let expected = [
        ("deploy@h:r", false),
        ("git@h:o/r.git", false),
        ("https://h/$W", false),
        (commit.as_str(), true),
        ("https://h/r.git#main:sub", false),
        (query.as_str(), true),
        ("https://h/x-1.tgz", false),
        ("https://h/y", true),
    ];
    assert_eq!(found, expected);
    assert_eq!(patterns(&cut), [".", "local"]);
    let revision = |text: &str| cut.addresses().iter().find(|a| a.address == text).unwrap().repository().unwrap().1.to_owned();
    assert_eq!((revision("https://h/r.git#main:sub"), revision("git@h:o/r.git")), ("main".to_owned(), String::new()));
    let copied = parse("FROM a AS api\nCOPY https://h/x /\n");
    assert!(slice(&copied, "api", &[], &[]).addresses().is_empty(), "only ADD fetches");
}

#[test]
fn a_text_without_its_frontend_keeps_its_other_directives_and_the_numbers_of_its_lines() {
    for (text, without) in [
        ("# syntax=docker/dockerfile:1\nFROM a\n", "## syntax=docker/dockerfile:1\nFROM a\n"),
        (
            "#syntax = x\r\n# escape=`\r\n# check=skip=all\r\nFROM a\r\n",
            "# escape=`\r\n# check=skip=all\r\n##syntax = x\r\nFROM a\r\n",
        ),
        ("# check=skip=all\n\n# syntax=x\nFROM a", "# check=skip=all\n\n# syntax=x\nFROM a"),
        ("\u{feff}# SYNTAX=x", "## SYNTAX=x"),
        (
            "#!/usr/bin/env -S docker build -f\n# check=skip=all\n# syntax=x\nFROM a",
            "#!/usr/bin/env -S docker build -f\n# check=skip=all\n## syntax=x\nFROM a",
        ),
        ("FROM a\n# syntax=x\n", "FROM a\n# syntax=x\n"),
        ("", ""),
    ] {
        let read = Dockerfile::parse(Path::new("Dockerfile"), &format!("{text}\nFROM b\n")).unwrap();
        assert_eq!(read.syntax().is_some(), text != without, "{text}");
        let made = without_syntax(text);
        assert_eq!(made, without);
        let parsed = Dockerfile::parse(Path::new("Dockerfile"), &format!("{made}\nFROM b\n")).unwrap();
        assert_eq!(parsed.syntax(), None, "{made}");
    }
}
