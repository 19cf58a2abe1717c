//! The instructions that make a target's image, and which of them made a step of its history. BuildKit words the steps in
//! `dockerfile2llb` (convert.go, `commitToHistory`): variables replaced, most flags left out, heredocs by name or by content.

use super::slice::SliceRequest;
use super::{Dockerfile, Instruction, Stage, words};
use monoship_core::collect::Collect as _;
use monoship_core::error::Result;

/// A line of a Dockerfile that made something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The line, from 1.
    pub line: usize,
    /// The instruction as written, continuations joined.
    pub text: String,
}

/// What makes a target's image, first to last.
#[derive(Debug)]
pub struct Lineage<'d> {
    /// Its first stage, where that starts from an image.
    from: Option<&'d Stage>,
    /// The instructions of the stages it starts from, then its own.
    steps: Vec<&'d Instruction>,
}

impl Dockerfile {
    /// The lineage of a target.
    ///
    /// # Errors
    /// As [`Dockerfile::slice`].
    pub fn lineage(&self, request: &SliceRequest<'_>) -> Result<Lineage<'_>> {
        let slice = self.slice(request)?;
        let stage = self.target(request.target)?;
        let stages: Vec<&Stage> = slice.line(stage).into_vec();
        let stage = stages.last().copied().unwrap_or(stage);
        let steps = stages.iter().rev().flat_map(|stage| &stage.instructions).into_vec();
        let from = (!slice.froms[&stage.index].contains("scratch")).then_some(stage);
        Ok(Lineage { from, steps })
    }
}

impl Lineage<'_> {
    /// For each step of an image's history what made it. The instructions may have been edited since: as many as can be are found in
    /// both, in order, and of equal ones the last. What stands before the first instruction comes from the base image, so from FROM.
    #[must_use]
    pub fn of_history(&self, history: &[String]) -> Vec<Option<Origin>> {
        let history: Vec<Step> = history.iter().map(|step| Step::read(step)).into_vec();
        let mut found = vec![None; history.len()];
        let best = self.best(&history);
        let (mut at, mut of) = (history.len(), self.steps.len());
        while at > 0 && of > 0 {
            let weight = history[at - 1].weight_of(self.steps[of - 1]);
            if weight > 0 && best[at][of] == best[at - 1][of - 1] + weight {
                (at, of) = (at - 1, of - 1);
                found[at] = Some(of);
            } else if best[at][of] == best[at - 1][of] {
                at -= 1;
            } else {
                of -= 1;
            }
        }
        let own = found.iter().position(|step| *step == Some(0)).unwrap_or_default();
        let origin = |(at, step): (usize, &Option<usize>)| match step {
            Some(step) => Some(written(self.steps[*step])),
            None => self.from.filter(|_| at < own).map(from),
        };
        found.iter().enumerate().map(origin).into_vec()
    }

    /// For the first `n` steps of a history and the first `m` instructions the most that can be found in both.
    fn best(&self, history: &[Step]) -> Vec<Vec<u32>> {
        let mut best = vec![vec![0; self.steps.len() + 1]; history.len() + 1];
        for (at, step) in history.iter().enumerate() {
            for (of, instruction) in self.steps.iter().enumerate() {
                let weight = step.weight_of(instruction);
                let both = if weight > 0 { best[at][of] + weight } else { 0 };
                best[at + 1][of + 1] = both.max(best[at][of + 1]).max(best[at + 1][of]);
            }
        }
        best
    }

    /// What stands on one of these lines; they are those that BuildKit gives for one step, which equal instructions share.
    #[must_use]
    pub fn of_lines(&self, lines: &[usize]) -> Option<Origin> {
        let step = self.steps.iter().find(|step| lines.contains(&step.line));
        step.map(|step| written(step)).or_else(|| self.from.filter(|stage| lines.contains(&stage.line)).map(from))
    }
}

fn from(stage: &Stage) -> Origin {
    let name = stage.name.as_ref().map(|name| format!(" AS {name}")).unwrap_or_default();
    Origin { line: stage.line, text: format!("FROM {}{name}", stage.base) }
}

fn written(step: &Instruction) -> Origin {
    let words = [std::slice::from_ref(&step.keyword), &step.flags, std::slice::from_ref(&step.args)];
    Origin { line: step.line, text: words.concat().join(" ") }
}

/// A step of a history.
struct Step {
    keyword: String,
    /// What follows, one blank between words, flags left out.
    args: String,
    /// In the classic builder's words, which name the sources of a COPY by their digest.
    classic: bool,
}

impl Step {
    /// Reads `KEYWORD args # buildkit`; RUN is followed by `|1 ARG=value`, the shell and the command. The classic builder writes `/bin/sh -c
    /// #(nop)  KEYWORD args`, and a RUN without its keyword.
    fn read(text: &str) -> Self {
        let text = text.trim_end();
        let text = text.strip_suffix("# buildkit").unwrap_or(text);
        let nop = text.split_once("#(nop)").map(|(_, rest)| rest);
        let (keyword, args) = words::split_keyword(nop.unwrap_or(text));
        let known = super::KEYWORDS.contains(&keyword);
        let (keyword, args) = if known { (keyword, args) } else { ("RUN", text) };
        let is_flag = |word: &&str| keyword != "RUN" && word.starts_with("--");
        let args = args.split_whitespace().skip_while(is_flag).into_vec().join(" ");
        Self { keyword: keyword.to_owned(), args, classic: nop.is_some() }
    }

