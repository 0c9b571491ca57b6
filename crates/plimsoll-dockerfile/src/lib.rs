//! Dockerfile and `.dockerignore` text to trees with spans.
//!
//! Text in, value out: nothing here touches a disk, and nothing here fails on any text.
//! [`Dockerfile::parse`] gives what could be understood and diagnostics for the rest. Variables
//! stay in the tree as they were written; [`expand`] resolves them once their values are known.
//!
//! The language is that of BuildKit's Dockerfile frontend 1.x
//! (<https://docs.docker.com/reference/dockerfile/>), its parser's quirks included where images
//! depend on them.

mod directives;
mod duration;
mod expand;
mod fault;
mod flags;
mod glob;
mod heredoc;
mod ignore;
mod instruction;
mod line;
mod parser;
mod pasted;
mod tree;
mod unfold;
mod words;

pub use directives::is_built_in as is_built_in_frontend;
pub use expand::{ExpandError, Expanded, expand, expand_heredoc, expand_words};
pub use glob::{BadPattern, glob_match};
pub use ignore::{IgnoreFile, IgnoreRule};
pub use instruction::{KEYWORDS, flags_of};
pub use plimsoll_diagnostics::nearest;
pub use tree::{
    ArgDeclaration, Command, Copy, CopySource, Directives, Dockerfile, From, HealthcheckInstruction, Heredoc,
    Instruction, InstructionKind, KeyValue, Parsed, Piece, Run, Spanned, Word,
};
pub use unfold::Unfolded;
