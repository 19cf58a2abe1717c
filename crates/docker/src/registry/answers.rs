//! What the registries of the world answer, and what each answer means: one table, each row with its source, from which every request's verdict is
//! read. A test replays each row through the client. No I/O.
//!
//! Rows go from the particular to the general: the first one that fits an answer decides. What no row knows is judged by its status alone.

use std::fmt;

/// What was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ask {
    /// A manifest by tag or digest: `HEAD` or `GET …/manifests/<reference>`.
    Manifest,
    /// `PUT …/manifests/<tag>`.
    PutTag,
    /// `POST …/blobs/uploads/`: the right to push.
    Upload,
    /// `DELETE …/manifests/<digest or tag>`.
    Delete,
    /// `GET …/referrers/<digest>` (OCI distribution-spec 1.1).
    Referrers,
    /// `GET …/tags/list` and `GET /v2/_catalog`.
    List,
}

/// What an answer that is no success means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is not there.
    Absent,
    /// It is not there, or it is not for us: registries that keep private what they do not have give both one answer. Whoever may write is
    /// told the truth.
    AbsentOrDenied,
    /// Not for us. Asking again gives the same.
    Denied,
    /// There is no such repository, and none is made by a push: somebody has to create it first.
    NoRepository,
    /// The tag exists and cannot be changed or taken away, by anybody or by us.
    Immutable,
    /// Something else still needs it.
    InUse,
    /// The quota is used up, or what is sent is larger than is allowed.
    TooMuch,
    /// Nothing can be written at the moment, by anybody.
    ReadOnly,
    /// The registry has no such API.
    Unsupported,
    /// It does not list so many at once; fewer, or its own number, it does.
    PageTooLong,
    /// Too many requests, or a bad moment: it may pass.
    Passing,
    /// Refused for a reason that is in its words only.
    Refused,
}

/// One answer that a registry is known to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Whose answer it is.
    pub registry: &'static str,
    /// The situation, as a person would say it.
    pub when: &'static str,
    /// The request.
    pub ask: Ask,
    /// The status.
    pub status: u16,
    /// The error's code in `{"errors": [{"code": …}]}`; empty where the body has none, or any will do.
    pub code: &'static str,
    /// What the body says, as far as is known; empty where there is none (every answer to a `HEAD`).
    pub says: &'static str,
    /// The part of it that tells this answer from others; empty where the status and the code do.
    pub telling: &'static str,
    /// What it means.
    pub verdict: Verdict,
    /// Where this is known from.
    pub source: &'static str,
}

