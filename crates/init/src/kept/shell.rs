//! What command lines say of builds: `docker build -f apps/web/Dockerfile -t acme/web .`, in the steps of workflows, the scripts of manifests, shell
//! files, Makefiles and other CI systems' files. No shell is run: what a variable has a part in counts where the text itself says the variable's value.

use monoship_core::collect::Collect as _;
use monoship_core::sorted::{SortedMap, SortedSet};
use pnpm::join;

use super::given::{self, Source};
use super::said::{Said, image};

/// The values that a variable has: several in a loop, one after another.
pub(super) type Variables = SortedMap<String, Vec<String>>;

/// Flags of `docker build` and of `docker buildx build` without a value of their own. Source: docker.com, "docker buildx build", and podman's and
/// buildah's manuals.
const SWITCHES: [&str; 14] = [
    "--push",
    "--load",
    "--no-cache",
    "--pull",
    "--quiet",
    "-q",
    "--rm",
    "--force-rm",
    "--squash",
    "--compress",
    "--check",
    "--debug",
    "-D",
    "--layers",
];

/// A combination of several loops is followed so far.
const MOST: usize = 100;

/// The builds that the commands of a text ask for. `folder` is where they start, from the root; `known` are the variables that are set there.
pub(super) fn builds(by: &str, folder: &str, text: &str, known: &Variables) -> Vec<Said> {
    let mut known = known.clone();
    let mut found = Vec::new();
    let mut here = folder.to_owned();
    // A Makefile writes the shell's own `$` twice.
    for line in text.replace("\\\r\n", " ").replace("\\\n", " ").replace("$$", "$").lines() {
        let start = here.clone();
        let mut is_alone = !line.starts_with('\t');
        for words in commands(line) {
            let words: Vec<&str> = words.iter().map(String::as_str).into_vec();
            match &words[..] {
                ["cd" | "pushd", to, ..] if !values(to, &known).iter().any(|to| to.contains('$')) => {
                    here = join(&here, to).unwrap_or(here);
                }
                ["for", name, "in", items @ ..] => {
                    // What a command prints is not known: `for app in $(ls apps)`.
                    let items = items.iter().flat_map(|item| values(item, &known)).filter(|item| !item.contains('$'));
                    known.insert((*name).to_owned(), items.flat_map(|item| split(&item)).into_vec());
                }
                _ => {
                    assigned(&words, &mut known);
                    if let Some(words) = arguments(&words) {
                        found.extend(asked(by, &here, words, &known));
                        is_alone = false;
                    } else if let Some(quoted) = words.iter().find(|word| word.contains(" build ")) {
                        // `sh -c "docker build ."`, and what YAML has in quotes.
                        found.extend(builds(by, &here, quoted, &known));
                    }
                }
            }
        }
        // A `cd` before a build on its line is for that build, and in a Makefile for its line; one alone is for what follows.
        if !is_alone {
            here = start;
        }
    }
    found
}

/// The builds that the arguments of one command ask for: as many as its variables have values.
pub(super) fn asked(by: &str, folder: &str, arguments: &[&str], known: &Variables) -> Vec<Said> {
    let words: Vec<&str> = [folder].into_iter().chain(arguments.iter().copied()).into_vec();
    each(&words, known).iter().filter_map(|words| build(by, &words[0], &words[1..])).into_vec()
}

fn split(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).into_vec()
}

/// The commands of a line, each by its words, without quotes.
fn commands(line: &str) -> Vec<Vec<String>> {
    let (mut all, mut words, mut word, mut quote, mut is_word) = (Vec::new(), Vec::new(), String::new(), None, false);
    let mut rest = line.trim_start_matches([' ', '\t', '@', '-', '+']).chars().peekable();
    while let Some(c) = rest.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => (quote, is_word) = (Some(c), true),
            (None | Some('"'), '\\') => word.extend(rest.next()),
            // `$(…)` and `${…}` are one word.
            (_, '$') if rest.peek().is_some_and(|next| "({".contains(*next)) => {
                let close = if rest.peek() == Some(&'(') { ')' } else { '}' };
                word.push('$');
                for c in rest.by_ref() {
                    word.push(c);
                    if c == close {
                        break;
                    }
                }
                is_word = true;
            }
            (None, '#') if !is_word && word.is_empty() => break,
            (None, ' ' | '\t' | ';' | '&' | '|' | '(' | ')') => {
                if is_word || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                is_word = false;
                if !" \t".contains(c) {
                    all.push(std::mem::take(&mut words));
                }
            }
            (_, c) => {
                word.push(c);
                is_word = true;
            }
        }
    }
    if is_word || !word.is_empty() {
        words.push(word);
    }
    all.push(words);
    all
}

