//! Whether Docker Hub can be reached: one question with a short limit. What follows from the answer is [`super::standin`]'s.

use std::time::Duration;

use monoship_core::error::Result;
use monoship_core::execute::http::{Http, Request, Trouble};

/// Docker Hub's registry endpoint; it answers 401 to whoever has not logged in.
pub const HUB: &str = "https://registry-1.docker.io/v2/";

/// How long we wait: a reachable hub answers in a few hundred milliseconds, and everybody without one pays this once.
pub const LIMIT: Duration = Duration::from_secs(3);

/// Every registry says with this header that it is one, whatever its answer (distribution-spec, "Legacy Docker support HTTP headers").
const REGISTRY: &str = "docker-distribution-api-version";

/// True where a registry answers at `url` within `limit`, be it that it has too much to do. A proxy that refuses us answers too, with
/// something else.
///
/// # Errors
/// `cancelled`, when the run is closing.
pub fn is_reachable(http: &Http, url: &str, limit: Duration) -> Result<bool> {
    match http.send(Request::get(url).whole(limit)) {
        Ok(answer) => Ok(matches!(answer.head.status, 200 | 401 | 429) || answer.head.header(REGISTRY).is_some()),
        Err(error) if error.trouble == Trouble::Cancelled => Err(error.into()),
        Err(_) => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use super::*;
    use monoship_core::env::Env;
    use monoship_core::execute::http::Limits;
    use monoship_core::execute::shutdown::Shutdown;

    fn server(answer: Option<&'static str>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v2/", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            match answer {
                Some(answer) => {
                    let _ = stream.read(&mut [0; 1024]);
                    stream.write_all(answer.as_bytes()).unwrap();
                }
                // Whoever waits for this one never ends.
                None => std::thread::sleep(Duration::from_hours(1)),
            }
        });
        url
    }

    #[test]
    fn a_registry_is_told_from_a_proxy_that_refuses_and_from_silence() {
        let limit = Duration::from_millis(400);
        let http = Http::new(&Env::default(), Limits::STANDARD, &Shutdown::new());
        let is_reachable = |url: &str| is_reachable(&http, url, limit).unwrap();
        assert!(is_reachable(&server(Some("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"))));
        assert!(!is_reachable(&server(Some("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"))));
        // It is there, and an image of ours in its place would be a surprise.
        assert!(is_reachable(&server(Some("HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n"))));
        let busy =
            "HTTP/1.1 503 Service Unavailable\r\nDocker-Distribution-Api-Version: registry/2.0\r\nContent-Length: 0\r\n\r\n";
        assert!(is_reachable(&server(Some(busy))));
        assert!(!is_reachable(&server(Some("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"))));
        assert!(!is_reachable(&server(None)));
    }
}
