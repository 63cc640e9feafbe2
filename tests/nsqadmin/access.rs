//! Who may do what, and what is refused.

use super::{Admin, Answer, Stub, ask};

fn node() -> Stub {
    Stub::nsqd("t", |_| None)
}

fn start(stub: &Stub, flags: &[&str]) -> Admin {
    let mut all = vec![format!("--nsqd-http-address={}", stub.address)];
    all.extend(flags.iter().map(ToString::to_string));
    Admin::start(&all)
}

const PAUSE: &[u8] = br#"{"action":"pause"}"#;

#[test]
fn only_admins_act() {
    let stub = node();
    let admin = start(&stub, &["--admin-user=ann", "--acl-http-header=X-User"]);
    let status =
        |headers: &[(&str, &str)]| ask(admin.http, "POST", "/api/topics/t", headers, PAUSE).status;
    assert_eq!(status(&[]), 403);
    assert_eq!(status(&[("X-User", "bob")]), 403);
    assert_eq!(status(&[("X-Forwarded-User", "ann")]), 403);
    assert_eq!(status(&[("X-User", "ann"), ("X-User", "bob")]), 403, "a header before the proxy's");
    assert!(!stub.seen().iter().any(|request| request.starts_with("POST")));
    assert_eq!(status(&[("X-User", "ann")]), 200);
    assert!(stub.seen().iter().any(|request| request.starts_with("POST /topic/pause?topic=t")));
    // Before the body is looked at.
    for (method, target) in [
        ("POST", "/api/topics"),
        ("POST", "/api/topics/t/c"),
        ("DELETE", "/api/topics/t"),
        ("DELETE", "/api/topics/t/c"),
        ("DELETE", "/api/nodes/x:1"),
        ("POST", "/api/publish"),
        ("GET", "/api/peek?topic=t&channel=c"),
    ] {
        let reply = ask(admin.http, method, target, &[], b"junk");
        assert_eq!(reply.status, 403, "{method} {target}");
        assert_eq!(reply.json()["message"], "FORBIDDEN");
    }
    let page = |headers: &[(&str, &str)]| {
        ask(admin.http, "GET", "/", headers, b"").text().replace("&#34;", "\"")
    };
    assert!(page(&[]).contains(r#""IS_ADMIN":false"#));
    assert!(page(&[("X-User", "ann")]).contains(r#""IS_ADMIN":true"#));
}

#[test]
fn a_users_name_counts_from_trusted_networks_only() {
    let stub = node();
    let ann = [("X-Forwarded-User", "ann")];
    let admin = start(&stub, &["--admin-user=ann", "--acl-trusted-cidr=10.0.0.0/8"]);
    assert_eq!(ask(admin.http, "POST", "/api/topics/t", &ann, PAUSE).status, 403);
    let admin = start(&stub, &["--admin-user=ann", "--acl-trusted-cidr=127.0.0.0/8"]);
    assert_eq!(ask(admin.http, "POST", "/api/topics/t", &ann, PAUSE).status, 200);
}

#[test]
fn what_other_sites_make_a_browser_send_is_refused() {
    let stub = node();
    let admin = start(&stub, &[]);
    let own = admin.http.to_string();
    let own_origin = format!("http://{own}");
    for (headers, status) in [
        (vec![], 200),
        (vec![("Host", own.as_str()), ("Origin", own_origin.as_str())], 200),
        (vec![("Sec-Fetch-Site", "same-origin")], 200),
        (vec![("Origin", "http://evil.example")], 403),
        (vec![("Origin", "null")], 403),
        (vec![("Sec-Fetch-Site", "cross-site")], 403),
        (vec![("Sec-Fetch-Site", "same-site")], 403),
    ] {
        for (method, target) in
            [("POST", "/api/topics/t"), ("POST", "/api/publish"), ("PUT", "/config/log_level")]
        {
            let body: &[u8] = match target {
                "/api/publish" => br#"{"topic":"t","body":"x"}"#,
                "/config/log_level" => b"info",
                _ => PAUSE,
            };
            let reply = ask(admin.http, method, target, &headers, body);
            assert_eq!(reply.status, status, "{method} {target} {headers:?}");
        }
    }
    // Nobody else is let in by CORS.
    let reply = ask(admin.http, "OPTIONS", "/api/topics", &[("Origin", "http://evil")], b"");
    assert_eq!(reply.header("Access-Control-Allow-Origin"), None);
}

#[test]
fn options_are_for_their_network() {
    let stub = node();
    let admin = start(&stub, &["--allow-config-from-cidr=10.0.0.0/8"]);
    for (method, body) in [("GET", &b""[..]), ("PUT", b"debug")] {
        // What is said about the client does not count.
        let headers = [("X-Forwarded-For", "10.0.0.1"), ("X-Real-IP", "10.0.0.1")];
        let reply = ask(admin.http, method, "/config/log_level", &headers, body);
        assert_eq!((reply.status, reply.json()["message"].as_str()), (403, Some("FORBIDDEN")));
    }
    let admin = start(&stub, &["--allow-config-from-cidr="]);
    assert_eq!(admin.get("/config/log_level").text(), "2");
    let admin = start(&stub, &["--admin-user=ann"]);
    assert_eq!(admin.send("PUT", "/config/log_level", "debug").text(), "1", "not for admins only");
    assert!(admin.log_line("AUDIT: config \"log_level\" set").is_some());
    let body = r#"["127.0.0.1:4161/evil?"]"#;
    assert_eq!(admin.send("PUT", "/config/nsqlookupd_http_addresses", body).status, 400);
    let body = format!("\"{}\"", "x".repeat(1 << 20));
    assert_eq!(admin.send("PUT", "/config/log_level", &body).status, 413);
}

#[test]
fn foreign_host_names_are_refused_where_some_are_named() {
    let stub = node();
    let admin = start(&stub, &["--allowed-host=admin.example"]);
    let status = |host| ask(admin.http, "GET", "/api/topics", &[("Host", host)], b"").status;
    assert_eq!((status("admin.example:4171"), status("evil.example")), (200, 403));
}

#[test]
fn only_the_page_s_files_are_served() {
    let stub = node();
    let admin = start(&stub, &[]);
    let page = admin.get("/");
    assert_eq!(page.status, 200);
    let policy = page.header("Content-Security-Policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");
    assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
    for target in ["/topics", "/topics/a/b", "/nodes/x:1", "/counter", "/lookup", "/health"] {
        assert_eq!(admin.get(target).text(), page.text(), "{target}");
    }
    let script = admin.get("/static/main.js");
    assert_eq!(script.header("Content-Type"), Some("text/javascript; charset=utf-8"));
    let tag = script.header("ETag").unwrap();
    let again = ask(admin.http, "GET", "/static/main.js", &[("If-None-Match", tag)], b"");
    assert_eq!((again.status, again.body.len()), (304, 0));
    for target in [
        "/static/../Cargo.toml",
        "/static/..%2f..%2fetc%2fpasswd",
        "/static/%2e%2e",
        "/static//etc/passwd",
        "/fonts/..",
    ] {
        let status = admin.get(target).status;
        assert!(matches!(status, 301 | 404), "{target}: {status}");
    }
}

#[test]
fn a_folder_for_development_serves_its_files_only() {
    let stub = node();
    let folder = crate::harness::TempDir::new();
    let inner = folder.path().join("static");
    std::fs::create_dir(&inner).unwrap();
    std::fs::write(folder.path().join("secret"), "s").unwrap();
    std::fs::write(inner.join("main.js"), "mine").unwrap();
    let admin = start(&stub, &[&format!("--dev-static-dir={}", inner.display())]);
    assert_eq!(admin.get("/static/main.js").text(), "mine");
    for name in ["..%2fsecret", "%2e%2e%2fsecret", "..", "main.css"] {
        assert_ne!(admin.get(&format!("/static/{name}")).status, 200, "{name}");
    }
}

#[test]
fn pages_move_below_their_base_path() {
    let stub = node();
    let admin = start(&stub, &["--base-path=/nsq/x/"]);
    assert_eq!(admin.get("/nsq/x").status, 200);
    assert!(admin.get("/nsq/x").text().contains("src=\"/nsq/x/static/main.js\""));
    let moved = admin.get("/nsq/x/");
    assert_eq!((moved.status, moved.header("Location")), (301, Some("/nsq/x")));
    assert_eq!(admin.get("/").status, 404);
    assert_eq!((admin.get("/ping").status, admin.get("/nsq/x/ping").text()), (404, "OK"));
    assert_eq!(admin.get("/nsq/x/config/base_path").text(), "/nsq/x");
    assert_eq!(admin.get("/nsq/x/api/topics").status, 200);
}

#[test]
fn answers_are_packed_for_those_who_say_so_plainly() {
    let stub = node();
    let admin = start(&stub, &[]);
    let packed = |accepted| {
        let reply = ask(admin.http, "GET", "/api/topics", &[("Accept-Encoding", accepted)], b"");
        let header = |name: &str| reply.header(name).map(str::to_owned);
        (header("Content-Encoding"), header("Vary"))
    };
    let vary = Some("Accept-Encoding".to_owned());
    assert_eq!(packed("br, gzip"), (Some("gzip".to_owned()), vary.clone()));
    assert_eq!(packed("deflate, gzip"), (Some("deflate".to_owned()), vary));
    assert_eq!(packed("gzip;q=1.0"), (None, None));
}

#[test]
fn graphite_is_the_only_server_that_is_asked_for_pictures() {
    let graphite = Stub::start(|_, _| Answer::ok("picture"));
    let stub = node();
    let url = format!("--graphite-url=http://me:pw@{}", graphite.address);
    let admin = start(&stub, &[&url, "--proxy-graphite"]);
    let reply = ask(admin.http, "GET", "/render?target=http://evil/", &[("Cookie", "secret")], b"");
    assert_eq!((reply.status, reply.text()), (200, "picture"));
    assert!(reply.header("Content-Security-Policy").unwrap().contains("sandbox"));
    let seen = graphite.seen();
    assert!(seen[0].starts_with("GET /render?target=http://evil/\r\n"), "{}", seen[0]);
    assert!(seen[0].contains("Authorization: Basic bWU6cHc=") && !seen[0].contains("secret"));
    for target in ["http://evil.example/render", "/render/../etc", "//evil.example/render"] {
        let reply = ask(admin.http, "GET", target, &[], b"");
        assert!(graphite.seen().iter().all(|request| request.starts_with("GET /render")));
        assert_ne!(reply.text(), "etc", "{target}");
    }
    let admin = start(&stub, &[&format!("--graphite-url=http://{}", graphite.address)]);
    assert_eq!(admin.get("/render?target=x").status, 404, "not a proxy unless it is asked for");
}
