//! `trimkv-trace open` itself.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Stdio};

use crate::run::Folder;

/// A program that serves, and what it printed first.
fn serve(folder: &Folder, args: &[&str]) -> (Child, String) {
    let mut child = folder.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    (child, line.trim().to_owned())
}

fn get(url: &str) -> String {
    let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    write!(stream, "GET /{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn interrupt(child: &Child) {
    let id = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &id]).status().unwrap().success());
}

#[cfg(unix)]
#[test]
fn it_prints_its_address_takes_the_next_port_and_ends_on_ctrl_c() {
    let folder = Folder::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let (mut child, url) = serve(&folder, &["open", "--no-browser", "--port", &port.to_string()]);
    assert!(url.starts_with("http://127.0.0.1:") && !url.contains(&format!(":{port}/")), "{url}");
    assert!(get(&url).contains("codes"));
    interrupt(&child);
    assert!(child.wait().unwrap().success());
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(said.contains(&format!("port {port} is taken")), "{said}");
}

#[test]
fn what_cannot_be_opened_is_refused() {
    let folder = Folder::new();
    folder.write("file.txt", "text");
    for (args, words) in [
        (vec!["open", "nowhere"], "does not exist"),
        (vec!["open", "file.txt"], "is a file"),
        (vec!["open", "--token", "a b"], "--token"),
    ] {
        let said = folder.run(&args);
        assert_eq!(said.code, Some(1), "{said:#?}");
        assert!(said.stderr.contains(words) && said.stderr.lines().count() == 1, "{said:#?}");
    }
}

#[cfg(unix)]
#[test]
fn other_addresses_are_served_with_a_token_only() {
    let folder = Folder::new();
    let (mut child, url) = serve(&folder, &["open", "--no-browser", "--host", "0.0.0.0", "--port", "0"]);
    let (bare, token) = url.split_once("?token=").unwrap();
    assert!(token.len() >= 32);
    // Nobody can go to all interfaces at once.
    let (host, port) = bare.strip_prefix("http://").unwrap().trim_end_matches('/').rsplit_once(':').unwrap();
    let own = host.parse::<std::net::Ipv4Addr>();
    assert!(host == "<this machine's address>" || own.is_ok_and(|own| !own.is_unspecified() && !own.is_loopback()));
    let bare = format!("http://127.0.0.1:{port}/");
    let url = format!("{bare}?token={token}");
    assert!(get(&bare).starts_with("HTTP/1.1 403"));
    assert!(get(&url).starts_with("HTTP/1.1 200"));
    interrupt(&child);
    assert!(child.wait().unwrap().success());
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(said.contains(&url), "{said}");
}

#[cfg(unix)]
#[test]
fn a_run_is_watched_and_its_page_stays() {
    let folder = Folder::with_prompt("the code of the tower");
    let args = ["prompt.txt", "--open", "--no-browser", "--port", "0", "--max-new-tokens", "5", "-o", "run"];
    let mut child = folder.command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let (mut url, mut line) = (String::new(), String::new());
    while !line.contains("the dashboard stays") {
        line.clear();
        assert!(said.read_line(&mut line).unwrap() > 0);
        if let Some((_, at)) = line.split_once("watch it at ") {
            at.trim().clone_into(&mut url);
        }
    }
    assert!(url.ends_with("/t/run"), "{url}");
    assert!(get(&url).contains("data-key=\"run\""));
    interrupt(&child);
    assert!(child.wait().unwrap().success());
    assert!(folder.path("run/manifest.json").exists());
}