    /// How much it tells that this is the instruction: 0 where it is not.
    fn weight_of(&self, instruction: &Instruction) -> u32 {
        if self.keyword != instruction.keyword {
            return 0;
        }
        let args = &instruction.args;
        let (is_it, weight) = match self.keyword.as_str() {
            "RUN" => (self.ran(instruction), 3),
            "COPY" | "ADD" => (self.copied(args), 3),
            "WORKDIR" => {
                let folder = args.trim_start_matches("./").trim_end_matches('/');
                (fits(self.args.trim_end_matches('/'), &format!("${{}}{folder}")), 2)
            }
            "ARG" | "ENV" | "LABEL" => (name(&self.args) == name(args), 2),
            _ => (true, 1),
        };
        if is_it { weight } else { 0 }
    }

    /// Whether it ran the command: the whole text of one or of each heredoc, after the shell.
    fn ran(&self, instruction: &Instruction) -> bool {
        let one_blank = |text: &str| text.split_whitespace().into_vec().join(" ");
        if !instruction.heredocs.is_empty() {
            return instruction.heredocs.iter().all(|heredoc| self.args.contains(&one_blank(&heredoc.content)));
        }
        let exec = words::json_list(&instruction.args);
        let command = exec.as_ref().map_or_else(|| one_blank(&instruction.args), |exec| one_blank(&exec.join(" ")));
        let Some(before) = self.args.strip_suffix(&command) else { return false };
        match before.split(' ').rfind(|word| !word.is_empty()) {
            None => true,
            _ if exec.is_some() => before.starts_with('|') && before.ends_with(' '),
            // `/bin/bash -eo pipefail -c`
            Some(last) => last.starts_with('-') && last.ends_with(['c', 'C']) && before.ends_with(' '),
        }
    }

    fn copied(&self, args: &str) -> bool {
        let list = words::json_list(args).unwrap_or_else(|| {
            let words = words::quoted_words(args, '\\').into_iter();
            words.map(|word| words::unquote(&word).map_or(word.clone(), |(word, _)| word).replace("<<-", "<<")).into_vec()
        });
        if self.classic {
            return self.args.rsplit(' ').next().zip(list.last()).is_some_and(|(made, wanted)| fits(made, wanted));
        }
        fits(&self.args, &list.join(" "))
    }
}

/// The name that ARG, ENV or LABEL gives a value first.
fn name(args: &str) -> &str {
    args.split(['=', ' ', '\t']).next().unwrap_or_default().trim_matches(['"', '\''])
}

/// Whether `made` is `written` with something for each variable.
fn fits(made: &str, written: &str) -> bool {
    let mut pieces = literals(written).into_iter();
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = made.strip_prefix(&first) else { return false };
    let Some(last) = pieces.next_back() else { return rest.is_empty() };
    for piece in pieces {
        let Some((_, after)) = rest.split_once(&piece) else { return false };
        rest = after;
    }
    rest.ends_with(&last)
}

/// What stands between the variables of a text: one piece more than there are variables.
fn literals(text: &str) -> Vec<String> {
    let mut pieces = vec![String::new()];
    let mut rest = text;
    while let Some((literal, after)) = rest.split_once('$') {
        pieces.last_mut().expect("there is always a last piece").push_str(literal);
        pieces.push(String::new());
        rest = match after.strip_prefix('{') {
            Some(inner) => inner.split_once('}').map_or("", |(_, rest)| rest),
            None => after.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_'),
        };
    }
    pieces.last_mut().expect("there is always a last piece").push_str(rest);
    pieces
}

#[cfg(test)]
mod tests {

    use monoship_core::sorted::{SortedMap, SortedSet};
    use std::path::Path;

    use super::*;

    fn lines(dockerfile: &str, target: &str, history: &[&str]) -> Vec<Option<usize>> {
        let dockerfile = Dockerfile::parse(Path::new("Dockerfile"), dockerfile).unwrap();
        let (contexts, args) = (SortedSet::new(), SortedMap::new());
        let lineage =
            dockerfile.lineage(&SliceRequest { target, contexts: &contexts, args: &args, platforms: &[], own: None }).unwrap();
        let history: Vec<String> = history.iter().map(|step| (*step).to_owned()).collect();
        lineage.of_history(&history).into_iter().map(|origin| origin.map(|origin| origin.line)).collect()
    }

    const DOCKERFILE: &str = "ARG NODE=node:24\nARG PARENT=base\nFROM ${NODE} AS base\nARG V=1\nRUN npm i \\\n  pnpm@$V\n\nFROM $PARENT AS Runtime\nENV \
        A=1\nWORKDIR app\nCOPY --link --from=x . .\n\nFROM runtime AS api\nCOPY --link --from=base /out/ /app/\nRUN [\"node\"]\nCOPY a b /app\n\
        CMD [\"node\"]\n";

