//! The fake cache service keeps the real one's rules: who may read, who may write, what is never overwritten.

use support::actions_cache::{ActionsCache, READ, WRITE, runtime_token};

#[test]
fn a_token_that_may_only_read_is_refused_on_create_and_an_expired_one_everywhere() {
    let cache = ActionsCache::start();
    let call = |token: &str, method: &str| {
        let url = format!("{}twirp/github.actions.results.api.v1.CacheService/{method}", cache.url());
        let body = serde_json::json!({"key": "k", "version": "v", "restore_keys": ["k"]}).to_string();
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let mut answer = agent.post(url).header("authorization", format!("Bearer {token}")).send(body).unwrap();
        (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
    };
    let read_only = runtime_token(&[("refs/pull/7/merge", READ), ("refs/heads/main", READ)], 600);
    let expired = runtime_token(&[("refs/heads/main", READ | WRITE)], -1);
    let good = runtime_token(&[("refs/heads/main", READ | WRITE)], 600);
    let nothing = runtime_token(&[], 600);
    let denied = call(&read_only, "CreateCacheEntry");
    assert_eq!(denied.0, 200);
    assert!(denied.1.contains("cache write denied: token has no writable scopes"), "{}", denied.1);
    assert_eq!(call(&read_only, "GetCacheEntryDownloadURL").0, 200);
    assert_eq!(call(&nothing, "GetCacheEntryDownloadURL").0, 403);
    assert_eq!((call(&expired, "GetCacheEntryDownloadURL").0, call("x.y.z", "GetCacheEntryDownloadURL").0), (401, 401));
    assert_eq!((call(&good, "CreateCacheEntry").0, call(&good, "CreateCacheEntry").0), (200, 409));
}
