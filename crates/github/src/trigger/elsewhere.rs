//! Where CI systems that are neither GitHub's nor GitLab's say which tag they build.

use monoship_core::env::Env;

/// The variable by which a system is known, the one that has the tag, and what stands before it where that can have something else.
const SYSTEMS: [(&str, &str, &str); 11] = [
    ("APPVEYOR", "APPVEYOR_REPO_TAG_NAME", ""),
    ("BITBUCKET_BUILD_NUMBER", "BITBUCKET_TAG", ""),
    ("BUILDKITE", "BUILDKITE_TAG", ""),
    ("CIRCLECI", "CIRCLE_TAG", ""),
    ("CIRRUS_CI", "CIRRUS_TAG", ""),
    // AWS CodeBuild.
    ("CODEBUILD_BUILD_ID", "CODEBUILD_WEBHOOK_TRIGGER", "tag/"),
    ("DRONE", "DRONE_TAG", ""),
    ("JENKINS_URL", "TAG_NAME", ""),
    ("SEMAPHORE", "SEMAPHORE_GIT_TAG_NAME", ""),
    // Azure Pipelines.
    ("TF_BUILD", "BUILD_SOURCEBRANCH", "refs/tags/"),
    ("TRAVIS", "TRAVIS_TAG", ""),
];

/// The tag that is built.
pub(super) fn tag(env: &Env) -> Option<&str> {
    let (_, variable, kind) = SYSTEMS.iter().find(|(system, ..)| env.get(system).is_some())?;
    env.get(variable)?.strip_prefix(kind)
}
