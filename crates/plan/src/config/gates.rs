//! `[gates]`: bounds on what a build may take and what an image may be. What is measured, and what follows, is decided elsewhere.

use serde::Deserialize;
use toml::Value;

use super::upkeep::{Age, Size};
use monoship_core::error::{Error, Result};

/// How many builds a rolling median is taken over, unless the configuration says otherwise.
const WINDOW: usize = 20;

/// What a gate bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// How long one image's build takes, in milliseconds.
    BuildTime,
    /// The share of its steps that come from a cache: the one bound from below.
    HitRate,
    /// Its size as it is stored, in bytes.
    ImageSize,
    /// The bytes it stores that no container sees.
    WastedBytes,
}

impl Measure {
    /// Its key in the section.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::BuildTime => "build-time",
            Self::HitRate => "hit-rate",
            Self::ImageSize => "image-size",
            Self::WastedBytes => "wasted-bytes",
        }
    }

    /// A bound as it is written: `3m`, `0.5` or `60 %`, `200MB`.
    fn read(self, value: &Value) -> Result<f64> {
        let wrong = |what: &str| Error::usage(format!("[gates] {} = {value} is not {what}", self.key()));
        #[expect(clippy::cast_precision_loss, reason = "a bound, not an account")]
        match (self, value) {
            (Self::BuildTime, Value::String(text)) => text.parse::<Age>().map(|age| age.0.as_secs_f64() * 1000.0),
            (Self::BuildTime, _) => Err(wrong("a length of time").hint("write a number with a unit, such as \"3m\" or \"90s\"")),
            (Self::ImageSize | Self::WastedBytes, Value::String(text)) => text.parse::<Size>().map(|size| size.0 as f64),
            (Self::ImageSize | Self::WastedBytes, Value::Integer(bytes)) if *bytes >= 0 => Ok(*bytes as f64),
            (Self::ImageSize | Self::WastedBytes, _) => Err(wrong("a size").hint("write \"200MB\", or a number of bytes")),
            (Self::HitRate, Value::Float(share)) if (0.0..=1.0).contains(share) => Ok(*share),
            (Self::HitRate, Value::String(text)) => {
                let percent = text.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
                percent
                    .filter(|percent| (0.0..=100.0).contains(percent))
                    .map(|percent| percent / 100.0)
                    .ok_or_else(|| wrong("a share"))
            }
            (Self::HitRate, _) => Err(wrong("a share").hint("write \"60 %\" or 0.6")),
        }
    }
}

/// One gate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gate {
    /// What it bounds.
    pub measure: Measure,
    /// The fixed bound, in the measure's unit.
    pub bound: Option<f64>,
    /// The bound as so many times the rolling median.
    pub of_median: Option<f64>,
    /// Exceeding it fails the run; otherwise it warns.
    pub fails: bool,
}

/// The gates that are set.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Gates {
    /// Each measure at most once.
    pub gates: Vec<Gate>,
    /// How many builds a rolling median is taken over.
    pub window: usize,
}

impl Gates {
    /// The gate of a measure.
    #[must_use]
    pub fn of(&self, measure: Measure) -> Option<&Gate> {
        self.gates.iter().find(|gate| gate.measure == measure)
    }
}

/// The section as written. A gate is its bound alone, or a table.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Written {
    pub build_time: Option<Value>,
    pub hit_rate: Option<Value>,
    pub image_size: Option<Value>,
    pub wasted_bytes: Option<Value>,
    pub window: Option<usize>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Table {
    bound: Option<Value>,
    of_median: Option<f64>,
    #[serde(default)]
    action: Action,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Action {
    #[default]
    Fail,
    Warn,
}

impl Written {
    pub(super) fn validate(self) -> Result<Gates> {
        let window = self.window.unwrap_or(WINDOW);
        if window < 5 {
            return Err(Error::usage(format!("[gates] window = {window} is too few builds for a median"))
                .hint("take 5 at least; 20 is the default"));
        }
        let written = [
            (Measure::BuildTime, self.build_time),
            (Measure::HitRate, self.hit_rate),
            (Measure::ImageSize, self.image_size),
            (Measure::WastedBytes, self.wasted_bytes),
        ];
        let set = written.into_iter().filter_map(|(measure, value)| Some((measure, value?)));
        Ok(Gates { gates: set.map(|(measure, value)| gate(measure, value)).collect::<Result<_>>()?, window })
    }
}

fn gate(measure: Measure, value: Value) -> Result<Gate> {
    let Value::Table(_) = &value else {
        return Ok(Gate { measure, bound: Some(measure.read(&value)?), of_median: None, fails: true });
    };
    let key = measure.key();
    let table: Table = value.try_into().map_err(|e: toml::de::Error| Error::usage(format!("[gates] {key}: {}", e.message())))?;
    if table.bound.is_none() && table.of_median.is_none() {
        return Err(Error::usage(format!("[gates] {key} has no bound")).hint("give it `bound`, `of-median`, or both"));
    }
    if let Some(factor) = table.of_median.filter(|factor| !factor.is_finite() || *factor <= 0.0) {
        return Err(Error::usage(format!("[gates] {key}: {factor} times the median is not a bound")));
    }
    let bound = table.bound.map(|bound| measure.read(&bound)).transpose()?;
    Ok(Gate { measure, bound, of_median: table.of_median, fails: matches!(table.action, Action::Fail) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Gates> {
        toml::from_str::<Written>(text).unwrap().validate()
    }

    #[test]
    fn a_gate_is_a_bound_or_a_table_with_what_follows() {
        let gates = read("build-time = '90s'\nhit-rate = '60 %'\nwasted-bytes = 1000\nimage-size = { bound = '200MB', of-median = 1.2, action = 'warn' }")
            .unwrap();
        let gate = |measure| *gates.of(measure).unwrap();
        assert_eq!(
            gate(Measure::BuildTime),
            Gate { measure: Measure::BuildTime, bound: Some(90_000.0), of_median: None, fails: true }
        );
        assert_eq!(gate(Measure::HitRate).bound, Some(0.6));
        assert_eq!(gate(Measure::WastedBytes).bound, Some(1_000.0));
        let size = Gate { measure: Measure::ImageSize, bound: Some(200e6), of_median: Some(1.2), fails: false };
        assert_eq!((gate(Measure::ImageSize), gates.window), (size, 20));
        assert_eq!(read("").unwrap().gates, []);
    }

    #[test]
    fn what_is_no_bound_is_refused_by_its_key() {
        for (text, said) in [
            ("build-time = 90", "build-time = 90 is not a length of time"),
            ("hit-rate = '160 %'", "hit-rate = \"160 %\" is not a share"),
            ("hit-rate = 60", "hit-rate = 60 is not a share"),
            ("image-size = 'big'", "`big` is not a size"),
            ("image-size = {}", "image-size has no bound"),
            ("image-size = { of-median = -1.0 }", "-1 times the median is not a bound"),
            ("image-size = { bund = 1 }", "image-size: unknown field `bund`"),
            ("window = 1", "too few builds"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
