//! An image of nothing, built on a node: the only way to ask a BuildKit whether it builds, has room, and what its clock says.

use std::time::{Duration, SystemTime};

use monoship_core::event::Task;
use monoship_core::execute::process::Invocation;
use monoship_core::execute::shutdown::Shutdown;
use monoship_docker::rawjson::Solve;
use monoship_fleet::{Node, last_of, told};

/// What is built. A folder is made and nothing executed, so that any platform will do.
const DOCKERFILE: &str = "FROM scratch\nWORKDIR /doctor\n";

/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Builds it, and says how far the node's clock is off this machine's: nothing where it tells no time.
///
/// # Errors
/// Why it could not be built.
pub fn trial(buildx: &Invocation, node: &Node, shutdown: &Shutdown) -> Result<Option<Duration>, String> {
    let call =
        buildx.clone().args(["build", "--builder", &node.builder, "--no-cache", "--provenance=false", "--progress", "rawjson"]);
    let call = call.args(["--platform", node.platforms[0].as_ref(), "--output", "type=cacheonly", "-"]);
    let before = SystemTime::now();
    let output = call.stdin(DOCKERFILE).timeout(PATIENCE).run(shutdown).map_err(|error| error.to_string())?;
    let mut solve = Solve::new(Task::Base);
    String::from_utf8_lossy(&output.stderr).lines().for_each(|line| drop(solve.line(line)));
    let solved = solve.finish();
    if !output.success() {
        let message = solved.failure.as_ref().map(|failure| failure.message.clone());
        let lines = solved.text.iter().chain(&message).map(String::as_str);
        let said = told(lines, []).map(|loss| loss.to_string());
        return Err(said.or(message).unwrap_or_else(|| last_of(&output.error_tail())));
    }
    let began = solved.steps.iter().filter_map(|step| step.started).min();
    Ok(began.map(|began| {
        let early = before.duration_since(began).unwrap_or_default();
        early.max(began.duration_since(SystemTime::now()).unwrap_or_default())
    }))
}