    #[test]
    fn each_step_of_a_history_is_traced_to_the_line_that_made_it_and_the_base_images_to_from() {
        let base = ["RUN /bin/sh -c apt-get update # buildkit", "CMD [\"node\"]"];
        let own = [
            "ARG V=1",
            "RUN |1 V=1 /bin/sh -c npm i   pnpm@$V # buildkit",
            "ENV A=1",
            "WORKDIR /app",
            "COPY . . # buildkit",
            "COPY /out/ /app/ # buildkit",
            "RUN |1 V=1 node # buildkit",
            "COPY a b /app # buildkit",
            "CMD [\"node\"]",
        ];
        let made = [4, 5, 9, 10, 11, 14, 15, 16, 17].map(Some);
        assert_eq!(lines(DOCKERFILE, "api", &[&base[..], &own[..]].concat()), [&[Some(3), Some(3)], &made[..]].concat());
        assert_eq!(lines(DOCKERFILE, "runtime", &own[..5]), made[..5]);
    }

    #[test]
    fn an_instruction_that_the_image_does_not_have_shifts_no_other() {
        let without_run =
            ["ENV A=1", "WORKDIR /app", "COPY . . # buildkit", "COPY /out/ /app/ # buildkit", "COPY a b /app # buildkit"];
        assert_eq!(lines(DOCKERFILE, "api", &without_run), [9, 10, 11, 14, 16].map(Some));
        let other = ["COPY . . # buildkit", "COPY /elsewhere /opt # buildkit", "COPY a b /app # buildkit"];
        assert_eq!(lines(DOCKERFILE, "api", &other), [Some(11), None, Some(16)]);
    }

    #[test]
    fn the_classic_builders_words_are_understood() {
        let classic =
            ["/bin/sh -c #(nop)  ENV A=1", "/bin/sh -c #(nop) COPY dir:12 in /app ", "/bin/sh -c #(nop)  CMD [\"node\"]"];
        assert_eq!(lines(DOCKERFILE, "api", &classic), [9, 16, 17].map(Some));
        assert_eq!(lines(DOCKERFILE, "base", &["|1 V=1 /bin/sh -c npm i   pnpm@$V"]), [Some(5)]);
    }

    /// The history is what BuildKit 0.25 wrote of this Dockerfile.
    #[test]
    fn heredocs_variables_shells_and_exec_forms_are_traced_too() {
        let dockerfile = "FROM node AS first\nARG WHO=me\nENV PLACE=/srv \\\n  B=2\nRUN <<EOF\nmkdir -p /one\necho \"$WHO\" > /one/file\n\
            EOF\nRUN <<-'EOF' cat > /two\n\ttold\nEOF\nCOPY <<a.txt <<-'b.txt' ${PLACE}/\na\na.txt\n\tb\nb.txt\n\nFROM first\nWORKDIR ${PLACE}/sub\n\
            SHELL [\"/bin/bash\", \"-o\", \"pipefail\", \"-c\"]\nRUN echo 1 && \\\n  # why\n  true\nRUN [\"/bin/sh\", \"-c\", \"echo > /four\"]\n\
            RUN true\n\nFROM first AS odd\nRUN --mount=type=bind,from=1,target=/m cp /m /c\nCOPY --chmod=755 x y $PLACE/\n\
            COPY --link [\"a b\", \"/c\"]\nADD https://a/b.tar ${PLACE:-x}/b.tar\n";
        let start = [
            "COPY rootfs/ / # buildkit",
            "ARG WHO=me",
            "ENV PLACE=/srv B=2",
            "RUN |1 WHO=me /bin/sh -c mkdir -p /one\necho \"$WHO\" > /one/file\n # buildkit",
            "RUN |1 WHO=me /bin/sh -c <<-'EOF' cat > /two\n\ttold\nEOF # buildkit",
            "COPY <<a.txt <<b.txt /srv/ # buildkit",
        ];
        let odd = [
            "RUN |1 WHO=me /bin/sh -c cp /m /c # buildkit",
            "COPY --chmod=755 x y /srv/ # buildkit",
            "COPY a b /c # buildkit",
            "ADD https://a/b.tar /srv/b.tar # buildkit",
        ];
        let first = [1, 2, 3, 5, 9, 12].map(Some);
        assert_eq!(
            lines(dockerfile, "odd", &[&start[..], &odd[..]].concat()),
            [&first[..], &[28, 29, 30, 31].map(Some)].concat()
        );
        let named = dockerfile.replace("FROM first\n", "FROM first AS shells\n");
        let shells = [
            "WORKDIR /srv/sub",
            "SHELL [/bin/bash -o pipefail -c]",
            "RUN |1 WHO=me /bin/bash -o pipefail -c echo 1 &&   true # buildkit",
            "RUN |1 WHO=me /bin/sh -c echo > /four # buildkit",
            "RUN |1 WHO=me /bin/bash -o pipefail -c true # buildkit",
        ];
        assert_eq!(lines(&named, "shells", &shells), [19, 20, 21, 24, 25].map(Some));
    }
}
