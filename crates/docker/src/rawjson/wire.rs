//! The stream's JSON, as loosely as it may come: every field can be missing or null, unknown ones are ignored.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use serde::{Deserialize, Deserializer};

use monoship_core::collect::Collect as _;

/// One `SolveStatus`.
#[derive(Debug, Deserialize)]
pub(super) struct Status {
    #[serde(default, deserialize_with = "list")]
    pub(super) vertexes: Vec<Vertex>,
    #[serde(default, deserialize_with = "list")]
    pub(super) statuses: Vec<VertexStatus>,
    #[serde(default, deserialize_with = "list")]
    pub(super) logs: Vec<Log>,
    #[serde(default, deserialize_with = "list")]
    pub(super) warnings: Vec<Warning>,
}

/// A node of the build graph, or one more event of it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Vertex {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) digest: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) name: String,
    #[serde(default, deserialize_with = "time")]
    pub(super) started: Option<SystemTime>,
    #[serde(default, deserialize_with = "time")]
    pub(super) completed: Option<SystemTime>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) cached: bool,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) error: String,
    pub(super) progress_group: Option<Group>,
}

/// Vertices shown as one.
#[derive(Debug, Deserialize)]
pub(super) struct Group {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) id: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) name: String,
}

/// What a vertex is doing: bytes of a layer, or a phase of an export.
#[derive(Debug, Deserialize)]
pub(super) struct VertexStatus {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) id: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) vertex: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) total: i64,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) current: i64,
    #[serde(default, deserialize_with = "time")]
    pub(super) started: Option<SystemTime>,
    #[serde(default, deserialize_with = "time")]
    pub(super) completed: Option<SystemTime>,
}

/// A piece of what a step wrote; it may end in the middle of a line.
#[derive(Debug, Deserialize)]
pub(super) struct Log {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) vertex: String,
    #[serde(default, deserialize_with = "base64")]
    pub(super) data: Vec<u8>,
}

/// A finding of BuildKit's Dockerfile checks.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Warning {
    #[serde(default, deserialize_with = "base64")]
    pub(super) short: Vec<u8>,
    #[serde(default, deserialize_with = "base64_list")]
    pub(super) detail: Vec<Vec<u8>>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) url: String,
    pub(super) source_info: Option<SourceInfo>,
    #[serde(default, deserialize_with = "list")]
    pub(super) range: Vec<Range>,
}

/// The file a warning is about.
#[derive(Debug, Deserialize)]
pub(super) struct SourceInfo {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) filename: String,
}

/// Lines of that file.
#[derive(Debug, Deserialize)]
pub(super) struct Range {
    pub(super) start: Option<Position>,
}

/// A line, counted from 1.
#[derive(Debug, Deserialize)]
pub(super) struct Position {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) line: usize,
}

fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    let items: Option<Vec<Option<T>>> = Option::deserialize(from)?;
    Ok(items.unwrap_or_default().into_iter().flatten().into_vec())
}

fn base64<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
    Ok(decoded(&or_default::<_, String>(from)?))
}

fn base64_list<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Vec<u8>>, D::Error> {
    Ok(list::<_, String>(from)?.iter().map(|text| decoded(text)).into_vec())
}

/// Data that is not base64 is lost, not the whole line with it.
fn decoded(text: &str) -> Vec<u8> {
    base64::engine::general_purpose::STANDARD.decode(text).unwrap_or_default()
}

fn time<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SystemTime>, D::Error> {
    Ok(or_default::<_, String>(from)?.parse_time())
}

trait ParseTime {
    /// An RFC 3339 time. BuildKit writes UTC; an offset is understood too, since Go would print one for a local time.
    fn parse_time(&self) -> Option<SystemTime>;
}

impl ParseTime for str {
    fn parse_time(&self) -> Option<SystemTime> {
        if let Ok(time) = humantime::parse_rfc3339(self) {
            return Some(time);
        }
        let (local, offset) = self.split_at_checked(self.len().checked_sub(6)?)?;
        let time = humantime::parse_rfc3339(&format!("{local}Z")).ok()?;
        let (hours, minutes) = offset.get(1..)?.split_once(':')?;
        let offset_seconds = hours.parse::<u64>().ok()? * 3600 + minutes.parse::<u64>().ok()? * 60;
        match offset.as_bytes()[0] {
            b'+' => time.checked_sub(Duration::from_secs(offset_seconds)),
            b'-' => time.checked_add(Duration::from_secs(offset_seconds)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_utc_and_with_an_offset_and_nonsense_is_none() {
        let utc = "2026-11-24T03:58:44.785515937Z".parse_time();
        assert!(utc.is_some());
        assert_eq!("2026-11-24T05:28:44.785515937+01:30".parse_time(), utc);
        assert_eq!("2026-11-23T23:58:44.785515937-04:00".parse_time(), utc);
        for nonsense in ["", "yesterday", "2026-11-24T03:58:44+99999999999999999999:00", "é+01:00", "2026-11-24T03:58:44.7+ab:cd"]
        {
            assert_eq!(nonsense.parse_time(), None, "{nonsense}");
        }
    }

    #[test]
    fn missing_null_and_unknown_fields_are_no_error() {
        let status: Status =
            serde_json::from_str(r#"{"vertexes":[null,{"digest":"d","name":null,"new":1}],"logs":null,"x":{}}"#).unwrap();
        assert_eq!((status.vertexes.len(), status.logs.len()), (1, 0));
        let status: Status = serde_json::from_str(r#"{"logs":[{"vertex":"d","data":"%%%"}]}"#).unwrap();
        assert!(status.logs[0].data.is_empty());
    }
}