/// Takes in `NAME=value`, `export NAME=value`, a Makefile's `NAME := value` and YAML's `NAME: value`.
fn assigned(words: &[&str], known: &mut Variables) {
    let words = words.strip_prefix(&["export"]).unwrap_or(words);
    let is_name = |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let (name, value) = match words {
        [name, "=" | ":=" | "?=", rest @ ..] => (*name, rest.join(" ")),
        [name, value] if name.ends_with(':') => (name.trim_end_matches(':'), (*value).to_owned()),
        [one] => match one.split_once('=') {
            Some((name, value)) => (name, value.to_owned()),
            None => return,
        },
        _ => return,
    };
    if is_name(name) {
        let value = values(&value, known);
        known.insert(name.to_owned(), value);
    }
}

/// The text with its variables' values, each way it can be. One that is not known stays as it is.
fn values(text: &str, known: &Variables) -> Vec<String> {
    let Some((before, rest)) = text.split_once('$') else { return vec![text.to_owned()] };
    let close = match rest.chars().next() {
        Some('{') => Some('}'),
        Some('(') => Some(')'),
        _ => None,
    };
    let (inner, behind) = match close {
        Some(close) => rest[1..].split_once(close).unwrap_or((&rest[1..], "")),
        None => rest.split_at(rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len())),
    };
    let (name, otherwise) = match inner.split_once(":-").or_else(|| inner.split_once('-')) {
        Some((name, otherwise)) => (name, Some(otherwise.to_owned())),
        None => (inner, None),
    };
    let written = || text[before.len()..text.len() - behind.len()].to_owned();
    let first = known.get(name).cloned().unwrap_or_else(|| vec![otherwise.unwrap_or_else(written)]);
    let behind = values(behind, known);
    let whole = first.iter().flat_map(|first| behind.iter().map(move |behind| format!("{before}{first}{behind}")));
    whole.take(MOST).into_vec()
}

/// What a command gives a build, where it is one: `do DOCKER_BUILDKIT=1 sudo docker buildx build …`.
fn arguments<'w>(words: &'w [&'w str]) -> Option<&'w [&'w str]> {
    const BEFORE: [&str; 8] = ["do", "then", "else", "{", "sudo", "exec", "time", "env"];
    let before = |word: &&&str| BEFORE.contains(*word) || word.contains('=') || word.ends_with(':');
    let (program, mut rest) = words[words.iter().take_while(before).count()..].split_first()?;
    if !["docker", "podman", "nerdctl", "buildah", "$DOCKER", "$(DOCKER)", "${DOCKER}"].contains(program) {
        return None;
    }
    while let Some(flag) = rest.first().filter(|word| word.starts_with('-')) {
        let has_value = ["-H", "-c", "--host", "--context", "--config", "--log-level", "-l"].contains(flag);
        rest = rest.get(1 + usize::from(has_value)..)?;
    }
    match rest {
        ["build" | "bud", rest @ ..] | ["buildx" | "image" | "builder", "build" | "b", rest @ ..] => Some(rest),
        _ => None,
    }
}

/// The words with the values of their variables: once for each combination of what loops give them. What is not known stays as it is.
fn each(words: &[&str], known: &Variables) -> Vec<Vec<String>> {
    let is_named = |name: &str| {
        let ways = [format!("${name}"), format!("${{{name}"), format!("$({name}")];
        words.iter().any(|word| ways.iter().any(|way| word.contains(way)))
    };
    let mut rows: Vec<Variables> = vec![known.clone()];
    for (name, all) in known.iter().filter(|(name, all)| all.len() > 1 && is_named(name)) {
        if rows.len() * all.len() > MOST {
            return Vec::new();
        }
        let with =
            |row: &Variables, value: &String| row.clone().into_iter().chain([(name.clone(), vec![value.clone()])]).collect();
        rows = rows.iter().flat_map(|row| all.iter().map(move |value| with(row, value))).collect();
    }
    let filled = |word: &&str, row: &Variables| values(word, row).into_iter().next().unwrap_or_else(|| (*word).to_owned());
    rows.iter().map(|row| words.iter().map(|word| filled(word, row)).into_vec()).into_vec()
}

/// The flags of a build by name, without their dashes.
struct Flags(Vec<(String, String)>);

impl Flags {
    fn last(&self, names: [&str; 2]) -> Option<&str> {
        self.0.iter().rev().find(|(name, _)| names.contains(&name.as_str())).map(|(_, value)| value.as_str())
    }
}

impl Source for Flags {
    fn texts(&self, key: &str) -> Vec<String> {
        self.0.iter().filter(|(name, _)| name == key).map(|(_, value)| value.clone()).into_vec()
    }
}

/// The build that these words ask for; `None` where what it builds is not known.
fn build(by: &str, folder: &str, words: &[String]) -> Option<Said> {
    let (mut flags, mut context) = (Flags(Vec::new()), None);
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name, Some(value.to_owned())),
            _ if word.starts_with('-') && !word.starts_with("--") && word.len() > 2 && !SWITCHES.contains(&word.as_str()) => {
                (&word[..2], Some(word[2..].to_owned()))
            }
            _ => (word.as_str(), None),
        };
        if !name.starts_with('-') || name == "-" {
            // What is redirected ends the command.
            if word.contains(['>', '<']) {
                break;
            }
            context = Some(word.as_str());
        } else if !SWITCHES.contains(&name) {
            let value = value.or_else(|| rest.next().cloned())?;
            flags.0.push((name.trim_start_matches('-').to_owned(), value));
        }
    }
    let context = context.filter(|context| *context != "-" && !context.contains("://") && !context.starts_with("git@"))?;
    let file = flags.last(["file", "f"]);
    let target = flags.last(["target", "target"]);
    if [Some(context), file, target].into_iter().flatten().any(|word| word.contains('$')) || file == Some("-") {
        return None;
    }
    let context = join(folder, context.trim_end_matches('/'))?;
    let dockerfile = match file {
        Some(file) => join(folder, file)?,
        None => join(&context, "Dockerfile")?,
    };
    let tags: Vec<&str> =
        flags.0.iter().filter(|(name, _)| ["tag", "t"].contains(&name.as_str())).map(|(_, tag)| tag.as_str()).into_vec();
    let name = |tag: &&str| {
        let last = tag.rsplit('/').next()?.split([':', '@']).next()?;
        (!last.is_empty() && !last.contains(['$', ')', '}'])).then(|| last.to_owned())
    };
    let name = tags.iter().find_map(name);
    // Who calls the image by a variable builds several.
    if name.is_none() && !tags.is_empty() {
        return None;
    }
    let args = flags.texts("build-arg");
    let said = Said {
        name: name.unwrap_or_default(),
        dockerfile,
        context,
        target: target.map(str::to_owned),
        args: SortedMap::new(),
        varied: SortedSet::new(),
        given: given::of_command(&flags, folder),
        image: tags.iter().find_map(|tag| image(tag)),
        by: by.to_owned(),
    };
    Some(said.with(args.iter().map(|arg| arg.split_once('=').map_or((arg.as_str(), None), |(name, value)| (name, Some(value))))))
}

