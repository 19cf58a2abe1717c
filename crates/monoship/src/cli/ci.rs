//! The flags of `ci`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use monoship_github::workflow::{Layout, Prebuilt};

/// Flags of `ci`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  cargo xtask ci                                what the event asks for: release, build and push, check, or upkeep
  cargo xtask ci --event event.json             the same for a recorded event, on a laptop
  cargo xtask ci plan                           the matrix of what must be built, as JSON
  cargo xtask ci workflow --layout matrix       write .github/workflows/images.yml

In GitHub Actions the event comes from GITHUB_EVENT_NAME and GITHUB_EVENT_PATH, in GitLab CI from its variables; in any shell a
CI_COMMIT_TAG is released. docs/ci.md has the layouts, their permissions and the outputs.")]
pub struct Ci {
    /// The part of the work that a job of its own does [default: all of it]
    #[command(subcommand)]
    pub part: Option<CiPart>,
    /// Replay this GitHub event instead of reading the environment
    #[arg(long, global = true, value_name = "FILE")]
    pub event: Option<PathBuf>,
    /// Release this tag, whatever event started the run: for a workflow that made the release itself, which starts no other
    #[arg(long, global = true, value_name = "TAG")]
    pub tag: Option<String>,
    /// Release images that are built on stand-ins for their base images
    #[arg(long, global = true)]
    pub allow_stand_ins: bool,
    /// Print what was understood and what came of it as JSON
    #[arg(long, global = true)]
    pub json: bool,
}

/// A job of the matrix layout, or the workflow files themselves.
#[derive(Debug, Clone, Subcommand)]
pub enum CiPart {
    /// Say what must be built: the matrix on standard output and in GITHUB_OUTPUT, the plan as a file for the other jobs
    Plan,
    /// Build the shared base and write its cache
    Base,
    /// Build one service, and write its result for `publish`, whatever comes of it
    Service {
        /// The service
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Publish what the services' jobs built: everything, or nothing
    Publish,
    /// Write the workflow files
    Workflow(CiWorkflow),
}

/// Flags of `ci workflow`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  cargo xtask ci workflow                       one job that builds everything
  cargo xtask ci workflow --layout matrix       plan, base, one runner a service, publish
  cargo xtask ci workflow --prebuilt off        compile the tool in every job (docs/ci.md says how to take it from an image)
  cargo xtask ci workflow --check               fail where the files are not as they would be written")]
pub struct CiWorkflow {
    /// One job, or one runner a service [default: as the file that is there, else single]
    #[arg(long, value_enum)]
    pub layout: Option<Layout>,
    /// The branch whose pushes are built and pushed [default: as the file that is there, else the remote's, else main]
    #[arg(long, value_name = "NAME")]
    pub branch: Option<String>,
    /// The image that jobs which may write take the compiled tool from, by its digest, in place of compiling it; `off` compiles it in each [default: as the file that is there, else off]
    #[arg(long, value_name = "IMAGE@DIGEST")]
    pub prebuilt: Option<Prebuilt>,
    /// Write nothing; show how the files differ, and fail where they do
    #[arg(long)]
    pub check: bool,
}
