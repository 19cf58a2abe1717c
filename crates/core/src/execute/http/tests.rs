//! Against a server of a few lines on loopback that answers what a test tells it to.

use super::*;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::{TcpListener, TcpStream};

const QUICK: Limits = Limits { connect: Duration::from_secs(2), idle: Duration::from_millis(400), whole: Duration::from_secs(5) };

fn client(shutdown: &Shutdown) -> Http {
    Http::new(&Env::new("/", []), QUICK, shutdown)
}

/// Serves each connection with `answer`, which gets the request's lines and body; returns `http://host:port`.
fn serve(answer: impl Fn(&[String], Vec<u8>, &mut TcpStream) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let answer = Arc::new(answer);
        for stream in listener.incoming() {
            let (mut stream, answer) = (stream.unwrap(), Arc::clone(&answer));
            std::thread::spawn(move || {
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut lines = Vec::new();
                loop {
                    let mut line = String::new();
                    match reader.read_line(&mut line) {
                        Ok(0) => return,
                        Ok(_) => {}
                        // A TLS greeting is not text.
                        Err(_) => return drop(stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")),
                    }
                    if line == "\r\n" {
                        break;
                    }
                    lines.push(line.trim_end().to_owned());
                }
                let length = lines.iter().find_map(|l| l.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
                let mut body = vec![0; length.unwrap_or(0)];
                reader.read_exact(&mut body).unwrap();
                answer(&lines, body, &mut stream);
            });
        }
    });
    url
}

fn plain(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n{headers}\r\n{body}", body.len())
}

#[test]
fn a_status_is_data_and_headers_and_bodies_go_both_ways() {
    let url = serve(|lines, body, to| {
        let echo = format!("{} | {} | {}", lines[0], lines.iter().any(|l| l == "x-a: b"), String::from_utf8_lossy(&body));
        to.write_all(plain("418 Teapot", "x-back: yes\r\n", &echo).as_bytes()).unwrap();
    });
    let http = client(&Shutdown::new());
    let request = Request::new("PUT", format!("{url}/p?q=1")).header("x-a", "b").body(b"hello".to_vec());
    let response = http.send(request).unwrap();
    assert_eq!((response.status, response.header("X-Back")), (418, Some("yes")));
    assert_eq!(response.excerpt(99), "PUT /p?q=1 HTTP/1.1 | true | hello");
    let streamed = Request::new("POST", format!("{url}/s")).stream(io_of("streamed"), 8);
    assert_eq!(http.send(streamed).unwrap().excerpt(99), "POST /s HTTP/1.1 | false | streamed");
}

fn io_of(text: &'static str) -> impl Read + Send {
    std::io::Cursor::new(text.as_bytes())
}

#[test]
fn a_redirect_to_another_host_is_followed_without_the_authorization() {
    let storage = serve(|lines, _, to| {
        let leaked = lines.iter().any(|l| l.to_ascii_lowercase().starts_with("authorization"));
        to.write_all(plain("200 OK", "", if leaked { "leaked" } else { "blob" }).as_bytes()).unwrap();
    });
    let registry = serve(move |lines, _, to| {
        if lines[0].starts_with("GET /here") {
            let kept = lines.iter().any(|l| l.eq_ignore_ascii_case("authorization: secret"));
            return to.write_all(plain("200 OK", "", if kept { "kept" } else { "lost" }).as_bytes()).unwrap();
        }
        let target = if lines[0].contains("/away") { format!("{storage}/b?signature=s") } else { "/here".to_owned() };
        to.write_all(plain("307 Temporary", &format!("location: {target}\r\n"), "").as_bytes()).unwrap();
    });
    let http = client(&Shutdown::new());
    let get = |path: &str| http.send(Request::get(format!("{registry}{path}")).header("authorization", "secret")).unwrap();
    assert_eq!(get("/away").body, b"blob");
    assert_eq!(get("/near").body, b"kept");
    let written = http.send(Request::new("POST", format!("{registry}/near"))).unwrap();
    assert_eq!(written.status, 307, "a write is not sent twice");
}

