//! The stream of states and events.

use super::*;

/// A reader of the stream, and what it was told so far.
struct Reader {
    socket: TcpStream,
    text: String,
}

impl Reader {
    async fn of(server: &Server, headers: &str) -> Self {
        let mut socket = TcpStream::connect(server.address).await.unwrap();
        let request = format!("GET /api/v1/stream HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let text = String::new();
        Self { socket, text }
    }

    /// Reads until `enough` says so.
    async fn until(&mut self, enough: impl Fn(&str) -> bool) {
        let mut buffer = [0; 65_536];
        let reading = async {
            while !enough(&self.text) {
                let n = self.socket.read(&mut buffer).await.unwrap();
                assert!(n > 0, "the stream ended: {}", self.text);
                self.text.push_str(&String::from_utf8_lossy(&buffer[..n]));
            }
        };
        tokio::time::timeout(Duration::from_secs(5), reading)
            .await
            .unwrap();
    }
}

async fn read_stream(server: &Server, headers: &str, enough: impl Fn(&str) -> bool) -> String {
    let mut reader = Reader::of(server, headers).await;
    reader.until(enough).await;
    reader.text
}

#[tokio::test]
async fn one_reader_too_many_is_told_so_and_the_others_go_on() {
    // The number that the page on securing a bench names.
    let documented = include_str!("../../../../../docs/secure-a-bench.md");
    assert!(documented.contains(&format!("| {STREAMS_MAX} streams; ")));
    let server = server(None, 4).await;
    let tell = |n| {
        let event = dispatched(n);
        server
            .view
            .event(UtcTime::default(), model::Instant::START, &event);
    };
    let mut readers = Vec::new();
    for _ in 0..STREAMS_MAX {
        let mut reader = Reader::of(&server, "").await;
        reader.until(|told| told.contains("event: state")).await;
        readers.push(reader);
    }
    let one_more = ask(&server, "GET", "/api/v1/stream", "", "");
    let (status, body) = tokio::time::timeout(Duration::from_secs(5), one_more)
        .await
        .expect("an answer, not a stream");
    assert_eq!((status, &*code_of(&body)), (503, "too_many_streams"));
    // It can do what it is told, and nobody has lost a place to it.
    assert_eq!(ask(&server, "GET", "/api/v1/state", "", "").await.0, 200);
    tell(1);
    for reader in &mut readers {
        reader.until(|told| told.contains("id: 1\n")).await;
    }
    // Whoever goes leaves a place. The server learns so when it has something to say.
    drop(readers.pop());
    let trying = async {
        for n in 2.. {
            tell(n);
            let mut next = Reader::of(&server, "").await;
            next.until(|told| told.contains("\r\n\r\n")).await;
            if next.text.starts_with("HTTP/1.1 200") {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(5), trying)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_stream_that_was_cut_goes_on_after_the_last_event() {
    let server = server(None, 4).await;
    for n in 1..=5 {
        server
            .view
            .event(UtcTime::default(), model::Instant::START, &dispatched(n));
    }
    let text = read_stream(&server, "Last-Event-ID: 3\r\n", |t| {
        t.contains("id: 5") && t.contains("event: state")
    })
    .await;
    assert!(!text.contains("id: 3") && text.contains("id: 4"), "{text}");
    // A number from a former run, and a new reader: only what happens from now on, but all of that.
    for headers in ["Last-Event-ID: 900\r\n", ""] {
        let view = Arc::clone(&server.view);
        let latest = *view.news().borrow();
        let telling = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_millis(20));
            loop {
                ticks.tick().await;
                view.event(UtcTime::default(), model::Instant::START, &dispatched(9));
            }
        });
        let text = read_stream(&server, headers, |t| t.contains("id: ")).await;
        telling.abort();
        assert!(!text.contains(&format!("id: {latest}\n")), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_tells_the_state_as_often_as_it_was_asked_to() {
    use futures_util::StreamExt;
    for (query, expected) in [("", 2), ("hz=1", 1), ("hz=10", 10)] {
        let view = Arc::new(bench_view());
        cycle_of(&view, 1);
        let rate = rate(query).unwrap();
        let mut frames = Box::pin(frames(view, Latest::default(), rate, None));
        // The first comes at once.
        let _ = frames.next().await;
        let began = tokio::time::Instant::now();
        for _ in 0..expected {
            let _ = frames.next().await;
        }
        assert_eq!(began.elapsed(), Duration::from_secs(1), "{query}");
    }
}

#[test]
fn streams_share_the_text_of_a_cycle_and_none_has_that_of_the_one_before() {
    let (view, latest) = (bench_view(), Latest::default());
    let before = state_text(&view, &latest);
    assert!(before.contains("\"cycle\":null"), "{before}");
    cycle_of(&view, 1);
    let first = state_text(&view, &latest);
    assert!(Arc::ptr_eq(&first, &state_text(&view, &latest)));
    assert!(first.contains("\"n\":1,"), "{first}");
    cycle_of(&view, 2);
    assert!(state_text(&view, &latest).contains("\"n\":2,"));
}