#[cfg(test)]
mod tests {
    use super::super::said::all;
    use super::*;

    /// The builds that the text of a file asks for: name, Dockerfile, context, target, arguments, image.
    fn read(path: &str, text: &str) -> Vec<String> {
        let (said, unreadable) = all(&[path.to_owned()], |_| Some(text.to_owned()));
        assert!(unreadable.is_empty(), "{unreadable:?}");
        let shown = |s: &Said| {
            let args: Vec<String> = s.args.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let rest = [s.target.clone().unwrap_or_default(), args.join(","), s.image.clone().unwrap_or_default()]
                .into_iter()
                .filter(|one| !one.is_empty())
                .collect::<Vec<_>>();
            format!("{}: {} {} {}", s.name, s.dockerfile, s.context, rest.join(" ")).trim_end().to_owned()
        };
        said.iter().map(shown).collect()
    }

    #[test]
    fn commands_are_read_as_a_shell_takes_them_apart() {
        let cases = [
            ("docker build -t acme/api:1 apps/api", "api: apps/api/Dockerfile apps/api"),
            (
                "cd apps/web && DOCKER_BUILDKIT=1 sudo docker build --no-cache -f docker/Dockerfile . > log",
                ": apps/web/docker/Dockerfile apps/web",
            ),
            (
                "docker --context ci buildx build --push --platform linux/arm64 \\\n  --target=run --build-arg APP=web -tghcr.io/acme/web:v1 .",
                "web: Dockerfile . run APP=web ghcr.io/acme/web",
            ),
            (
                "TAG=v1\nIMAGE=\"ghcr.io/acme/api\"\npodman build -t \"$IMAGE:${TAG}\" --file=\"apps/api/Dockerfile\" '.' # the API",
                "api: apps/api/Dockerfile . ghcr.io/acme/api",
            ),
            ("APP=web; bash -c \"docker build -t $APP apps/$APP\"", "web: apps/web/Dockerfile apps/web"),
            ("if true; then (cd apps/web; docker image build .); fi", ": apps/web/Dockerfile apps/web"),
            ("bash -c \"docker build -t web apps/web\"", "web: apps/web/Dockerfile apps/web"),
            ("docker build -t ${NAME:-web} ${DIR-apps/web}", "web: apps/web/Dockerfile apps/web"),
        ];
        for (text, expected) in cases {
            assert_eq!(read("build.sh", text), [expected], "{text}");
        }
        // A loop is a build for each; a `cd` on its own line lasts.
        let text = "cd apps\nfor app in api web; do\n  docker build -t acme/$app -f $app/Dockerfile ..\ndone\n";
        assert_eq!(read("build.sh", text), ["api: apps/api/Dockerfile .", "web: apps/web/Dockerfile ."]);
        let text = "for app in api web; do (cd apps/$app && docker build -t $app .); done";
        assert_eq!(read("build.sh", text), ["api: apps/api/Dockerfile apps/api", "web: apps/web/Dockerfile apps/web"]);
    }