#[test]
fn every_way_of_not_answering_is_told_apart_and_none_quotes_a_query() {
    let url = serve(|lines, _, to| match lines[0].split(' ').nth(1).unwrap().split('?').next().unwrap() {
        "/short" => to.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nten bytes.").unwrap(),
        "/hang" => std::thread::sleep(Duration::from_secs(3)),
        "/long" => to.write_all(plain("200 OK", "", &"x".repeat(2_000)).as_bytes()).unwrap(),
        "/drip" => {
            let _ = to.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n");
            for _ in 0..30 {
                std::thread::sleep(Duration::from_millis(100));
                let _ = to.write_all(b".");
            }
        }
        _ => {}
    });
    let http = client(&Shutdown::new());
    let closed = { TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap() };
    let cases = [
        (format!("{url}/short?sig=s3cret"), Trouble::Broken, Again::Backoff),
        (format!("{url}/reset?sig=s3cret"), Trouble::Broken, Again::Backoff),
        (format!("{url}/hang?sig=s3cret"), Trouble::Timeout, Again::Backoff),
        (format!("{url}/drip?sig=s3cret"), Trouble::Timeout, Again::Backoff),
        (format!("{url}/long?sig=s3cret"), Trouble::TooLarge, Again::Never),
        (format!("http://{closed}/?sig=s3cret"), Trouble::Unreachable, Again::Backoff),
        (format!("{}/?sig=s3cret", url.replace("http:", "https:")), Trouble::Tls, Again::Never),
        ("no url".to_owned(), Trouble::Malformed, Again::Never),
    ];
    for (url, trouble, again) in cases {
        let request = Request::get(&url).max_body(1_000).whole(Duration::from_secs(1));
        let error = http.send(request).unwrap_err();
        assert_eq!((error.trouble, error.again()), (trouble, again), "{url}: {error}");
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }
    let error = http.send(Request::get(&url).header("authorization", "s3cret\n")).unwrap_err();
    assert!(error.trouble == Trouble::Malformed && !error.to_string().contains("s3cret"), "{error}");
}

#[test]
fn a_proxy_that_refuses_is_named_with_its_answer_and_one_that_is_not_spoken_is_not_passed_by() {
    let url = serve(|_, _, to| to.write_all(plain("407 Proxy Authentication Required", "", "").as_bytes()).unwrap());
    let through = |proxy: &str| {
        let env = Env::new("/", [("HTTPS_PROXY".to_owned(), proxy.to_owned())]);
        let error = Http::new(&env, QUICK, &Shutdown::new()).send(Request::get("https://r.invalid/v2/")).unwrap_err();
        Error::from(error).to_string()
    };
    let refused = through(&url.replace("http://", "http://user:s3cret@"));
    assert!(refused.contains("the proxy on the way to r.invalid answers with status 407"), "{refused}");
    let other = through("socks5://user:s3cret@127.0.0.1:1");
    assert!(other.contains("the proxy variable does not hold an http(s) URL"), "{other}");
    assert!(!(refused + &other).contains("s3cret"));
}

#[test]
fn a_hanging_server_does_not_hold_up_a_shutdown() {
    let url = serve(|_, _, _| std::thread::sleep(Duration::from_hours(1)));
    let shutdown = Shutdown::new();
    let closer = shutdown.clone();
    let thread = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        closer.close();
    });
    let error = client(&shutdown).send(Request::get(url)).unwrap_err();
    assert!(Error::from(error).is_cancelled());
    thread.join().unwrap();
}

#[test]
fn only_statuses_that_pass_are_tried_again_and_the_servers_wait_is_heard() {
    let url = serve(|lines, _, to| {
        let status = lines[0].split(' ').nth(1).unwrap().trim_matches('/').to_owned();
        to.write_all(plain(&format!("{status} X"), "retry-after: 7\r\n", "").as_bytes()).unwrap();
    });
    let http = client(&Shutdown::new());
    for (status, again) in [(429, true), (503, true), (500, true), (403, false), (404, false), (422, false), (200, false)] {
        let head = http.send(Request::get(format!("{url}/{status}"))).unwrap().head;
        let expected = if again { Again::After(Duration::from_secs(7)) } else { Again::Never };
        assert_eq!((head.status, head.again()), (status, expected));
    }
}

#[test]
fn locations_are_resolved_as_browsers_do_and_never_down_to_plain_http() {
    let base = "https://r.example/v2/a/blobs/uploads/?x=1";
    let cases = [
        ("/v2/up?y=2", Some("https://r.example/v2/up?y=2")),
        ("up", Some("https://r.example/v2/a/blobs/uploads/up")),
        ("?last=a", Some("https://r.example/v2/a/blobs/uploads/?last=a")),
        ("/login?next=https://r.example/v2/", Some("https://r.example/login?next=https://r.example/v2/")),
        ("//s.example/b", Some("https://s.example/b")),
        ("https://s.example/b?sig=1", Some("https://s.example/b?sig=1")),
        ("http://s.example/b", None),
        ("file:///etc/passwd", None),
    ];
    for (location, expected) in cases {
        assert_eq!(resolve(base, location).ok().as_deref(), expected, "{location}");
    }
}

#[test]
fn all_but_unreserved_characters_are_percent_encoded_and_come_back() {
    for (plain, encoded) in
        [("refs/heads/ä&b=1", "refs%2Fheads%2F%C3%A4%26b%3D1"), ("a-b.c_d~9", "a-b.c_d~9"), ("%2F +", "%252F%20%2B")]
    {
        assert_eq!(percent_encode(plain), encoded);
        assert_eq!(percent_decode(encoded), plain);
    }
    assert_eq!(percent_decode("%zz%4"), "%zz%4");
}
