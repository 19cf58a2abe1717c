//! The flags of `ci`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use monoship_core::name::Platform;
use monoship_github::workflow::{Layout, Prebuilt};

/// Flags of `ci`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  cargo xtask ci                           release, push, check or keep up
  cargo xtask ci --event event.json        the same for a recorded event
  cargo xtask ci plan                      the matrix of what must be built
  cargo xtask ci plan --by-platform        the same, a row for each platform
  cargo xtask ci workflow --layout matrix  write .github/workflows/images.yml

In GitHub Actions the event comes from GITHUB_EVENT_NAME and GITHUB_EVENT_PATH,
in GitLab CI from its variables; in any shell a CI_COMMIT_TAG is released.
docs/ci.md has the layouts, their permissions and the outputs.")]
pub struct Ci {
    /// The part of the work that this job does [default: all of it]
    #[command(subcommand)]
    pub part: Option<CiPart>,
    /// Replay this GitHub event instead of reading the environment
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "tag")]
    pub event: Option<PathBuf>,
    /// Release this tag, whatever event started the run: for a workflow that makes the release itself, which starts no other workflow
    #[arg(long, global = true, value_name = "TAG")]
    pub tag: Option<String>,
    /// Build for this platform only: in one of several jobs of a service or of the base, or in a check, which pushes nothing
    #[arg(long, global = true, value_name = "PLATFORM")]
    pub platform: Option<Platform>,
    /// Release images even if they are built on stand-ins for their base images
    #[arg(long, global = true)]
    pub allow_stand_ins: bool,
    /// Print what was understood, and the outcome, as JSON
    #[arg(long, global = true)]
    pub json: bool,
}

/// A job of the matrix layout, or the workflow files themselves.
#[derive(Debug, Clone, Subcommand)]
pub enum CiPart {
    /// Print what must be built: the matrix on standard output and in GITHUB_OUTPUT, the plan as a file for the other jobs
    Plan {
        /// Give each platform of a service its own job, and name a runner that has it natively
        #[arg(long)]
        by_platform: bool,
    },
    /// Build the shared base and write its cache
    Base,
    /// Build one service, and write its result for `publish`, whether it succeeds or not
    Service {
        /// The service
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Publish what the services' jobs built: all of it, or nothing
    Publish,
    /// Write the workflow files
    Workflow(CiWorkflow),
}

/// Flags of `ci workflow`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  cargo xtask ci workflow                  one job that builds everything
  cargo xtask ci workflow --layout matrix  one runner a service
  cargo xtask ci workflow --prebuilt off   compile the tool in every job
  cargo xtask ci workflow --check          fail where the files would change")]
pub struct CiWorkflow {
    /// One job, or one runner per service [default: as in the existing file, else single]
    #[arg(long, value_enum)]
    pub layout: Option<Layout>,
    /// The branch whose commits are built and pushed [default: as in the existing file, else the remote's default, else main]
    #[arg(long, value_name = "NAME")]
    pub branch: Option<String>,
    /// The image, by digest, from which jobs with write access take the compiled tool instead of compiling it; `off` compiles it in each [default: as in the existing file, else off]
    #[arg(long, value_name = "IMAGE@DIGEST")]
    pub prebuilt: Option<Prebuilt>,
    /// Write nothing; show how the files differ, and fail if they do
    #[arg(long, conflicts_with = "overwrite")]
    pub check: bool,
    /// Also replace files that this command did not write
    #[arg(long)]
    pub overwrite: bool,
}
