//! What `docker buildx inspect NAME` prints of a builder: its driver, and of each of its places whether it runs, its version and platforms.

use monoship_core::collect::Collect as _;

/// A builder, as buildx sees it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer {
    /// `remote`, `docker-container`, `kubernetes`, `docker` …
    pub driver: String,
    /// One or several: buildx divides a build among them by platform.
    pub places: Vec<Place>,
}

/// One place of a builder.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    /// Where it is: `tcp://10.0.0.5:1234`.
    pub endpoint: String,
    /// `running`, `inactive`, `stopped` …
    pub status: String,
    /// What is wrong with it, where buildx says so.
    pub error: String,
    /// BuildKit's version, where it runs.
    pub version: String,
    /// What it can build for, emulated or not.
    pub platforms: Vec<String>,
}

/// Drivers whose builders buildx starts when a build needs them.
const STARTED: [&str; 2] = ["docker-container", "kubernetes"];

impl Answer {
    /// Reads what `inspect` prints: `Key: value` lines, those of places below `Nodes:`.
    #[must_use]
    pub fn read(text: &str) -> Self {
        let mut answer = Self::default();
        let mut of_places = false;
        for line in text.lines() {
            let Some((key, value)) = line.split_once(':').filter(|_| !line.starts_with(' ')) else { continue };
            let value = value.trim();
            match (key, of_places) {
                ("Driver", false) => value.clone_into(&mut answer.driver),
                ("Nodes", false) => of_places = true,
                ("Name", true) => answer.places.push(Place::default()),
                (_, true) => {
                    if let Some(place) = answer.places.last_mut() {
                        place.learn(key, value);
                    }
                }
                _ => {}
            }
        }
        answer
    }

    /// Why it cannot be built on; none where it can, or buildx starts it when it is built on.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        let runs = |place: &Place| place.status == "running" || STARTED.contains(&self.driver.as_str()) && place.error.is_empty();
        if self.places.iter().any(runs) {
            return None;
        }
        let Some(place) = self.places.first() else { return Some("buildx knows of no place of it".to_owned()) };
        let said = if place.error.is_empty() { &place.status } else { &place.error };
        Some(format!("{} is {said}", place.endpoint))
    }

    /// Which of these it cannot build for, where it says what it can.
    #[must_use]
    pub fn lacks<'a>(&self, platforms: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
        let has: Vec<&str> = self.places.iter().flat_map(|place| &place.platforms).map(String::as_str).into_vec();
        if has.is_empty() { Vec::new() } else { platforms.into_iter().filter(|platform| !has.contains(platform)).into_vec() }
    }
}

impl Place {
    fn learn(&mut self, key: &str, value: &str) {
        match key {
            "Endpoint" => value.clone_into(&mut self.endpoint),
            "Status" => value.clone_into(&mut self.status),
            "Error" => value.clone_into(&mut self.error),
            "Buildkit" | "BuildKit version" => value.clone_into(&mut self.version),
            // A star marks those that the user named.
            "Platforms" => {
                self.platforms = value.split(',').map(|platform| platform.trim().trim_end_matches('*').to_owned()).into_vec();
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As buildx 0.29 prints it.
    const RUNS: &str = "Name:          one
Driver:        remote
Last Activity: 2026-11-29 04:09:53 +0000 UTC

Nodes:
Name:             one0
Endpoint:         tcp://127.0.0.1:7101
Status:           running
BuildKit version: v0.25.1
Platforms:        linux/amd64*, linux/amd64/v2
Labels:
 org.mobyproject.buildkit.worker.executor:             containerd
GC Policy rule#0:
 All:            false
";

    #[test]
    fn what_inspect_prints_is_read() {
        let answer = Answer::read(RUNS);
        assert_eq!((answer.driver.as_str(), answer.problem()), ("remote", None));
        assert_eq!(answer.places[0].version, "v0.25.1");
        assert_eq!(answer.lacks(["linux/amd64", "linux/arm64"]), ["linux/arm64"]);
        let inactive = Answer::read(&RUNS.replace("running", "inactive"));
        assert_eq!(inactive.problem().unwrap(), "tcp://127.0.0.1:7101 is inactive");
        let container = Answer::read(&RUNS.replace("running", "inactive").replace("remote", "docker-container"));
        assert_eq!(container.problem(), None, "a build starts it");
        assert!(Answer::read("").problem().is_some());
    }
}
