//! The conversation: documents in, findings out, questions answered.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use lsp_server::{Connection, Message, Notification, Request, Response};
use lsp_types::notification::{self as note, Notification as _};
use lsp_types::request::{self as ask, Request as _};
use lsp_types::{
    CodeActionKind, CodeActionOptions, CodeActionProviderCapability, CompletionOptions,
    DiagnosticRelatedInformation, DiagnosticSeverity, HoverProviderCapability, InitializeParams, Location,
    NumberOrString, PublishDiagnosticsParams, ServerCapabilities, TextDocumentSyncCapability,
    TextDocumentSyncKind, Uri,
};
use plimsoll_check::fix::Images;
use plimsoll_check::load::{Inputs, Loaded, is_known, load};
use plimsoll_check::view::DockerfileView;
use plimsoll_check::{Config, check};
use plimsoll_diagnostics::{Diagnostic, Severity, Source};
use serde_json::{Value, json};

use super::places::{self, Encoding};
use super::{actions, complete, hover};
use crate::command_error::CommandError;
use crate::commands::check::images;
use crate::commands::container_options::current_directory;
use crate::context::Context;

/// All fixes that keep the file's meaning, at once: what editors do on save.
pub(super) const FIX_ALL: &str = "source.fixAll.plimsoll";

/// What this server can do.
pub(super) fn capabilities(encoding: Encoding) -> Value {
    let capabilities = ServerCapabilities {
        position_encoding: Some(encoding.kind()),
        text_document_sync: Some(TextDocumentSyncCapability::Kind(TextDocumentSyncKind::FULL)),
        hover_provider: Some(HoverProviderCapability::Simple(true)),
        completion_provider: Some(CompletionOptions {
            trigger_characters: Some([" ", "-", "="].map(str::to_owned).into()),
            ..CompletionOptions::default()
        }),
        code_action_provider: Some(CodeActionProviderCapability::Options(CodeActionOptions {
            code_action_kinds: Some(vec![CodeActionKind::QUICKFIX, CodeActionKind::new(FIX_ALL)]),
            ..CodeActionOptions::default()
        })),
        ..ServerCapabilities::default()
    };
    json!({
        "capabilities": capabilities,
        "serverInfo": { "name": "plimsoll", "version": env!("CARGO_PKG_VERSION") },
    })
}

/// The folder that the editor has open.
pub(super) fn root(hello: &InitializeParams) -> Option<Utf8PathBuf> {
    let folders = hello.workspace_folders.iter().flatten();
    #[expect(deprecated, reason = "older editors send nothing else")]
    let uri = folders
        .map(|folder| &folder.uri)
        .next()
        .or(hello.root_uri.as_ref())?;
    Some(places::path(uri, Utf8Path::new("/"))).filter(|path| path.is_dir())
}

/// A document that is open in the editor.
pub(super) struct Document {
    pub(super) uri: Uri,
    pub(super) source: Source,
    /// Whether it is a file of ours at all: editors send every YAML file.
    ours: bool,
    /// What was last found in it.
    pub(super) findings: Vec<Diagnostic>,
    changed: bool,
}

pub(super) struct Server<'a> {
    connection: &'a Connection,
    context: &'a Context,
    pub(super) encoding: Encoding,
    config: Config,
    current: Utf8PathBuf,
    documents: BTreeMap<Utf8PathBuf, Document>,
}

type Answer = Result<Value, serde_json::Error>;

impl<'a> Server<'a> {
    pub(super) fn new(
        connection: &'a Connection,
        context: &'a Context,
        encoding: Encoding,
        config: Config,
    ) -> Result<Self, CommandError> {
        Ok(Self {
            connection,
            context,
            encoding,
            config,
            current: current_directory()?,
            documents: BTreeMap::new(),
        })
    }

    /// Serves until the editor says goodbye, or is gone. Typing is faster than checking: what has come in the meantime
    /// is taken in first.
    pub(super) fn serve(mut self) -> Result<(), CommandError> {
        while let Ok(message) = self.connection.receiver.recv() {
            let mut next = Some(message);
            while let Some(message) = next {
                if !self.take(message)? {
                    return Ok(());
                }
                next = self.connection.receiver.try_recv().ok();
            }
            self.publish()?;
        }
        Ok(())
    }

