//! Strangers are refused.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use trimkv_trace::web::guard::Guard;
use trimkv_trace::web::router::router;

use super::{ADDRESS, Listening, Site};

fn status(site: &Site, method: &str, path: &str, headers: &[(&str, &str)]) -> StatusCode {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    site.send(request.body(Body::from("{}")).unwrap()).status
}

#[test]
fn foreign_hosts_and_origins_get_nothing() {
    let site = Site::new();
    let own = ("host", ADDRESS);
    for headers in [
        vec![("host", "evil.example")],
        vec![("host", "127.0.0.1")],
        vec![("host", "127.0.0.1:7878.evil.example")],
        vec![("host", "localhost:9999")],
        vec![],
        vec![own, ("origin", "http://evil.example")],
        vec![own, ("origin", "null")],
        vec![own, ("origin", "http://127.0.0.1:8888")],
        vec![own, ("origin", "https://127.0.0.1:7878")],
    ] {
        for path in ["/", "/api/traces", "/t/codes", "/static/app.js", "/nothing"] {
            assert_eq!(status(&site, "GET", path, &headers), StatusCode::FORBIDDEN, "{path} {headers:?}");
        }
    }
    assert_eq!(status(&site, "GET", "/", &[("host", "localhost:7878")]), StatusCode::OK);
    assert_eq!(status(&site, "GET", "/", &[own, ("origin", "http://127.0.0.1:7878")]), StatusCode::OK);
}

#[test]
fn changes_need_a_header_that_a_foreign_page_cannot_send() {
    let site = Site::new();
    for (method, path) in [
        ("POST", "/api/open"),
        ("POST", "/api/dropped"),
        ("POST", "/api/runs"),
        ("POST", "/api/runs/x/stop"),
        ("POST", "/api/traces/codes/restore"),
        ("DELETE", "/api/traces/codes"),
        ("PUT", "/"),
    ] {
        let json = ("content-type", "application/json");
        assert_eq!(status(&site, method, path, &[("host", ADDRESS), json]), StatusCode::FORBIDDEN, "{path}");
        let wrong = ("x-trimkv-trace", "yes");
        assert_eq!(status(&site, method, path, &[("host", ADDRESS), json, wrong]), StatusCode::FORBIDDEN, "{path}");
    }
}

#[test]
fn keys_are_never_paths() {
    let site = Site::new();
    let outside = site.root.path().parent().unwrap().join("trimkv-trace-outside");
    for key in
        ["..", ".", "%2e%2e", "..%2f..%2fetc%2fpasswd", "%2Fetc%2Fpasswd", "codes%2f..%2fsums", "codes%00", "%ff"]
    {
        for path in [format!("/api/traces/{key}"), format!("/api/traces/{key}/download.zip"), format!("/t/{key}")] {
            assert_eq!(site.get(&path).status, StatusCode::NOT_FOUND, "{path}");
        }
        let gone = site.change("DELETE", &format!("/api/traces/{key}"), None);
        assert_eq!(gone.status, StatusCode::NOT_FOUND, "{key}");
    }
    assert!(!outside.exists());
}

#[test]
fn a_page_may_load_nothing_from_elsewhere() {
    let site = Site::new();
    for path in ["/", "/t/codes", "/t/nope", "/nothing"] {
        let answer = site.get(path);
        let policy = answer.headers["content-security-policy"].to_str().unwrap().to_owned();
        assert!(policy.contains("default-src 'self'") && policy.contains("frame-ancestors 'none'"), "{path}");
        let html = answer.text();
        assert!(!html.contains("http://") && !html.contains("https://"), "{path}: {html}");
        assert!(!html.contains("<script>") && html.contains("<html lang=\"en\">"), "{path}");
    }
}

#[test]
fn with_a_token_every_request_must_know_it() {
    let site = Site::new();
    let ask = |host: &str, path: &str, cookie: Option<&str>| {
        let mut request = Request::get(path).header("host", host);
        if let Some(cookie) = cookie {
            request = request.header("cookie", cookie);
        }
        let guard = Guard::new("0.0.0.0:7878".parse().unwrap(), Some("secret-secret".to_owned()));
        let request = request.body(Body::empty()).unwrap();
        site.runtime.block_on(tower::ServiceExt::oneshot(router(site.shared.clone(), guard), request)).unwrap()
    };
    assert_eq!(ask("10.0.0.7:7878", "/", None).status(), StatusCode::FORBIDDEN);
    assert_eq!(ask("10.0.0.7:7878", "/api/traces?token=secret-secreT", None).status(), StatusCode::FORBIDDEN);
    let let_in = ask("10.0.0.7:7878", "/?token=secret-secret", None);
    assert_eq!(let_in.status(), StatusCode::OK);
    let cookie = let_in.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"));
    let cookie = cookie.split(';').next().unwrap().to_owned();
    assert_eq!(ask("10.0.0.7:7878", "/api/traces", Some(&cookie)).status(), StatusCode::OK);
    assert_eq!(ask("10.0.0.7:7878", "/api/traces", Some(&format!("{cookie}x"))).status(), StatusCode::FORBIDDEN);
}

#[test]
fn a_person_without_the_token_sees_a_page_and_a_program_json() {
    let site = Site::new();
    let ask = |path: &str, accept: &str| {
        let guard = Guard::new("0.0.0.0:7878".parse().unwrap(), Some("secret-secret".to_owned()));
        let request = Request::get(path).header("host", "10.0.0.7:7878").header("accept", accept);
        let request = request.body(Body::empty()).unwrap();
        let answer = tower::ServiceExt::oneshot(router(site.shared.clone(), guard), request);
        let answer = site.runtime.block_on(answer).unwrap();
        assert_eq!(answer.status(), StatusCode::FORBIDDEN);
        assert!(answer.headers().contains_key("content-security-policy"));
        let kind = answer.headers()["content-type"].to_str().unwrap().to_owned();
        let body = site.runtime.block_on(axum::body::to_bytes(answer.into_body(), usize::MAX)).unwrap();
        (kind, String::from_utf8(body.to_vec()).unwrap())
    };
    for path in ["/", "/t/codes"] {
        let (kind, page) = ask(path, "text/html,application/xhtml+xml,*/*;q=0.8");
        assert!(kind.starts_with("text/html") && page.contains("data-page=\"error\""), "{page}");
        assert!(page.contains("token"), "{page}");
    }
    for accept in ["*/*", "application/json"] {
        let (kind, said) = ask("/api/traces", accept);
        assert!(kind.starts_with("application/json") && said.contains("token"), "{said}");
    }
}

#[test]
fn strangers_are_refused_at_the_socket_too() {
    use std::io::{Read, Write};
    let server = Listening::new();
    for head in ["host: evil.example", "x: y", "host: HOST\r\norigin: http://evil.example"] {
        let mut stream = server.connect();
        let head = head.replace("HOST", &server.address.to_string());
        write!(stream, "GET /api/traces HTTP/1.1\r\n{head}\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 403") || answer.starts_with("HTTP/1.1 400"), "{head}: {answer}");
    }
    assert_eq!(server.answer("GET", "/api/traces", "").0, 200);
    server.end();
}
