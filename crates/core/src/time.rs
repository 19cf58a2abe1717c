//! Points in time as files hold them: RFC 3339 text in UTC, to the millisecond. For `#[serde(with = …)]`.

use std::time::Duration;

/// Whole milliseconds, as records have them.
#[must_use]
pub fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A time.
pub mod rfc3339 {
    use std::time::{Duration, SystemTime};

    use serde::{Deserialize as _, Deserializer, Serializer};

    /// The time to the millisecond in UTC. Years before 1970 and after 9999, which the format or its writer cannot hold,
    /// become the nearest that it can.
    #[must_use]
    pub fn text(time: SystemTime) -> String {
        let last = SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_799);
        humantime::format_rfc3339_millis(time.clamp(SystemTime::UNIX_EPOCH, last)).to_string()
    }

    /// # Errors
    /// Never by itself.
    pub fn serialize<S: Serializer>(time: &SystemTime, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&text(*time))
    }

    /// # Errors
    /// When the text is not an RFC 3339 time in UTC.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<SystemTime, D::Error> {
        let text = String::deserialize(from)?;
        humantime::parse_rfc3339(&text).map_err(serde::de::Error::custom)
    }
}

/// The same for a time that may be missing.
pub mod rfc3339_option {
    use std::time::SystemTime;

    use serde::{Deserialize as _, Deserializer, Serializer};

    /// # Errors
    /// Never by itself.
    pub fn serialize<S: Serializer>(time: &Option<SystemTime>, to: S) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => super::rfc3339::serialize(time, to),
            None => to.serialize_none(),
        }
    }

    /// # Errors
    /// When the text is not an RFC 3339 time in UTC.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SystemTime>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        text.map(|text| humantime::parse_rfc3339(&text).map_err(serde::de::Error::custom)).transpose()
    }
}