    /// False is the end.
    fn take(&mut self, message: Message) -> Result<bool, CommandError> {
        match message {
            Message::Request(request) => {
                let ended = self
                    .connection
                    .handle_shutdown(&request)
                    .map_err(|error| CommandError::internal("the editor did not say goodbye", error))?;
                if ended {
                    return Ok(false);
                }
                // A question is about the text as it is now.
                self.publish()?;
                let response = self.answer(request);
                self.send(Message::Response(response))?;
            }
            Message::Notification(notification) if notification.method == note::Exit::METHOD => {
                return Ok(false);
            }
            Message::Notification(notification) => self.note(notification)?,
            Message::Response(_) => {}
        }
        Ok(true)
    }

    fn send(&self, message: Message) -> Result<(), CommandError> {
        self.connection
            .sender
            .send(message)
            .map_err(|error| CommandError::internal("the editor went away", error))
    }

    fn note(&mut self, notification: Notification) -> Result<(), CommandError> {
        let params = notification.params;
        match notification.method.as_str() {
            note::DidOpenTextDocument::METHOD => {
                if let Ok(opened) = serde_json::from_value::<lsp_types::DidOpenTextDocumentParams>(params) {
                    let document = opened.text_document;
                    let path = places::path(&document.uri, &self.current);
                    let ours = document.language_id.contains("docker") || is_known(&path);
                    self.put(document.uri, document.text, ours);
                }
            }
            note::DidChangeTextDocument::METHOD => {
                let changed = serde_json::from_value::<lsp_types::DidChangeTextDocumentParams>(params);
                if let Ok(mut changed) = changed
                    && let Some(change) = changed.content_changes.pop()
                {
                    let ours = self
                        .document(&changed.text_document.uri)
                        .is_some_and(|document| document.ours);
                    self.put(changed.text_document.uri, change.text, ours);
                }
            }
            note::DidSaveTextDocument::METHOD => {
                // Another file may be judged by this one.
                self.documents
                    .values_mut()
                    .for_each(|document| document.changed = document.ours);
            }
            note::DidCloseTextDocument::METHOD => {
                if let Ok(closed) = serde_json::from_value::<lsp_types::DidCloseTextDocumentParams>(params) {
                    let uri = closed.text_document.uri;
                    self.documents.remove(&places::path(&uri, &self.current));
                    self.tell(uri, Vec::new())?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn put(&mut self, uri: Uri, text: String, ours: bool) {
        let path = places::path(&uri, &self.current);
        let shown = path.strip_prefix(&self.current).unwrap_or(&path);
        let source = Source::new(shown.as_str(), text);
        let document = Document {
            uri,
            source,
            ours,
            findings: Vec::new(),
            changed: ours,
        };
        self.documents.insert(path, document);
    }

    fn inputs(&self, path: &Utf8Path) -> Inputs {
        let texts = self.documents.iter();
        Inputs {
            paths: vec![path.to_string()],
            texts: texts
                .map(|(path, document)| (path.clone(), document.source.text.to_string()))
                .collect(),
            environment: crate::env::all().collect(),
            current: self.current.clone(),
            ..Inputs::default()
        }
    }

    /// Checks what has changed and says what was found.
    fn publish(&mut self) -> Result<(), CommandError> {
        let changed = self.documents.iter().filter(|(_, document)| document.changed);
        let changed: Vec<Utf8PathBuf> = changed.map(|(path, _)| path.clone()).collect();
        for path in changed {
            let mut loaded = load(&self.inputs(&path));
            loaded.workspace.known = self.images(&loaded).known;
            let mut findings = check(&loaded.workspace, &self.config).findings;
            let Some(document) = self.documents.get_mut(&path) else {
                continue;
            };
            findings.retain(|finding| finding.source.name == document.source.name);
            document.findings = findings;
            document.changed = false;
            let document = &self.documents[&path];
            let shown = document.findings.iter();
            let shown = shown
                .map(|finding| self.diagnostic(finding, &document.uri))
                .collect();
            self.tell(document.uri.clone(), shown)?;
        }
        Ok(())
    }

    /// What the store knows of base images.
    pub(super) fn images(&self, loaded: &Loaded) -> Images {
        images::find(loaded, self.context, false, &mut Vec::new())
    }

    fn tell(&self, uri: Uri, diagnostics: Vec<lsp_types::Diagnostic>) -> Result<(), CommandError> {
        let params = PublishDiagnosticsParams::new(uri, diagnostics, None);
        let notification = Notification::new(note::PublishDiagnostics::METHOD.to_owned(), params);
        self.send(Message::Notification(notification))
    }

    /// A finding as editors want it.
    pub(super) fn diagnostic(&self, finding: &Diagnostic, uri: &Uri) -> lsp_types::Diagnostic {
        let range = |span| self.encoding.range(&finding.source, span);
        let others = finding.labels.iter().skip(1);
        let related = others.map(|label| DiagnosticRelatedInformation {
            location: Location::new(uri.clone(), range(label.span)),
            message: label.message.clone(),
        });
        let related: Vec<_> = related.collect();
        let help = finding.help.iter().map(|help| format!("\n{help}"));
        lsp_types::Diagnostic {
            range: range(finding.span().unwrap_or_default()),
            severity: Some(match finding.severity {
                Severity::Error => DiagnosticSeverity::ERROR,
                Severity::Warning => DiagnosticSeverity::WARNING,
                Severity::Info => DiagnosticSeverity::INFORMATION,
                Severity::Style => DiagnosticSeverity::HINT,
            }),
            code: Some(NumberOrString::String(finding.code.to_owned())),
            source: Some("plimsoll".to_owned()),
            message: finding.message.clone() + &help.collect::<String>(),
            related_information: (!related.is_empty()).then_some(related),
            ..lsp_types::Diagnostic::default()
        }
    }

    fn answer(&self, request: Request) -> Response {
        let params = request.params;
        let answer: Answer = match request.method.as_str() {
            ask::HoverRequest::METHOD => self.hover(params),
            ask::Completion::METHOD => self.complete(params),
            ask::CodeActionRequest::METHOD => self.actions(params),
            method => {
                let code = lsp_server::ErrorCode::MethodNotFound as i32;
                return Response::new_err(request.id, code, format!("`{method}` is not known here"));
            }
        };
        match answer {
            Ok(value) => Response::new_ok(request.id, value),
            Err(error) => {
                let code = lsp_server::ErrorCode::InvalidParams as i32;
                Response::new_err(request.id, code, error.to_string())
            }
        }
    }

    pub(super) fn document(&self, uri: &Uri) -> Option<&Document> {
        self.documents.get(&places::path(uri, &self.current))
    }

    /// The document as a Dockerfile, if it is one.
    fn dockerfile(&self, uri: &Uri) -> Option<DockerfileView> {
        let path = places::path(uri, &self.current);
        let mut loaded = load(&self.inputs(&path)).workspace.dockerfiles;
        let at = loaded.iter().position(|view| view.path == path)?;
        Some(loaded.swap_remove(at))
    }

    fn hover(&self, params: Value) -> Answer {
        let params: lsp_types::HoverParams = serde_json::from_value(params)?;
        let place = params.text_document_position_params;
        let uri = &place.text_document.uri;
        let hover = self.document(uri).and_then(|document| {
            let offset = self.encoding.offset(&document.source, place.position);
            let view = self.dockerfile(uri);
            hover::at(document, view.as_ref(), offset, self.encoding)
        });
        serde_json::to_value(hover)
    }

    fn complete(&self, params: Value) -> Answer {
        let params: lsp_types::CompletionParams = serde_json::from_value(params)?;
        let place = params.text_document_position;
        let uri = &place.text_document.uri;
        let items = self.document(uri).and_then(|document| {
            let offset = self.encoding.offset(&document.source, place.position);
            let view = self.dockerfile(uri)?;
            Some(complete::at(&view, offset))
        });
        serde_json::to_value(items.unwrap_or_default())
    }

    fn actions(&self, params: Value) -> Answer {
        let params: lsp_types::CodeActionParams = serde_json::from_value(params)?;
        let document = self.document(&params.text_document.uri);
        let list = document.map(|document| actions::of(self, document, &params));
        serde_json::to_value(list.unwrap_or_default())
    }

    pub(super) fn uri_of(&self, name: &str) -> Option<Uri> {
        places::uri(&self.current.join(name))
    }

    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    pub(super) fn inputs_of(&self, uri: &Uri) -> Inputs {
        self.inputs(&places::path(uri, &self.current))
    }
}
