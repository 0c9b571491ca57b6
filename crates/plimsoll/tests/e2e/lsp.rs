//! `lsp`, driven as an editor does: messages over standard input and output.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use plimsoll_testkit::Sandbox;
use serde_json::{Value, json};

use crate::sandbox;

struct Editor {
    server: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    asked: u64,
    root: String,
}

impl Editor {
    fn start(sandbox: &Sandbox) -> Self {
        let mut command = sandbox.command(["lsp", "--stdio"]);
        let mut server = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let mut editor = Self {
            to: server.stdin.take().expect("piped"),
            from: BufReader::new(server.stdout.take().expect("piped")),
            server,
            asked: 0,
            root: format!("file://{}", sandbox.path(""))
                .trim_end_matches('/')
                .to_owned(),
        };
        let hello = editor.ask(
            "initialize",
            json!({ "capabilities": {}, "rootUri": editor.root, "processId": null }),
        );
        assert_eq!(hello["capabilities"]["positionEncoding"], "utf-16");
        editor.tell("initialized", json!({}));
        editor
    }

    fn send(&mut self, message: &Value) {
        let text = message.to_string();
        write!(self.to, "Content-Length: {}\r\n\r\n{text}", text.len()).expect("the server reads");
        self.to.flush().expect("the server reads");
    }

    fn tell(&mut self, method: &str, params: Value) {
        self.send(&json!({ "jsonrpc": "2.0", "method": method, "params": params }));
    }

    fn ask(&mut self, method: &str, params: Value) -> Value {
        self.asked += 1;
        let id = self.asked;
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        loop {
            let mut message = self.read();
            if message["id"] == id {
                assert_eq!(message["error"], Value::Null, "{method}");
                return message["result"].take();
            }
        }
    }

    fn read(&mut self) -> Value {
        let mut length = 0;
        loop {
            let mut line = String::new();
            self.from.read_line(&mut line).expect("the server writes");
            match line.trim_end().split_once(": ") {
                Some(("Content-Length", value)) => length = value.parse().expect("a number"),
                Some(_) => {}
                None => break,
            }
        }
        let mut text = vec![0; length];
        self.from.read_exact(&mut text).expect("the server writes");
        serde_json::from_slice(&text).expect("JSON")
    }

    fn uri(&self, name: &str) -> String {
        format!("{}/{name}", self.root)
    }

    /// What the server says next about a file.
    fn findings(&mut self, name: &str) -> Vec<Value> {
        let uri = self.uri(name);
        loop {
            let message = self.read();
            assert_ne!(
                message["params"]["uri"],
                self.uri("ci.yaml"),
                "not a file of ours"
            );
            if message["method"] == "textDocument/publishDiagnostics" && message["params"]["uri"] == uri {
                return message["params"]["diagnostics"]
                    .as_array()
                    .expect("a list")
                    .clone();
            }
        }
    }

    fn open(&mut self, name: &str, language: &str, text: &str) -> Vec<Value> {
        let document = json!({ "uri": self.uri(name), "languageId": language, "version": 1, "text": text });
        self.tell("textDocument/didOpen", json!({ "textDocument": document }));
        self.findings(name)
    }

    fn at(&self, name: &str, line: u32, character: u32) -> Value {
        json!({
            "textDocument": { "uri": self.uri(name) },
            "position": { "line": line, "character": character },
        })
    }

    fn leave(mut self) {
        self.ask("shutdown", Value::Null);
        self.tell("exit", Value::Null);
        assert!(self.server.wait().expect("it ends").success());
    }
}

fn codes(findings: &[Value]) -> Vec<&str> {
    findings
        .iter()
        .map(|finding| finding["code"].as_str().expect("a rule"))
        .collect()
}

const TEXT: &str = "FROM alpine:3.22 AS base\nENV A=\"日本𝄞\" B=1\nMAINTAINER me\nUSER 1000\n";

