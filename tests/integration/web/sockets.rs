//! Many clients, slow ones, and ones that go away.

use std::io::Read;
use std::time::{Duration, Instant};

use super::Listening;

#[test]
fn two_hundred_requests_at_once_are_all_answered() {
    let server = Listening::new();
    let expected = server.answer("GET", "/api/traces/long/lifetimes?layer=1", "").1;
    std::thread::scope(|scope| {
        for number in 0..200 {
            let (server, expected) = (&server, &expected);
            scope.spawn(move || match number % 4 {
                0 => assert_eq!(server.answer("GET", "/api/traces/long/lifetimes?layer=1", "").1, *expected),
                1 => assert_eq!(server.answer("GET", "/api/traces/codes/tokens", "").0, 200),
                2 => assert_eq!(server.answer("GET", "/", "").0, 200),
                _ => assert_eq!(server.answer("GET", "/api/traces/nope", "").0, 404),
            });
        }
    });
    server.end();
}

#[test]
fn a_slow_reader_keeps_nobody_waiting_and_gets_everything() {
    let server = Listening::new();
    let expected = server.answer("GET", "/api/traces/long/download.zip", "").1;
    let mut slow: Vec<_> = (0..20).map(|_| server.ask("GET", "/api/traces/long/download.zip", "")).collect();
    let start = Instant::now();
    assert_eq!(server.answer("GET", "/api/traces/codes/tokens", "").0, 200);
    assert!(start.elapsed() < Duration::from_secs(20));
    let mut answer = Vec::new();
    let mut piece = [0; 1 << 16];
    loop {
        match slow[7].read(&mut piece).unwrap() {
            0 => break,
            count => answer.extend_from_slice(&piece[..count]),
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(answer.split_off(answer.len() - expected.len()).len(), expected.len());
    drop(slow);
    server.end();
}

#[test]
fn a_cancelled_download_is_over() {
    let server = Listening::new();
    for _ in 0..40 {
        let mut stream = server.ask("GET", "/api/traces/long/download.zip", "");
        let mut start = [0; 512];
        assert!(stream.read(&mut start).unwrap() > 0);
        drop(stream);
    }
    assert_eq!(server.answer("GET", "/api/traces/codes/steps", "").0, 200);
    // A download that still held on would keep the runtime from ending.
    assert!(server.end() < Duration::from_secs(10));
}

#[test]
fn the_server_ends_although_someone_is_connected() {
    let server = Listening::new();
    let (idle, following) = (server.connect(), server.ask("GET", "/api/traces/codes/events?after=0", ""));
    assert_eq!(server.answer("GET", "/", "").0, 200);
    let address = server.address;
    assert!(server.end() < Duration::from_secs(10));
    assert!(std::net::TcpStream::connect(address).is_err());
    drop((idle, following));
}
