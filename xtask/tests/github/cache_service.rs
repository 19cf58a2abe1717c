//! The fake cache service keeps the real one's rules: who may read, who may write, what is never overwritten.

use crate::support::actions_cache::{ActionsCache, READ, WRITE, runtime_token};

#[test]
fn a_token_that_may_only_read_is_refused_on_create_and_an_expired_one_everywhere() {
    let cache = ActionsCache::start();
    let call = |token: &str, method: &str| {
        let url = format!("{}twirp/github.actions.results.api.v1.CacheService/{method}", cache.url());
        let body = serde_json::json!({"key": "k", "version": "v", "restore_keys": ["k"]}).to_string();
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        agent.post(url).header("authorization", format!("Bearer {token}")).send(body).unwrap().status().as_u16()
    };
    let read_only = runtime_token(&[("refs/pull/7/merge", READ), ("refs/heads/main", READ)], 600);
    let expired = runtime_token(&[("refs/heads/main", READ | WRITE)], -1);
    let good = runtime_token(&[("refs/heads/main", READ | WRITE)], 600);
    assert_eq!(call(&read_only, "CreateCacheEntry"), 403);
    assert_eq!(call(&read_only, "GetCacheEntryDownloadURL"), 200);
    assert_eq!((call(&expired, "GetCacheEntryDownloadURL"), call("x.y.z", "GetCacheEntryDownloadURL")), (401, 401));
    assert_eq!((call(&good, "CreateCacheEntry"), call(&good, "CreateCacheEntry")), (200, 409));
}