#[test]
fn findings_follow_the_text() {
    let sandbox = sandbox();
    let mut editor = Editor::start(&sandbox);
    let found = editor.open("Dockerfile", "dockerfile", TEXT);
    assert_eq!(codes(&found), ["maintainer-deprecated"]);
    assert_eq!(found[0]["range"]["start"], json!({ "line": 2, "character": 0 }));
    assert_eq!(found[0]["range"]["end"], json!({ "line": 2, "character": 13 }));
    assert_eq!(found[0]["severity"], 2);
    assert_eq!(found[0]["source"], "plimsoll");
    let good = TEXT.replace("MAINTAINER me\n", "");
    let change = json!({
        "textDocument": { "uri": editor.uri("Dockerfile"), "version": 2 },
        "contentChanges": [{ "text": good }],
    });
    editor.tell("textDocument/didChange", change);
    assert_eq!(editor.findings("Dockerfile"), Vec::<Value>::new());
    let compose = editor.open(
        "compose.yaml",
        "yaml",
        "services:\n  web:\n    image: nginx:1\n    privileged: true\n",
    );
    assert!(codes(&compose).contains(&"compose-privileged"));
    let workflow =
        json!({ "uri": editor.uri("ci.yaml"), "languageId": "yaml", "version": 1, "text": "on: push\n" });
    editor.tell("textDocument/didOpen", json!({ "textDocument": workflow }));
    let close = json!({ "textDocument": { "uri": editor.uri("compose.yaml") } });
    editor.tell("textDocument/didClose", close);
    assert_eq!(editor.findings("compose.yaml"), Vec::<Value>::new());
    editor.leave();
}

#[test]
fn fixes_are_offered() {
    let sandbox = sandbox();
    let mut editor = Editor::start(&sandbox);
    editor.open("Dockerfile", "dockerfile", TEXT);
    let range = json!({ "start": { "line": 2, "character": 1 }, "end": { "line": 2, "character": 1 } });
    let uri = editor.uri("Dockerfile");
    let params = |only: Value| json!({ "textDocument": { "uri": uri }, "range": range, "context": { "diagnostics": [], "only": only } });
    let actions = editor.ask("textDocument/codeAction", params(json!(["quickfix"])));
    assert_eq!(actions[0]["isPreferred"], true);
    assert_eq!(
        actions[0]["edit"]["changes"][&uri][0]["newText"],
        "LABEL org.opencontainers.image.authors=\"me\""
    );
    let titles: Vec<_> = actions
        .as_array()
        .unwrap()
        .iter()
        .map(|action| action["title"].clone())
        .collect();
    assert!(
        titles.contains(&json!("Ignore maintainer-deprecated here")),
        "{titles:?}"
    );
    let all = editor.ask("textDocument/codeAction", params(json!(["source.fixAll"])));
    let new = all[0]["edit"]["changes"][&uri][0]["newText"]
        .as_str()
        .expect("a text");
    assert_eq!(
        new,
        TEXT.replace("MAINTAINER me", "LABEL org.opencontainers.image.authors=\"me\"")
    );
    editor.leave();
}

#[test]
fn the_pointer_and_the_keyboard_are_helped() {
    let sandbox = sandbox();
    let mut editor = Editor::start(&sandbox);
    editor.open(
        "Dockerfile",
        "dockerfile",
        &format!("{TEXT}FROM alpine:3.22\nCOPY --from=\n"),
    );
    let at = editor.at("Dockerfile", 2, 12);
    let page = editor.ask("textDocument/hover", at);
    let text = page["contents"]["value"].as_str().expect("a page");
    assert!(text.starts_with("# maintainer-deprecated\n"), "{text}");
    let at = editor.at("Dockerfile", 3, 2);
    let help = editor.ask("textDocument/hover", at);
    assert!(
        help["contents"]["value"]
            .as_str()
            .expect("help")
            .contains("USER USER[:GROUP]")
    );
    let at = editor.at("Dockerfile", 5, 12);
    let stages = editor.ask("textDocument/completion", at);
    assert_eq!(stages[0]["label"], "base", "{stages}");
    let at = editor.at("Dockerfile", 6, 0);
    let keywords = editor.ask("textDocument/completion", at);
    assert!(
        keywords
            .as_array()
            .unwrap()
            .iter()
            .any(|item| item["label"] == "HEALTHCHECK")
    );
    editor.leave();
}
