//! The Dockerfile that an image was built of, and the lines of it that put each layer, as the image's provenance says: `mode=max` has the
//! file itself and, for each step, its lines and the layers that are there after it.
//!
//! Format: BuildKit's `docs/attestations/slsa-definitions.md` (`source.locations`, `source.infos`, `layers`, `llbDefinition`).

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;

use crate::attest::Predicate;
use crate::manifest::Descriptor;
use monoship_core::collect::Collect as _;
use monoship_core::name::Digest;
use monoship_core::sorted::SortedMap;

/// What an image was built of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuiltFrom {
    /// The Dockerfile's name, without its folder.
    pub file: String,
    /// Its text.
    pub text: String,
    /// The stage that was built; `None` for the last.
    pub target: Option<String>,
    /// The build arguments that were given.
    pub args: SortedMap<String, String>,
    /// For each layer, lowest first, the lines (from 1) of the step that put it: of each instruction, where equal ones share a step.
    pub lines: Vec<Vec<usize>>,
}

#[derive(Deserialize)]
struct Metadata {
    source: Source,
    /// By `step3:0`: the layers of each result.
    #[serde(default)]
    layers: SortedMap<String, Vec<Vec<Descriptor>>>,
}

#[derive(Deserialize)]
struct Source {
    #[serde(default)]
    locations: SortedMap<String, Locations>,
    #[serde(default)]
    infos: Vec<Info>,
}

#[derive(Deserialize)]
struct Info {
    filename: String,
    /// Base64.
    data: String,
}

#[derive(Default, Deserialize)]
struct Locations {
    #[serde(default)]
    locations: Vec<Location>,
}

#[derive(Deserialize)]
struct Location {
    #[serde(default)]
    ranges: Vec<Range>,
}

#[derive(Deserialize)]
struct Range {
    start: Position,
}

#[derive(Deserialize)]
struct Position {
    line: usize,
}

#[derive(Deserialize)]
struct Vertex {
    #[serde(default)]
    inputs: Vec<String>,
}

impl BuiltFrom {
    /// Reads a provenance; `None` where it does not tell (`mode=min`, another builder than BuildKit, another number of layers).
    #[must_use]
    pub fn of(provenance: &Predicate, layers: usize) -> Option<Self> {
        let metadata = Metadata::deserialize(provenance.buildkit_metadata()).ok()?;
        let [info] = &metadata.source.infos[..] else { return None };
        let text = String::from_utf8(BASE64_STANDARD.decode(&info.data).ok()?).ok()?;
        // The last vertex is no step: it points to the result.
        let vertex = Vertex::deserialize(provenance.build_config()["llbDefinition"].as_array()?.last()?).ok()?;
        let whole = digests(metadata.layers.get(vertex.inputs.first()?)?)?;
        if whole.len() != layers {
            return None;
        }
        let mut arguments = provenance.arguments();
        let target = arguments.remove("target");
        let args = arguments.into_iter().filter_map(|(name, value)| Some((name.strip_prefix("build-arg:")?.to_owned(), value)));
        let lines = (0..layers).map(|layer| metadata.lines_of(&whole, layer)).into_vec();
        Some(Self { file: info.filename.clone(), text, target, args: args.into_map(), lines })
    }
}

impl Metadata {
    /// The lines of the first step after which a layer is there. A FROM puts several at once.
    fn lines_of(&self, whole: &[&Digest], layer: usize) -> Vec<usize> {
        let after = |result: &(&String, &Vec<Vec<Descriptor>>)| {
            let there = digests(result.1).filter(|there| whole.starts_with(there) && there.len() > layer)?;
            let step = result.0.split(':').next()?;
            let lines = self.source.locations.get(step)?.lines();
            (!lines.is_empty()).then_some((there.len(), lines))
        };
        let first = self.layers.iter().filter_map(|result| after(&result)).min_by_key(|(there, _)| *there);
        first.map(|(_, lines)| lines).unwrap_or_default()
    }
}

impl Locations {
    fn lines(&self) -> Vec<usize> {
        let first = |location: &Location| location.ranges.iter().map(|range| range.start.line).min();
        self.locations.iter().filter_map(first).into_vec()
    }
}

fn digests(packings: &[Vec<Descriptor>]) -> Option<Vec<&Digest>> {
    packings.first().map(|layers| layers.iter().map(|layer| &layer.digest).into_vec())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn layers(names: &str) -> Value {
        let all =
            names.chars().map(|name| json!({"mediaType": "layer", "digest": Digest::of(name.to_string().as_bytes()), "size": 1}));
        json!([all.collect::<Vec<_>>()])
    }

    /// Two layers of the base image, then a RUN that stands in two stages, a COPY whose files are a result of their own, and its merge.
    fn told() -> (Value, Value) {
        let at = |lines: &[usize]| {
            let one = |line: &usize| json!({"ranges": [{"start": {"line": line + 1}}, {"start": {"line": line}}]});
            json!({"locations": lines.iter().map(one).collect::<Vec<_>>()})
        };
        let metadata = json!({
            "source": {
                "locations": {"step0": at(&[3]), "step1": at(&[4, 9]), "step2": at(&[12]), "step3": at(&[12]), "step4": {}},
                "infos": [{"filename": "Dockerfile", "data": "RlJPTSB4Cg=="}],
            },
            "layers": {"step0:0": layers("ab"), "step1:0": layers("abc"), "step2:0": layers("d"), "step3:0": layers("abcd")},
        });
        (metadata, json!({"llbDefinition": [{"id": "step0"}, {"id": "step4", "inputs": ["step3:0"]}]}))
    }

    #[test]
    fn each_layer_has_the_lines_of_the_step_after_which_it_is_there_in_both_versions_of_provenance() {
        let (metadata, config) = told();
        let args = json!({"target": "api", "build-arg:V": "1", "label:x": "y"});
        let old = json!({
            "metadata": {"https://mobyproject.org/buildkit@v1#metadata": metadata}, "buildConfig": config,
            "invocation": {"parameters": {"args": args}},
        });
        let new = json!({
            "buildDefinition": {"internalParameters": {"buildConfig": config}, "externalParameters": {"request": {"args": args}}},
            "runDetails": {"metadata": {"buildkit_metadata": metadata}},
        });
        for predicate in [old, new] {
            let predicate = Predicate::from(predicate);
            let built_from = BuiltFrom::of(&predicate, 4).unwrap();
            assert_eq!(built_from.lines, [vec![3], vec![3], vec![4, 9], vec![12]]);
            assert_eq!((built_from.text.as_str(), built_from.target.as_deref()), ("FROM x\n", Some("api")));
            assert_eq!(built_from.args, SortedMap::from([("V".to_owned(), "1".to_owned())]));
            assert_eq!(BuiltFrom::of(&predicate, 5), None, "the image is another");
        }
    }

    #[test]
    fn a_provenance_without_the_steps_tells_nothing() {
        let (metadata, _) = told();
        for predicate in [json!(null), json!({"metadata": {"https://mobyproject.org/buildkit@v1#metadata": metadata}})] {
            assert_eq!(BuiltFrom::of(&Predicate::from(predicate), 4), None);
        }
    }
}