    #[test]
    fn what_no_text_says_is_no_build() {
        let cases = [
            "docker build -f apps/$1/Dockerfile .",
            "docker build -t $IMAGE .",
            "docker build --target $STAGE .",
            "docker build - < Dockerfile",
            "docker build https://github.com/acme/shop.git",
            "docker run build .",
            "# docker build .",
            "echo docker build .",
            "docker compose build web",
            "docker build -f",
            "for app in $(ls apps); do docker build -t $app apps/$app; done",
        ];
        for text in cases {
            assert_eq!(read("build.sh", text), [""; 0], "{text}");
        }
    }

    #[test]
    fn every_file_of_commands_is_read_in_its_own_way() {
        let web = "web: apps/web/Dockerfile .";
        let cases = [
            ("package.json", r#"{"scripts": {"image": "docker build -f apps/web/Dockerfile -t web ."}}"#),
            ("apps/web/package.json", r#"{"scripts": {"image": "docker build -f Dockerfile -t web ../.."}}"#),
            (
                "apps/web/project.json",
                r#"{"name": "web", /* ours */ "targets": {"image": {"command": "docker build -f {projectRoot}/Dockerfile . -t {projectName}"}}}"#,
            ),
            (
                "apps/web/package.json",
                r#"{"nx": {"targets": {"image": {"executor": "nx:run-commands", "options": {"cwd": "apps", "commands": ["true", {"command": "docker build -t web -f web/Dockerfile .."}]}}}}}"#,
            ),
            ("Makefile", "NAME := web\nimage:\n\tcd apps && true\n\t@docker build -t $(NAME) -f apps/web/Dockerfile .\n"),
            (
                ".gitlab-ci.yml",
                "image:\n  variables:\n    APP: web\n  script:\n    - docker build -t $APP -f apps/$APP/Dockerfile .\n",
            ),
            (".circleci/config.yml", "jobs:\n  a:\n    steps:\n      - run: docker build -t web -f apps/web/Dockerfile .\n"),
            ("Jenkinsfile", "stage('a') { sh 'docker build -t web -f apps/web/Dockerfile .' }"),
            (
                "cloudbuild.yaml",
                "steps:\n  - name: gcr.io/cloud-builders/docker\n    args: [build, -t, 'web:$SHORT_SHA', -f, apps/web/Dockerfile, .]\n",
            ),
            (
                ".github/workflows/a.yml",
                "env: {IMAGE: web}\njobs:\n  a:\n    strategy: {matrix: {dir: [apps/web]}}\n    defaults: {run: {working-directory: apps}}\n    steps:\n      - run: |\n          docker build \
                 -t \"$IMAGE:${{ github.sha }}\" -f ../${{ matrix.dir }}/Dockerfile ..\n",
            ),
        ];
        for (path, text) in cases {
            let (said, _) =
                all(&[path.to_owned(), "apps/web/Dockerfile".to_owned()], |read| (read == path).then(|| text.to_owned()));
            let shown: Vec<String> = said.iter().map(|s| format!("{}: {} {}", s.name, s.dockerfile, s.context)).collect();
            assert_eq!(shown, [web], "{path}");
        }
    }

    #[test]
    fn what_the_flags_give_is_taken_along() {
        let text = "docker build --secret id=npm,src=.npmrc --secret id=key,env=KEY --ssh default --build-context shared=../shared --add-host a:10.0.0.7 --label team=core --shm-size 1g --network host .";
        let (said, _) = all(&["apps/web/build.sh".to_owned()], |_| Some(text.to_owned()));
        let given: Vec<String> = said[0].given.iter().map(|(key, value)| format!("{key} = {value}")).collect();
        let expected = [
            r#"add-hosts = ["a:10.0.0.7"]"#,
            r#"contexts = { shared = "apps/shared" }"#,
            r#"labels = { team = "core" }"#,
            r#"network = "host""#,
            r#"secrets = ["id=npm,src=apps/web/.npmrc", "id=key,env=KEY"]"#,
            r#"shm-size = "1g""#,
            r#"ssh = ["default"]"#,
        ];
        assert_eq!(given, expected);
    }
}
