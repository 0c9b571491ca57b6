//! COPY and ADD.

use super::Statement;
use crate::fault::{Fault, Result};
use crate::flags::{Known, Takes};
use crate::line::Slice;
use crate::pasted;
use crate::tree::{Copy, CopySource, Word};
use crate::words::json_strings;

pub(super) const COPY_FLAGS: &Known = &[
    ("from", Takes::Value),
    ("chown", Takes::Value),
    ("chmod", Takes::Value),
    ("link", Takes::Switch),
    ("parents", Takes::Switch),
    ("exclude", Takes::Values),
];

pub(super) const ADD_FLAGS: &Known = &[
    ("chown", Takes::Value),
    ("chmod", Takes::Value),
    ("link", Takes::Switch),
    ("exclude", Takes::Values),
    ("checksum", Takes::Value),
    ("keep-git-dir", Takes::Switch),
    ("unpack", Takes::Switch),
];

pub(super) fn parse(statement: &Statement<'_>, warnings: &mut Vec<Fault>) -> Result<Copy> {
    let flags = &statement.flags;
    let from = flags.value("from");
    if let Some(from) = from.as_ref().filter(|from| from.value.contains('$')) {
        let message = "variables are not expanded in `--from`";
        return Err(Fault::error("variable-in-from", from.span, message)
            .help("define a stage, `FROM ${IMAGE} AS name`, and copy from that"));
    }
    let (sources, destination) = operands(statement)?;
    warnings.extend(pasted::list_warning(statement.arguments));
    Ok(Copy {
        from,
        chown: flags.value("chown"),
        chmod: flags.value("chmod"),
        link: flags.switch("link").unwrap_or(false),
        parents: flags.switch("parents").unwrap_or(false),
        exclude: flags.values("exclude"),
        checksum: flags.value("checksum"),
        keep_git_dir: flags.switch("keep-git-dir").unwrap_or(false),
        unpack: flags.switch("unpack"),
        sources,
        destination,
    })
}

fn operands(statement: &Statement<'_>) -> Result<(Vec<CopySource>, Word)> {
    let mut operands = match json_strings(statement.arguments)? {
        Some(paths) => paths.into_iter().map(CopySource::Path).collect(),
        None => words(statement),
    };
    let keyword = &statement.keyword;
    match operands.pop() {
        Some(CopySource::Path(destination)) if !operands.is_empty() => Ok((operands, destination)),
        Some(CopySource::Heredoc(heredoc)) if !operands.is_empty() => {
            let message = format!("{keyword} cannot write to a here-document");
            Err(Fault::error("heredoc-destination", heredoc.marker.span, message)
                .help("the destination comes last"))
        }
        only => {
            let place = match &only {
                Some(CopySource::Path(word)) => word.span,
                Some(CopySource::Heredoc(heredoc)) => heredoc.marker.span,
                None => statement.keyword_place.span(),
            };
            let message = format!("{keyword} needs at least one source and a destination");
            Err(Fault::error("missing-argument", place, message))
        }
    }
}

/// Words between blanks, those that belong to a marker replaced by the here-document.
fn words(statement: &Statement<'_>) -> Vec<CopySource> {
    let mut sources = Vec::new();
    let mut heredocs = statement.heredocs.iter().peekable();
    let mut current: Option<Slice<'_>> = None;
    for word in statement.arguments.words() {
        if current.is_some_and(|marker| word.begins_in(marker)) {
            continue;
        }
        match heredocs.next_if(|found| word.begins_in(found.marker)) {
            Some(found) => {
                current = Some(found.marker);
                sources.push(CopySource::Heredoc(found.heredoc.clone()));
            }
            None => sources.push(CopySource::Path(word.word())),
        }
    }
    sources
}