const fn row(
    registry: &'static str,
    when: &'static str,
    ask: Ask,
    answer: (u16, &'static str, &'static str, &'static str),
    verdict: Verdict,
    source: &'static str,
) -> Row {
    let (status, code, says, telling) = answer;
    Row { registry, when, ask, status, code, says, telling, verdict, source }
}

/// The table.
#[rustfmt::skip]
pub const TABLE: &[Row] = &[
    // A tag that cannot be changed.
    row("Amazon ECR", "the tag is immutable", Ask::PutTag,
        (400, "TAG_INVALID", "The image tag '1' already exists in the 'shop/api' repository and cannot be overwritten because the repository is immutable.", "cannot be overwritten"),
        Verdict::Immutable, "moby/buildkit#3776; osscontainertools/kaniko#204 (`… because the tag is immutable`)"),
    row("Google Artifact Registry", "the tag is immutable", Ask::PutTag,
        (400, "MANIFEST_INVALID", "cannot update tag 1. The repository has enabled tag immutability", "tag immutability"),
        Verdict::Immutable, "cloud.google.com/artifact-registry/docs/docker/troubleshoot; GoogleContainerTools/kaniko#2774"),
    row("Harbor", "the tag is immutable", Ask::PutTag,
        (412, "PRECONDITION", "Failed to process request due to 'api:1' configured as immutable.", "immutable"),
        Verdict::Immutable, "goharbor/harbor#9427, src/server/middleware/immutable; goharbor/harbor docs, tag immutability rules"),
    row("Docker Hub", "the tag is immutable", Ask::PutTag,
        (403, "DENIED", "requested access to the resource is denied - This tag is already assigned to an image in this repository and cannot be updated due to immutability settings. To push this image, use a different tag.", "immutability settings"),
        Verdict::Immutable, "docker/hub-feedback#2466; docs.docker.com/docker-hub/repos/manage/hub-images/immutable-tags"),
    row("Quay", "the tag is immutable", Ask::PutTag,
        (409, "TAG_ALREADY_EXISTS", "tag was already pushed", ""),
        Verdict::Immutable, "quay/quay endpoints/v2/errors.py, TagAlreadyExists"),
    row("Artifactory", "we may add and not replace", Ask::PutTag,
        (403, "DENIED", "Not enough permissions to delete/overwrite artifact 'docker-local:api/1/manifest.json' (user 'ci' needs DELETE permission).", "overwrite"),
        Verdict::Immutable, "conan-io/conan#6193, odpi/egeria#2879 (one core, every package type)"),
    row("GitLab", "the tag is immutable", Ask::PutTag,
        (403, "DENIED", "tag is immutable", "immutable"),
        Verdict::Immutable, "docs.gitlab.com/user/packages/container_registry/immutable_container_tags (status and words by analogy)"),
    row("Azure Container Registry", "the tag is locked", Ask::PutTag,
        (405, "REGISTRY_DISALLOWED_OPERATION", "The operation is disallowed on this registry, repository or image.", ""),
        Verdict::Immutable, "Azure/acr-cli#70; learn.microsoft.com/azure/container-registry/container-registry-image-lock"),
    row("Nexus", "redeploying is off, which a second tag of one manifest is to it, too", Ask::PutTag,
        (400, "BLOB_UPLOAD_INVALID", "blob upload invalid: Repository does not allow updating assets: docker-hosted", "does not allow updating"),
        Verdict::Immutable, "GoogleContainerTools/jib#3057, #2395"),
    row("any", "the tag is immutable, in other words", Ask::PutTag,
        (409, "TAG_IMMUTABLE", "the tag is immutable", "immutab"),
        Verdict::Immutable, "Azure/acr#890 (as asked for), mulgadc/spinifex#392"),
    row("Harbor", "an immutable tag is deleted", Ask::Delete,
        (412, "PRECONDITION", "Failed to process request due to 'api:1' configured as immutable.", "immutable"),
        Verdict::Immutable, "goharbor/harbor src/server/middleware/immutable"),
    row("Azure Container Registry", "a locked tag is deleted", Ask::Delete,
        (405, "REGISTRY_DISALLOWED_OPERATION", "The operation is disallowed on this registry, repository or image.", ""),
        Verdict::Immutable, "Azure/acr-cli#70"),

    // Room, and moments in which nothing can be written.
    row("Harbor", "the project's quota is used up", Ask::Upload,
        (403, "DENIED", "adding 12.0 MiB of storage resource, which when updated to current usage of 10.0 GiB will exceed the configured upper limit of 10.0 GiB.", "exceed"),
        Verdict::TooMuch, "goharbor/harbor src/server/middleware/quota"),
    row("Quay", "the namespace's quota is used up", Ask::Upload,
        (403, "DENIED", "Quota has been exceed on namespace", "quota"),
        Verdict::TooMuch, "quay/quay endpoints/v2/errors.py, QuotaExceeded"),
    row("DigitalOcean", "the plan has no room for another repository", Ask::Upload,
        (403, "DENIED", "registry contains 1 repositories, limit is 1", "limit is"),
        Verdict::TooMuch, "docker/build-push-action#586: its token server says so"),
    row("any", "the plan's storage is used up", Ask::Upload,
        (402, "", "Payment Required", ""),
        Verdict::TooMuch, "RFC 9110 §15.5.3"),
    row("any", "what is sent is too large", Ask::PutTag,
        (413, "SIZE_INVALID", "the manifest is too large", ""),
        Verdict::TooMuch, "RFC 9110 §15.5.14; OCI distribution-spec 1.1, pushing manifests (4 MiB)"),
    row("Quay", "maintenance", Ask::Upload,
        (405, "DENIED", "System is currently read-only. Pulls will succeed but all write operations are currently suspended.", "read-only"),
        Verdict::ReadOnly, "quay/quay endpoints/v2/errors.py, ReadOnlyMode"),
    row("distribution", "maintenance, or a pull-through cache", Ask::Upload,
        (405, "UNSUPPORTED", "The operation is unsupported.", ""),
        Verdict::ReadOnly, "distribution/distribution registry/handlers/app.go, readonly; registry/proxy"),
    row("GitLab", "the project is being renamed", Ask::Upload,
        (409, "RENAME_IN_PROGRESS", "the base repository path is undergoing a rename", ""),
        Verdict::Passing, "gitlab.com/gitlab-org/container-registry docs/spec/gitlab/errors.md"),

    // Repositories that a push does not make.
    row("Amazon ECR", "the repository was not created", Ask::Upload,
        (404, "NAME_UNKNOWN", "The repository with name 'shop/api' does not exist in the registry with id '123456789012'", ""),
        Verdict::NoRepository, "actions/starter-workflows#2647, regclient/regclient#869"),
    row("Google Artifact Registry", "the repository was not created", Ask::Upload,
        (404, "NAME_UNKNOWN", "Repository \"shop\" not found", ""),
        Verdict::NoRepository, "cloud.google.com/artifact-registry/docs/docker/troubleshoot"),
    row("Harbor", "the project was not created", Ask::Upload,
        (404, "NOT_FOUND", "project shop not found", ""),
        Verdict::NoRepository, "goharbor/harbor src/controller/project"),
    row("Artifactory", "the repository was not created", Ask::Upload,
        (404, "NAME_UNKNOWN", "Repository not found", ""),
        Verdict::NoRepository, "jfrog.com/help, Docker registry: repositories are made in the administration"),

    // The right to push.
    row("GitHub (GHCR)", "the package does not let this repository's workflows write", Ask::Upload,
        (403, "DENIED", "permission_denied: write_package", ""),
        Verdict::Denied, "docker/build-push-action#463, #806"),
    row("GitHub (GHCR)", "the job has no `packages: write`", Ask::Upload,
        (403, "DENIED", "installation not allowed to Create organization package", ""),
        Verdict::Denied, "macbre/push-to-ghcr#31"),
    row("Amazon ECR", "no right to push, or a login of more than twelve hours ago", Ask::Upload,
        (403, "DENIED", "Your authorization token has expired. Reauthenticate and try again.", ""),
        Verdict::Denied, "docs.aws.amazon.com/AmazonECR, common errors"),
    row("Google Artifact Registry", "no right to push", Ask::Upload,
        (403, "DENIED", "Permission \"artifactregistry.repositories.uploadArtifacts\" denied on resource \"projects/p/locations/l/repositories/shop\" (or it may not exist)", ""),
        Verdict::Denied, "cloud.google.com/artifact-registry/docs/docker/troubleshoot"),
    row("Docker Hub", "no right to push", Ask::Upload,
        (401, "UNAUTHORIZED", "authentication required", ""),
        Verdict::Denied, "distribution/distribution docs/spec/auth/token.md, insufficient_scope"),
    row("Quay", "no right to push", Ask::Upload,
        (401, "UNAUTHORIZED", "access to the requested resource is not authorized", ""),
        Verdict::Denied, "quay/quay endpoints/v2/errors.py, Unauthorized; ambient-code/platform#669"),
    row("Artifactory", "no right to push", Ask::Upload,
        (403, "DENIED", "The client does not have permission to push to the repository.", ""),
        Verdict::Denied, "jfrog.com/help, Docker registry: permissions"),
    row("GitLab", "a protected tag wants another role", Ask::PutTag,
        (403, "DENIED", "requested access to the resource is denied", ""),
        Verdict::Denied, "docs.gitlab.com/user/packages/container_registry/protected_container_tags"),

    // Nothing there, or nothing for us.
    row("distribution", "no such tag", Ask::Manifest,
        (404, "MANIFEST_UNKNOWN", "manifest unknown", ""),
        Verdict::Absent, "OCI distribution-spec 1.1, error codes; GHCR, GitLab, ECR and Quay too"),
    row("distribution", "no such repository", Ask::Manifest,
        (404, "NAME_UNKNOWN", "repository name not known to registry", ""),
        Verdict::Absent, "OCI distribution-spec 1.1, error codes; GHCR, ECR and GAR too"),
    row("Harbor", "no such tag", Ask::Manifest,
        (404, "NOT_FOUND", "artifact shop/api:1 not found", ""),
        Verdict::Absent, "goharbor/harbor src/lib/errors"),
    row("Quay", "the tag expired", Ask::Manifest,
        (404, "TAG_EXPIRED", "Tag has expired", ""),
        Verdict::Absent, "quay/quay endpoints/v2/errors.py, TagExpired"),
    row("Docker Hub", "the repository is not there yet", Ask::Manifest,
        (401, "UNAUTHORIZED", "authentication required", ""),
        Verdict::AbsentOrDenied, "docker/build-push-action#58: 404 once the token allows pushing"),
    row("Quay", "the repository is not there yet", Ask::Manifest,
        (401, "UNAUTHORIZED", "access to the requested resource is not authorized", ""),
        Verdict::AbsentOrDenied, "helm/helm#31567"),
    row("Artifactory", "the tag is not there", Ask::Manifest,
        (403, "UNAUTHORIZED", "no permission for manifest", ""),
        Verdict::AbsentOrDenied, "sigstore/cosign#2973"),
    row("GitHub (GHCR)", "the package is private, or not there", Ask::Manifest,
        (403, "DENIED", "denied", ""),
        Verdict::AbsentOrDenied, "docker/build-push-action#463"),
    row("Google Artifact Registry", "the repository is private, or not there", Ask::Manifest,
        (403, "DENIED", "Permission \"artifactregistry.repositories.downloadArtifacts\" denied on resource (or it may not exist)", ""),
        Verdict::AbsentOrDenied, "cloud.google.com/artifact-registry/docs/docker/troubleshoot"),
    row("any", "a proxy in front of it knows no HEAD", Ask::Manifest,
        (405, "", "Method Not Allowed", ""),
        Verdict::Unsupported, "distribution/distribution#1485; RFC 9110 §15.5.6"),
    row("distribution", "no such repository", Ask::List,
        (404, "NAME_UNKNOWN", "repository name not known to registry", ""),
        Verdict::Absent, "OCI distribution-spec 1.1, listing tags"),
    row("Docker Hub", "the repository is not there yet", Ask::List,
        (401, "UNAUTHORIZED", "authentication required", ""),
        Verdict::AbsentOrDenied, "docker/build-push-action#58"),

    // Lists.
    row("distribution", "more are asked for than it lists at once", Ask::List,
        (400, "PAGINATION_NUMBER_INVALID", "invalid number of results requested", ""),
        Verdict::PageTooLong, "distribution/distribution registry/api/v2/errors.go; GitLab too (at most 1,000)"),
    row("GitHub (GHCR)", "the catalog", Ask::List,
        (405, "UNSUPPORTED", "The operation is unsupported.", ""),
        Verdict::Unsupported, "OCI distribution-spec 1.1 has no catalog"),

    // Deleting.
    row("GitHub (GHCR)", "manifests are deleted by its Packages API", Ask::Delete,
        (405, "UNSUPPORTED", "The operation is unsupported.", ""),
        Verdict::Unsupported, "docs.github.com/rest/packages; distribution with deletion off answers the same"),
    row("Amazon ECR", "manifests are deleted by its own API", Ask::Delete,
        (405, "UNSUPPORTED", "Invalid HTTP method", ""),
        Verdict::Unsupported, "moby/buildkit#3776 as measured; docs.aws.amazon.com/AmazonECR, BatchDeleteImage"),
    row("Google Artifact Registry", "a tag or an index needs it", Ask::Delete,
        (400, "GOOGLE_MANIFEST_DANGLING_TAG", "Manifest is still referenced by tag: 1", "DANGLING"),
        Verdict::InUse, "google/go-containerregistry cmd/gcrane, gc"),
    row("Google Artifact Registry", "an index needs it", Ask::Delete,
        (400, "GOOGLE_MANIFEST_DANGLING_PARENT_IMAGE", "Manifest is still referenced by one or more parent images", "DANGLING"),
        Verdict::InUse, "google/go-containerregistry cmd/gcrane, gc"),
    row("distribution", "a tag is no digest to it", Ask::Delete,
        (400, "DIGEST_INVALID", "provided digest did not match uploaded content", ""),
        Verdict::Unsupported, "distribution/distribution 2.8, registry/handlers/manifests.go"),
    row("any", "it does not delete", Ask::Delete,
        (400, "UNSUPPORTED", "The operation is unsupported.", ""),
        Verdict::Unsupported, "OCI distribution-spec 1.1, deleting manifests (400 or 405)"),
    row("distribution", "not there", Ask::Delete,
        (404, "MANIFEST_UNKNOWN", "manifest unknown", ""),
        Verdict::Absent, "OCI distribution-spec 1.1, deleting manifests"),
    row("Docker Hub", "no right to delete", Ask::Delete,
        (403, "DENIED", "requested access to the resource is denied", ""),
        Verdict::Denied, "docs.docker.com/reference/api/registry"),

    // What is about a manifest.
    row("Artifactory", "no such API", Ask::Referrers,
        (406, "UNSUPPORTED", "Not Acceptable", ""),
        Verdict::Unsupported, "google/go-containerregistry#2026"),
    row("GitHub (GHCR)", "no such API", Ask::Referrers,
        (404, "", "404 page not found", ""),
        Verdict::Unsupported, "oras-project/oras-java#773; OCI distribution-spec 1.1, unavailable referrers API"),
    row("Amazon ECR", "no such API", Ask::Referrers,
        (405, "UNSUPPORTED", "Invalid HTTP method", ""),
        Verdict::Unsupported, "sigstore/sigstore-js#1183"),
    row("Google Artifact Registry", "no such API", Ask::Referrers,
        (400, "UNSUPPORTED", "The operation is unsupported.", ""),
        Verdict::Unsupported, "actions/attest-build-provenance#80"),
    row("any", "no such API", Ask::Referrers,
        (501, "", "Not Implemented", ""),
        Verdict::Unsupported, "RFC 9110 §15.6.2"),
    row("any", "no such API, and a page for people", Ask::Referrers,
        (200, "", "<!doctype html><title>Registry</title>", ""),
        Verdict::Unsupported, "sigstore/sigstore-js#1187"),

    // Too many requests.
    row("Docker Hub", "the pull limit is reached", Ask::Manifest,
        (429, "TOOMANYREQUESTS", "You have reached your pull rate limit.", ""),
        Verdict::Passing, "docs.docker.com/docker-hub/usage/pulls"),
    row("Amazon ECR", "throttled", Ask::PutTag,
        (429, "TOOMANYREQUESTS", "Rate exceeded", ""),
        Verdict::Passing, "docs.aws.amazon.com/AmazonECR, service quotas"),
    row("GitHub (GHCR)", "throttled", Ask::Upload,
        (429, "TOOMANYREQUESTS", "retry-after: 1.2ms, allowed: 44000/minute", ""),
        Verdict::Passing, "docker/build-push-action issues, registry-github"),
    row("Google Artifact Registry", "the project's quota of requests a minute", Ask::List,
        (429, "RESOURCE_EXHAUSTED", "Quota exceeded for quota metric 'Requests per project per region'", ""),
        Verdict::Passing, "cloud.google.com/artifact-registry/quotas"),
    row("Quay", "a bad moment", Ask::Manifest,
        (502, "", "<html><title>502 Bad Gateway</title></html>", ""),
        Verdict::Passing, "status.quay.io"),
];

/// What an answer means: the first row that fits, else by the status alone. `codes` are those of the body's errors, `says` is all of it.
#[must_use]
pub fn judge(ask: Ask, status: u16, codes: &[String], says: &str) -> Verdict {
    let said = says.to_ascii_lowercase();
    let fits = |row: &&Row| {
        row.ask == ask
            && row.status == status
            && (row.code.is_empty() || codes.iter().any(|code| code == row.code))
            && said.contains(&row.telling.to_ascii_lowercase())
    };
    TABLE.iter().find(fits).map_or_else(|| by_status(ask, status, &said), |row| row.verdict)
}

fn by_status(ask: Ask, status: u16, said: &str) -> Verdict {
    // Nobody says of anything else that it is immutable.
    if matches!(ask, Ask::PutTag | Ask::Delete)
        && (400..500).contains(&status)
        && ["immutab", "overwrit"].iter().any(|word| said.contains(word))
    {
        return Verdict::Immutable;
    }
    match (ask, status) {
        (_, 408 | 425 | 429 | 500 | 502 | 503 | 504) => Verdict::Passing,
        (Ask::Referrers, 400 | 404 | 405 | 406 | 410 | 415 | 501)
        | (Ask::Delete, 400 | 405 | 415 | 501)
        | (Ask::Manifest | Ask::List, 405 | 501) => Verdict::Unsupported,
        (Ask::Upload, 404) => Verdict::NoRepository,
        (Ask::Upload, 405) => Verdict::ReadOnly,
        (_, 404 | 410) => Verdict::Absent,
        (Ask::Manifest | Ask::List, 401 | 403) => Verdict::AbsentOrDenied,
        (_, 401 | 403) => Verdict::Denied,
        (_, 402 | 413 | 507) => Verdict::TooMuch,
        _ => Verdict::Refused,
    }
}

impl Verdict {
    /// True where asking again would be answered the same.
    #[must_use]
    pub fn is_for_good(self) -> bool {
        !matches!(self, Self::Passing | Self::ReadOnly)
    }

    /// What can be done about a refusal to write, as a hint; `host` is the registry's.
    #[must_use]
    pub fn way_out(self, host: &str) -> Option<String> {
        Some(match self {
            Self::Denied | Self::AbsentOrDenied => {
                format!("log in with `docker login {host}` as someone who may, or give the token the right to write packages")
            }
            Self::NoRepository => format!("create the repository first: a push to {host} does not make one"),
            Self::Immutable => {
                "its registry lets nobody, or not us, change this tag: release a new version, or change the repository's rule"
                    .to_owned()
            }
            Self::TooMuch => format!("make room at {host}, or have the quota raised"),
            Self::ReadOnly => format!("{host} takes nothing at the moment: try later, or push to the registry behind it"),
            _ => return None,
        })
    }
}

/// A fragment.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Absent => "it is not there",
            Self::AbsentOrDenied => "it is not there, or not for us",
            Self::Denied => "we may not",
            Self::NoRepository => "there is no such repository",
            Self::Immutable => "the tag is immutable",
            Self::InUse => "something else needs it",
            Self::TooMuch => "there is no room",
            Self::ReadOnly => "it is read-only",
            Self::Unsupported => "it has no such API",
            Self::PageTooLong => "it does not list so many at once",
            Self::Passing => "it may pass",
            Self::Refused => "it is refused",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_is_judged_as_it_says_and_none_hides_another() {
        for row in TABLE {
            let codes = if row.code.is_empty() { vec![] } else { vec![row.code.to_owned()] };
            // The referrers API's page for people is told from a list by who reads it.
            if row.status != 200 {
                assert_eq!(judge(row.ask, row.status, &codes, &format!("{} {}", row.code, row.says)), row.verdict, "{row:?}");
            }
            assert!(!row.source.is_empty() && !row.when.is_empty());
            assert!(format!("{} {}", row.code, row.says).to_lowercase().contains(&row.telling.to_lowercase()), "{row:?}");
        }
        for registry in [
            "Docker Hub",
            "GitHub (GHCR)",
            "Amazon ECR",
            "Google Artifact Registry",
            "Harbor",
            "Quay",
            "Artifactory",
            "GitLab",
            "Azure Container Registry",
            "Nexus",
            "DigitalOcean",
            "distribution",
        ] {
            assert!(TABLE.iter().any(|row| row.registry == registry), "{registry}");
        }
    }

    #[test]
    fn what_no_row_knows_is_judged_by_its_status() {
        assert_eq!(judge(Ask::PutTag, 422, &[], "Tag `1` is IMMUTABLE here"), Verdict::Immutable);
        assert_eq!(judge(Ask::PutTag, 503, &[], "immutable"), Verdict::Passing);
        assert_eq!(judge(Ask::Upload, 403, &[], ""), Verdict::Denied);
        assert_eq!(judge(Ask::Manifest, 403, &[], ""), Verdict::AbsentOrDenied);
        assert_eq!(judge(Ask::Referrers, 410, &[], ""), Verdict::Unsupported);
        assert_eq!(judge(Ask::PutTag, 400, &["MANIFEST_INVALID".to_owned()], "manifest invalid"), Verdict::Refused);
    }
}
