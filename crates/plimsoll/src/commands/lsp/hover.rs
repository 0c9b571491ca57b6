//! What is shown under the pointer: the pages of rules that have something to say there, else what an instruction does.

use lsp_types::{Hover, HoverContents, MarkupContent, MarkupKind};
use plimsoll_check::view::DockerfileView;
use plimsoll_check::{pages, rules};
use plimsoll_diagnostics::Span;

use super::places::Encoding;
use super::server::Document;

/// What each instruction does, and how it is written.
const INSTRUCTIONS: [(&str, &str, &str); 18] = [
    (
        "ADD",
        "ADD [FLAGS] SOURCE... DESTINATION",
        "Copies files as COPY does, and also unpacks local archives and fetches URLs and git repositories. For plain files, COPY says what is meant.",
    ),
    (
        "ARG",
        "ARG NAME[=DEFAULT]...",
        "Declares a build argument, given with `--build-arg`. It is no place for secrets: its value is in the image's history. Before the first FROM it can be used in FROM lines; a stage that wants it declares it again.",
    ),
    (
        "CMD",
        "CMD [\"PROGRAM\", \"ARGUMENT\"...]",
        "The command that a container runs when none is given, or the arguments of ENTRYPOINT. In the JSON form the program gets signals itself; in shell form, `/bin/sh -c` stands before it. Only the last one counts.",
    ),
    (
        "COPY",
        "COPY [--from=STAGE|IMAGE] [--chown=USER:GROUP] [--chmod=MODE] [--link] SOURCE... DESTINATION",
        "Copies files from the build context, a stage or an image. What `.dockerignore` leaves out is not there to be copied.",
    ),
    (
        "ENTRYPOINT",
        "ENTRYPOINT [\"PROGRAM\", \"ARGUMENT\"...]",
        "The program that a container always runs; CMD or the arguments of `run` follow it. In shell form it gets neither arguments nor signals.",
    ),
    (
        "ENV",
        "ENV NAME=VALUE...",
        "Sets variables for the instructions that follow and for containers. Everybody who has the image can read them.",
    ),
    (
        "EXPOSE",
        "EXPOSE PORT[/PROTOCOL]...",
        "Says on which ports the program listens. It publishes nothing; `run -P` and tools read it.",
    ),
    (
        "FROM",
        "FROM [--platform=PLATFORM] IMAGE|STAGE [AS NAME]",
        "Begins a stage on an image, an earlier stage or `scratch`. The last stage is what is built, unless `--target` names another.",
    ),
    (
        "HEALTHCHECK",
        "HEALTHCHECK [--interval=30s] [--timeout=30s] [--start-period=0s] [--start-interval=5s] [--retries=3] CMD COMMAND | NONE",
        "Says how to see whether a container is well: 0 is well, 1 is not. What the command needs must be in the image.",
    ),
    (
        "LABEL",
        "LABEL NAME=VALUE...",
        "Adds metadata to the image, `org.opencontainers.image.source=...` for one.",
    ),
    (
        "MAINTAINER",
        "MAINTAINER NAME",
        "Deprecated: `LABEL org.opencontainers.image.authors=...`.",
    ),
    (
        "ONBUILD",
        "ONBUILD INSTRUCTION",
        "Keeps an instruction for builds that stand on this image; it runs there right after FROM.",
    ),
    (
        "RUN",
        "RUN [--mount=...] [--network=...] [--security=...] COMMAND",
        "Runs a command and keeps what it changed as a layer. What one layer adds and a later one deletes is still in the image. `--mount=type=cache` keeps caches of package managers out of it, `--mount=type=secret` secrets.",
    ),
    (
        "SHELL",
        "SHELL [\"PROGRAM\", \"ARGUMENT\"...]",
        "The shell for the shell forms that follow: `[\"/bin/bash\", \"-o\", \"pipefail\", \"-c\"]`.",
    ),
    (
        "STOPSIGNAL",
        "STOPSIGNAL SIGNAL",
        "The signal that asks a container to stop; SIGTERM if nothing is said.",
    ),
    (
        "USER",
        "USER USER[:GROUP]",
        "The user for the instructions that follow and for containers. A number works where names are not known, and lets Kubernetes see that it is not root.",
    ),
    (
        "VOLUME",
        "VOLUME PATH...",
        "Folders that are no part of a container's layer: each container gets a volume of its own for them. What later instructions write there is lost.",
    ),
    (
        "WORKDIR",
        "WORKDIR PATH",
        "The directory for the instructions that follow and for containers; made if it is not there. Relative paths start from the one before.",
    ),
];

/// What is known about the byte at `offset`.
pub(super) fn at(
    document: &Document,
    view: Option<&DockerfileView>,
    offset: usize,
    encoding: Encoding,
) -> Option<Hover> {
    let covers = |span: Span| span.start <= offset && offset <= span.end;
    let found = document.findings.iter();
    let found = found.filter(|finding| finding.span().is_some_and(covers));
    let mut ids: Vec<&str> = found.clone().map(|finding| finding.code).collect();
    ids.dedup();
    let keyword = view.and_then(|view| {
        let mut instructions = view.dockerfile.instructions.iter();
        instructions.find(|instruction| covers(instruction.keyword.span))
    });
    let (text, span) = match (keyword, ids.is_empty()) {
        // On the keyword itself the instruction is what is asked for, unless something is wrong with just that word.
        (Some(instruction), _)
            if !found
                .clone()
                .any(|finding| finding.span() == Some(instruction.keyword.span)) =>
        {
            (help(&instruction.keyword.value)?, instruction.keyword.span)
        }
        (_, true) => return None,
        _ => {
            let rules = ids.into_iter().flat_map(rules::named);
            let pages: Vec<String> = rules.map(|rule| pages::page(rule)).collect();
            let span = found
                .filter_map(|finding| finding.span())
                .min_by_key(|span| span.len())?;
            (pages.join("\n---\n\n"), span)
        }
    };
    Some(Hover {
        contents: HoverContents::Markup(MarkupContent {
            kind: MarkupKind::Markdown,
            value: text,
        }),
        range: Some(encoding.range(&document.source, span)),
    })
}

/// What an instruction does.
pub(super) fn help(keyword: &str) -> Option<String> {
    let known = INSTRUCTIONS
        .iter()
        .find(|(name, ..)| name.eq_ignore_ascii_case(keyword));
    known.map(|(_, usage, about)| format!("```dockerfile\n{usage}\n```\n\n{about}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_instruction_is_explained() {
        for keyword in plimsoll_dockerfile::KEYWORDS {
            assert!(help(keyword).is_some(), "{keyword}");
        }
        assert!(help("from").unwrap().contains("FROM [--platform"));
    }
}
