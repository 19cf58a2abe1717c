//! A fleet's nodes: what each built when, a lane for as many builds as it had at once. Pure.

use super::timeline::millis_since;
use super::{axis, escaped, ms, percent};
use crate::record::RunRecord;
use monoship_core::collect::Collect as _;
use monoship_core::event::Status;
use monoship_core::name::Platform;
use monoship_core::sorted::{Order as _, SortedMap};

/// A name stands in its bar where the bar has this share of the track for each of its letters, in percent: as much as a phone's screen needs.
const PERCENT_A_LETTER: f64 = 2.6;

/// A build on a node: its name, its colour, from when and how long.
struct Build {
    name: String,
    class: &'static str,
    from_ms: u64,
    took_ms: u64,
}

/// The lanes; empty where no record names a node.
pub(super) fn lanes(run: &RunRecord) -> String {
    let mut nodes: SortedMap<&str, Vec<Build>> = SortedMap::new();
    for task in &run.tasks {
        let Some(started) = task.started else { continue };
        for node in &task.nodes {
            let platforms: Vec<&str> = node.platforms.iter().map(Platform::as_str).into_vec();
            let on = if platforms.is_empty() { String::new() } else { format!(" ({})", platforms.join(", ")) };
            let class = match task.status {
                Status::Failed => "failed",
                Status::Cancelled => "stopped",
                _ => "step",
            };
            let (name, from_ms) = (format!("{}{on}", task.task), millis_since(run.started, started));
            nodes.entry(&node.builder).or_default().push(Build { name, class, from_ms, took_ms: task.took_ms });
        }
    }
    if nodes.is_empty() {
        return String::new();
    }
    let rows: String = nodes.into_iter().map(|(node, builds)| node_rows(node, builds, run.took_ms)).collect();
    format!("{}{rows}", axis(run.took_ms))
}

fn node_rows(node: &str, mut builds: Vec<Build>, whole: u64) -> String {
    builds.order_by_key(|build| build.from_ms);
    let busy = builds.iter().fold(0_u64, |sum, build| sum.saturating_add(build.took_ms));
    let mut lanes: Vec<Vec<Build>> = Vec::new();
    for build in builds {
        let is_free =
            |lane: &&mut Vec<Build>| lane.last().is_none_or(|last| last.from_ms.saturating_add(last.took_ms) <= build.from_ms);
        match lanes.iter_mut().find(is_free) {
            Some(lane) => lane.push(build),
            None => lanes.push(vec![build]),
        }
    }
    let node = if node.is_empty() { "this machine's" } else { node };
    let row = |(index, lane): (usize, &Vec<Build>)| {
        let (name, time) = if index == 0 { (escaped(node), ms(busy)) } else { (String::new(), String::new()) };
        let bars: String = lane.iter().map(|build| bar(build, whole)).collect();
        format!(
            "<div class=\"row lane\"><span class=\"name mono\">{name}</span><span class=\"track\">{bars}</span><span class=\"time\">{time}</span></div>\n"
        )
    };
    lanes.iter().enumerate().map(row).collect()
}

fn bar(build: &Build, whole: u64) -> String {
    let width = percent(build.took_ms, whole);
    let name = escaped(&build.name);
    let letters = u32::try_from(build.name.chars().count()).unwrap_or(u32::MAX);
    let inside = if width >= f64::from(letters) * PERCENT_A_LETTER { name.as_str() } else { "" };
    format!(
        "<span class=\"bar {}\" title=\"{name}, {} from {}\" style=\"left:{:.3}%;width:{width:.3}%\">{inside}</span>",
        build.class,
        ms(build.took_ms),
        ms(build.from_ms),
        percent(build.from_ms, whole),
    )
}

#[cfg(test)]
mod tests {
    use super::super::tests::run;
    use super::*;
    use crate::record::NodeRecord;

    #[test]
    fn what_a_node_builds_at_once_lies_in_lanes_and_a_name_stands_where_it_has_room() {
        let mut run = run();
        assert_eq!(lanes(&run), "");
        let on = |builder: &str| NodeRecord { builder: builder.to_owned(), platforms: Vec::new(), moved: Vec::new() };
        run.tasks[0].nodes = vec![on("east")];
        run.tasks[1].nodes = vec![on("west")];
        run.tasks[2].nodes = vec![on("west")];
        let html = lanes(&run);
        let rows: Vec<&str> = html.lines().skip(1).collect();
        assert_eq!(rows.len(), 3, "{html}");
        assert!(rows[0].contains(">east<") && rows[0].contains(">base</span>"), "{html}");
        assert!(rows[1].contains(">west<") && rows[1].contains(">api</span>") && rows[1].contains("left:34.231%"), "{html}");
        assert!(rows[2].contains("class=\"bar failed\"") && rows[2].contains("title=\"web, 1.6s from 4.5s\""), "{html}");
    }
}
