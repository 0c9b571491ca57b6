//! What an editor can do about findings: their fixes, all safe fixes at once, and a comment that hides one.

use std::collections::HashMap;

use lsp_types::{
    CodeAction, CodeActionKind, CodeActionOrCommand, CodeActionParams, CreateFile, CreateFileOptions,
    DocumentChangeOperation, DocumentChanges, OneOf, OptionalVersionedTextDocumentIdentifier, Range,
    ResourceOp, TextDocumentEdit, TextEdit, Uri, WorkspaceEdit,
};
use plimsoll_check::fix::mend;
use plimsoll_diagnostics::{Diagnostic, Fix, Safety, Source, Span};

use super::server::{Document, FIX_ALL, Server};

/// The actions for a range.
pub(super) fn of(
    server: &Server<'_>,
    document: &Document,
    params: &CodeActionParams,
) -> Vec<CodeActionOrCommand> {
    let wanted = |kind: &str| match &params.context.only {
        None => !kind.starts_with("source"),
        Some(only) => only.iter().any(|only| is_below(kind, only.as_str())),
    };
    let source = &document.source;
    let span = Span::new(
        server.encoding.offset(source, params.range.start),
        server.encoding.offset(source, params.range.end),
    );
    let mut actions = Vec::new();
    if wanted(CodeActionKind::QUICKFIX.as_str()) {
        let here = document.findings.iter().filter(|finding| meets(finding, span));
        for finding in here {
            actions.extend(fix(server, document, finding));
            actions.push(hide(server, document, finding));
        }
    }
    if wanted(FIX_ALL) {
        actions.extend(all(server, document));
    }
    // The sure ones first.
    actions.sort_by_key(|action| action.is_preferred != Some(true));
    actions.into_iter().map(CodeActionOrCommand::CodeAction).collect()
}

/// Whether a kind is the one that is asked for or one of its sub-kinds.
fn is_below(kind: &str, only: &str) -> bool {
    kind.strip_prefix(only)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn meets(finding: &Diagnostic, span: Span) -> bool {
    let own = finding.span().unwrap_or_default();
    own.start <= span.end && span.start <= own.end
}

fn fix(server: &Server<'_>, document: &Document, finding: &Diagnostic) -> Option<CodeAction> {
    let fix = finding.fix.as_ref().filter(|fix| !fix.edits.is_empty())?;
    Some(CodeAction {
        title: format!("{} ({})", fix.title, finding.code),
        kind: Some(CodeActionKind::QUICKFIX),
        diagnostics: Some(vec![server.diagnostic(finding, &document.uri)]),
        edit: Some(edit(server, document, fix)?),
        is_preferred: Some(fix.safety == Safety::Safe),
        ..CodeAction::default()
    })
}

/// A comment above the line, for the reason to be filled in.
fn hide(server: &Server<'_>, document: &Document, finding: &Diagnostic) -> CodeAction {
    let source = &document.source;
    let line = source.line_at(finding.span().unwrap_or_default().start);
    let text = source.slice(line);
    let indent = &text[..text.len() - text.trim_start_matches([' ', '\t']).len()];
    let ending = if source.text.contains("\r\n") {
        "\r\n"
    } else {
        "\n"
    };
    let comment = format!("{indent}# plimsoll ignore={} -- {ending}", finding.code);
    let at = server.encoding.position(source, line.start);
    CodeAction {
        title: format!("Ignore {} here", finding.code),
        kind: Some(CodeActionKind::QUICKFIX),
        diagnostics: Some(vec![server.diagnostic(finding, &document.uri)]),
        edit: Some(changes(
            &document.uri,
            vec![TextEdit::new(Range::new(at, at), comment)],
        )),
        is_preferred: Some(false),
        ..CodeAction::default()
    }
}

/// All fixes that keep the meaning, until none is left.
fn all(server: &Server<'_>, document: &Document) -> Option<CodeAction> {
    let inputs = server.inputs_of(&document.uri);
    let fixed = mend(&inputs, server.config(), Safety::Safe, |loaded| {
        server.images(loaded)
    });
    let change = fixed
        .files
        .values()
        .find(|change| change.name == *document.source.name)?;
    let whole = Span::new(0, document.source.text.len());
    let range = server.encoding.range(&document.source, whole);
    Some(CodeAction {
        title: "Make all safe fixes".to_owned(),
        kind: Some(CodeActionKind::new(FIX_ALL)),
        edit: Some(changes(
            &document.uri,
            vec![TextEdit::new(range, change.new.clone())],
        )),
        ..CodeAction::default()
    })
}

fn changes(uri: &Uri, edits: Vec<TextEdit>) -> WorkspaceEdit {
    WorkspaceEdit::new(HashMap::from([(uri.clone(), edits)]))
}

/// The edits of a fix; files that are not there are made first.
fn edit(server: &Server<'_>, document: &Document, fix: &Fix) -> Option<WorkspaceEdit> {
    let others = fix
        .edits
        .iter()
        .any(|edit| edit.source.name != document.source.name);
    if !others {
        let edits = fix
            .edits
            .iter()
            .map(|edit| text_edit(server, &edit.source, edit.span, &edit.text));
        return Some(changes(&document.uri, edits.collect()));
    }
    let mut operations = Vec::new();
    for edit in &fix.edits {
        let own = edit.source.name == document.source.name;
        let uri = if own {
            document.uri.clone()
        } else {
            server.uri_of(&edit.source.name)?
        };
        if !own && edit.source.text.is_empty() {
            let options = CreateFileOptions {
                overwrite: Some(false),
                ignore_if_exists: Some(true),
            };
            operations.push(DocumentChangeOperation::Op(ResourceOp::Create(CreateFile {
                uri: uri.clone(),
                options: Some(options),
                annotation_id: None,
            })));
        }
        operations.push(DocumentChangeOperation::Edit(TextDocumentEdit {
            text_document: OptionalVersionedTextDocumentIdentifier { uri, version: None },
            edits: vec![OneOf::Left(text_edit(
                server,
                &edit.source,
                edit.span,
                &edit.text,
            ))],
        }));
    }
    Some(WorkspaceEdit {
        document_changes: Some(DocumentChanges::Operations(operations)),
        ..WorkspaceEdit::default()
    })
}

fn text_edit(server: &Server<'_>, source: &Source, span: Span, text: &str) -> TextEdit {
    TextEdit::new(server.encoding.range(source, span), text.to_owned())
}
