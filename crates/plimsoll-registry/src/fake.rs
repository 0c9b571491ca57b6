//! A registry for tests: a closure that answers requests, behind a real socket.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What came in.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) path: String,
    headers: Vec<(String, String)>,
    /// As much of it as was read.
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The offset asked for by `Range: bytes=N-`.
    pub(crate) fn offset(&self) -> Option<usize> {
        self.header("range")?
            .strip_prefix("bytes=")?
            .strip_suffix('-')?
            .parse()
            .ok()
    }
}

/// What goes out.
pub(crate) struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    /// The connection closes after this much of the body.
    cut: Option<usize>,
}

impl Reply {
    pub(crate) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.into(),
            cut: None,
        }
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn cut(mut self, after: usize) -> Self {
        self.cut = Some(after);
        self
    }

    fn send(self, mut stream: TcpStream) -> std::io::Result<()> {
        write!(
            stream,
            "HTTP/1.1 {} x\r\ncontent-length: {}\r\nconnection: close\r\n",
            self.status,
            self.body.len()
        )?;
        for (name, value) in &self.headers {
            write!(stream, "{name}: {value}\r\n")?;
        }
        write!(stream, "\r\n")?;
        stream.write_all(&self.body[..self.cut.unwrap_or(self.body.len())])
    }
}

/// A listening fake; its thread ends with the test process.
pub(crate) struct Fake {
    /// `127.0.0.1:port`.
    pub(crate) address: String,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Fake {
    /// Answers each request with what `answer` makes of it and of the number of requests before it.
    pub(crate) fn start(answer: impl Fn(&Request, usize) -> Reply + Send + 'static) -> Self {
        Self::start_cutting(|_| None, answer)
    }

    /// As [`Fake::start`], but of requests for which `cut` says so only the beginning of the body is read, and then the
    /// connection closes: `answer` is asked, and nothing is sent.
    pub(crate) fn start_cutting(
        cut: impl Fn(&Request) -> Option<usize> + Send + 'static,
        answer: impl Fn(&Request, usize) -> Reply + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = seen.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                let Some((request, whole)) = read(&stream, &cut) else {
                    continue;
                };
                let before = log.lock().unwrap().len();
                let reply = answer(&request, before);
                log.lock().unwrap().push(request);
                if !whole {
                    continue;
                }
                // A client that has gone away is part of some tests.
                let _ = reply.send(stream);
            }
        });
        Self { address, seen }
    }

    pub(crate) fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }
}

fn read(stream: &TcpStream, cut: &dyn Fn(&Request) -> Option<usize>) -> Option<(Request, bool)> {
    let mut reader = BufReader::new(stream);
    let mut line = || {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        Some(line.trim_end().to_owned())
    };
    let first = line()?;
    let mut words = first.split(' ').map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let mut request = Request {
        method,
        path,
        headers: Vec::new(),
        body: Vec::new(),
    };
    while let Some((name, value)) = line()?.split_once(": ") {
        request.headers.push((name.to_owned(), value.to_owned()));
    }
    let length: usize = request
        .header("content-length")
        .map_or(0, |text| text.parse().unwrap());
    let cut = cut(&request).filter(|cut| *cut < length);
    let mut body = vec![0; cut.unwrap_or(length)];
    reader.read_exact(&mut body).ok()?;
    request.body = body;
    Some((request, cut.is_none()))
}
