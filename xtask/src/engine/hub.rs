//! Whether Docker Hub can be reached: one question with a short limit. What follows from the answer is [`super::standin`]'s.

use std::time::Duration;

use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// Docker Hub's registry endpoint; it answers 401 to whoever has not logged in.
pub const HUB: &str = "https://registry-1.docker.io/v2/";

/// How long we wait: a reachable hub answers in a few hundred milliseconds, and everybody without one pays this once.
pub const LIMIT: Duration = Duration::from_secs(3);

/// True where a registry answers at `url` within `limit`. A proxy that refuses us answers too, with something else.
#[must_use]
pub fn is_reachable(url: &str, limit: Duration) -> bool {
    let certificates = rustls_native_certs::load_native_certs().certs;
    let roots = RootCerts::from(certificates.iter().map(|c| Certificate::from_der(c.as_ref()).to_owned()));
    let agent: Agent = Agent::config_builder()
        .timeout_global(Some(limit))
        .http_status_as_error(false)
        .max_redirects(0)
        .tls_config(TlsConfig::builder().root_certs(roots).build())
        .build()
        .into();
    agent.get(url).call().is_ok_and(|answer| matches!(answer.status().as_u16(), 200 | 401))
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::time::Instant;

    use super::*;

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
                None => std::thread::sleep(Duration::from_secs(2)),
            }
        });
        url
    }

    #[test]
    fn a_registry_is_told_from_a_proxy_that_refuses_and_from_silence() {
        let limit = Duration::from_millis(400);
        assert!(is_reachable(&server(Some("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")), limit));
        assert!(!is_reachable(&server(Some("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")), limit));
        let began = Instant::now();
        assert!(!is_reachable(&server(None), limit));
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    }
}
