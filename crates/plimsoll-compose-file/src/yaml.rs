//! YAML text to a [`Node`]: the only place that knows the parser.

mod hints;

use std::collections::{BTreeMap, HashMap};

use granit_parser::{Event, Options, Parser, ScalarStyle, ScanError};
use plimsoll_diagnostics::{Diagnostic, Source, Span};

use crate::node::{Entry, Mark, Node, Place, Scalar, Value};

/// Nodes that a document may have with all its aliases written out. Real projects have a few thousand; an "alias bomb"
/// doubles with every line.
const MAX_NODES: usize = 200_000;
/// Levels of nesting.
const MAX_DEPTH: usize = 128;

/// Parses the first document of a text; none if there is nothing in it.
pub fn parse(source: &Source) -> Result<Option<Node>, Box<Diagnostic>> {
    Ok(documents(source)?.into_iter().next())
}

/// Parses the documents of a text, which `---` divides; those with nothing in them are left out.
pub(crate) fn documents(source: &Source) -> Result<Vec<Node>, Box<Diagnostic>> {
    let mut options = Options::default();
    options.set_emit_comments(false);
    let mut builder = Builder {
        source,
        events: Parser::new_from_str_with_options(&source.text, options),
        anchors: HashMap::new(),
        nodes: 0,
        end: 0,
    };
    let mut documents = Vec::new();
    loop {
        let (event, span) = builder.next()?;
        match event {
            Event::StreamEnd => return Ok(documents),
            Event::StreamStart | Event::DocumentEnd => {}
            // Anchors are known in their own document only (YAML 1.2, section 7.1).
            Event::DocumentStart(..) => builder.anchors.clear(),
            event => documents.push(builder.node(event, span, 0)?),
        }
    }
}

struct Builder<'a> {
    source: &'a Source,
    events: Parser<'a, granit_parser::StrInput<'a>>,
    /// Finished nodes by the number of their anchor, with how many nodes each is.
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
    /// Where the last event ended.
    end: usize,
}

type Parsed<T> = Result<T, Box<Diagnostic>>;

impl<'a> Builder<'a> {
    fn next(&mut self) -> Parsed<(Event<'a>, Span)> {
        match self.events.next() {
            Some(Ok((event, span))) => {
                let bytes = |marker: &granit_parser::Marker| marker.byte_offset().unwrap_or(self.end);
                let span = Span::new(bytes(&span.start), bytes(&span.end));
                self.end = span.end;
                Ok((event, span))
            }
            Some(Err(error)) => Err(self.syntax(&error)),
            None => Ok((Event::StreamEnd, Span::new(self.end, self.end))),
        }
    }

    fn syntax(&self, error: &ScanError) -> Box<Diagnostic> {
        let at = error.marker().byte_offset().unwrap_or(self.end);
        let span = self.source.clamp(Span::new(at, at + 1));
        let said = error.info();
        let error = Diagnostic::error("yaml-syntax", self.source, span, format!("not YAML: {said}"));
        Box::new(error.with_help(hints::likely(self.source, span.start, &said)))
    }

    fn place(&self, span: Span) -> Place {
        Place {
            source: self.source.clone(),
            span,
        }
    }

    fn count(&mut self, nodes: usize, span: Span, depth: usize) -> Parsed<()> {
        self.nodes += nodes;
        let too_much = match () {
            () if self.nodes > MAX_NODES => format!("more than {MAX_NODES} values, aliases written out"),
            () if depth > MAX_DEPTH => format!("nested more than {MAX_DEPTH} levels deep"),
            () => return Ok(()),
        };
        let error = Diagnostic::error("yaml-limit", self.source, span, too_much);
        Err(Box::new(error.with_help(
            "divide the file in several, or use fewer aliases of aliases",
        )))
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Parsed<Node> {
        let before = self.nodes;
        self.count(1, span, depth)?;
        let (value, anchor, mark, end) = match event {
            Event::Alias(number) => {
                let Some((node, nodes)) = self.anchors.get(&number).cloned() else {
                    let message = "an alias inside of what it stands for";
                    let error = Diagnostic::error("yaml-alias", self.source, span, message);
                    let help = "take it out, or put the anchor on a smaller part";
                    return Err(Box::new(error.with_help(help)));
                };
                self.count(nodes, span, depth)?;
                return Ok(node);
            }
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && !is_core(tag.as_deref(), "str");
                let scalar = Scalar {
                    text: text.into_owned(),
                    plain,
                };
                (Value::Scalar(scalar), anchor, mark(tag.as_deref()), span.end)
            }
            Event::SequenceStart(_, anchor, tag) => {
                let mut items = Vec::new();
                let end = loop {
                    match self.next()? {
                        (Event::SequenceEnd, span) => break span.end,
                        (event, span) => items.push(self.node(event, span, depth + 1)?),
                    }
                };
                (Value::List(items), anchor, mark(tag.as_deref()), end)
            }
            Event::MappingStart(_, anchor, tag) => {
                let (entries, end) = self.entries(depth)?;
                (Value::Map(entries), anchor, mark(tag.as_deref()), end)
            }
            _ => {
                let error =
                    Diagnostic::error("yaml-syntax", self.source, span, "not YAML: a value is missing");
                return Err(Box::new(error.with_help("close what is open above")));
            }
        };
        let node = Node {
            value,
            place: self.place(self.trimmed(Span::new(span.start, end))),
            mark,
        };
        if anchor != 0 {
            self.anchors.insert(anchor, (node.clone(), self.nodes - before));
        }
        Ok(node)
    }

    /// A block ends where the next thing begins: what is blank before that does not belong to it.
    fn trimmed(&self, span: Span) -> Span {
        let text = self.source.slice(span);
        Span::new(span.start, span.start + text.trim_end().len())
    }

    fn entries(&mut self, depth: usize) -> Parsed<(Vec<Entry>, usize)> {
        let (mut entries, mut merged) = (Vec::new(), Vec::new());
        let mut places: BTreeMap<String, Span> = BTreeMap::new();
        loop {
            let (event, span) = match self.next()? {
                (Event::MappingEnd, span) => {
                    inherit(&mut entries, merged);
                    return Ok((entries, span.end));
                }
                next => next,
            };
            let key = self.node(event, span, depth + 1)?;
            let Value::Scalar(Scalar { text: key, plain }) = key.value else {
                let error = Diagnostic::error("yaml-key", self.source, span, "a key is a text");
                let help = "a value that begins with `{`, such as a template, needs quotes";
                return Err(Box::new(error.with_help(help)));
            };
            let (event, value_span) = self.next()?;
            let value = self.node(event, value_span, depth + 1)?;
            if plain && key == "<<" {
                merged.push(self.checked_merge(value)?);
                continue;
            }
            if let Some(first) = places.insert(key.clone(), span) {
                let error = Diagnostic::error(
                    "duplicate-key",
                    self.source,
                    span,
                    format!("`{key}` is there twice"),
                );
                let help = "leave one of them out, or put what both say under one key";
                return Err(Box::new(error.with_label(first, "the first one").with_help(help)));
            }
            entries.push(Entry {
                key,
                place: self.place(span),
                value,
            });
        }
    }

    fn checked_merge(&self, value: Node) -> Parsed<Node> {
        let is_map = |node: &Node| matches!(node.value, Value::Map(_));
        if is_map(&value) || (!value.items().is_empty() && value.items().iter().all(is_map)) {
            return Ok(value);
        }
        let error = value
            .place
            .error("yaml-merge", "`<<` takes a mapping, or a list of mappings");
        Err(Box::new(error.with_help(
            "name an anchor of a mapping: `<<: *NAME`, or `<<: [*ONE, *OTHER]`",
        )))
    }
}

/// `<<`: keys that are not there are taken over, of several mappings the first that has one.
fn inherit(entries: &mut Vec<Entry>, merged: Vec<Node>) {
    let maps = merged.into_iter().flat_map(|node| match node.value {
        Value::List(items) => items,
        _ => vec![node],
    });
    for map in maps {
        let Value::Map(inherited) = map.value else {
            continue;
        };
        for entry in inherited {
            if !entries.iter().any(|known| known.key == entry.key) {
                entries.push(entry);
            }
        }
    }
}

fn mark(tag: Option<&granit_parser::Tag>) -> Option<Mark> {
    let tag = tag?;
    match (tag.handle(), tag.suffix()) {
        ("!", "reset") => Some(Mark::Reset),
        ("!", "override") => Some(Mark::Override),
        _ => None,
    }
}

fn is_core(tag: Option<&granit_parser::Tag>, suffix: &str) -> bool {
    tag.is_some_and(|tag| tag.handle() == "tag:yaml.org,2002:" && tag.suffix() == suffix)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> String {
        match parse(&Source::new("compose.yaml", text)) {
            Ok(Some(node)) => node.to_json().to_string(),
            Ok(None) => "nothing".to_owned(),
            Err(error) => format!("error: {}", error.message),
        }
    }

    #[test]
    fn values() {
        assert_eq!(json(""), "nothing");
        assert_eq!(json("# only a comment\n"), "nothing");
        assert_eq!(
            json("a: 1\nb: [x, '2', ~]\nc: {d: true}"),
            r#"{"a":1,"b":["x","2",null],"c":{"d":true}}"#
        );
        assert_eq!(
            json("a: |\n  x\n  y\nb: >-\n  x\n  y\n"),
            r#"{"a":"x\ny\n","b":"x y"}"#
        );
        assert_eq!(json("a: !!str 1"), r#"{"a":"1"}"#);
    }

    #[test]
    fn aliases_and_merges() {
        assert_eq!(
            json("a: &x {k: 1, l: 2}\nb:\n  <<: *x\n  k: 3"),
            r#"{"a":{"k":1,"l":2},"b":{"k":3,"l":2}}"#
        );
        assert_eq!(
            json("a: &x {k: 1}\nb: &y {k: 2, m: 4}\nc:\n  <<: [*x, *y]"),
            r#"{"a":{"k":1},"b":{"k":2,"m":4},"c":{"k":1,"m":4}}"#
        );
        assert!(json("a: {<<: 1}").starts_with("error: `<<` takes a mapping"));
    }

    #[test]
    fn mistakes_are_placed() {
        assert!(json("a: 1\na: 2").starts_with("error: `a` is there twice"));
        assert!(json("a: [1").starts_with("error: not YAML"));
        assert!(json("? [a]\n: 1").starts_with("error: a key is a text"));
        let error = parse(&Source::new("f", "a:\n\tb: 1\n")).unwrap_err();
        assert!(error.help.unwrap().contains("tabs"));
    }

    #[test]
    fn mistakes_have_a_likely_fix() {
        let help = |text: &str| {
            let error = parse(&Source::new("f", text)).unwrap_err();
            error.help.unwrap_or_else(|| panic!("no help: {text:?}"))
        };
        for (text, expected) in [
            ("a: x: y\n", "put the value into quotes: `a: \"x: y\"`"),
            ("a:\n  - b: x: y\n", "put the value into quotes: `b: \"x: y\"`"),
            (
                "a:x\nb: 1\n",
                "the line above needs a blank after its colon: `a: x`",
            ),
            ("a: @x\n", "a value cannot begin with `@`: put it into quotes"),
            ("a: &base 1\nb: *bose\n", "did you mean `*base`?"),
            ("b: *foo\n", "put `&foo` before"),
            ("a: \"x\nb: []\n", "the quote in line 1 is not closed"),
            ("a: 'it's'\n", "put the whole value into double quotes"),
            ("a: \"b\" c\n", "put the whole value into single quotes"),
            ("a: \"\\d\"\n", "in double quotes `\\` begins an escape"),
            ("a: [x\nb: [y]\n", "a `[` or `{` above is not closed"),
            ("a: {x: 1\nb: 2\n", "a `[` or `{` above is not closed"),
            ("a:\n b: 1\n  c: 2\n", "look at how far"),
            (
                "a:\n   b: 1\n  c: 2\n",
                "all keys of a mapping begin in the same column",
            ),
            ("a:\n  - b\n  c: 1\n", "a list ends where a line without `- `"),
            ("a: {{.x}}\n", "a value that begins with `{`"),
            ("a: 1\na: 2\n", "leave one of them out"),
            ("a: {<<: 1}\n", "name an anchor of a mapping"),
            ("a: &x [*x]\n", "take it out"),
        ] {
            assert!(help(text).starts_with(expected), "{text:?}: {}", help(text));
        }
    }

    #[test]
    fn places_cover_what_is_written() {
        let source = Source::new("f", "a:\n  b: one\n  c: [x,\n    y]\nd: 'q'\n");
        let node = parse(&source).unwrap().unwrap();
        let slice = |path: &[&str]| source.slice(node.at(path).unwrap().place.span).to_owned();
        assert_eq!(slice(&["a", "b"]), "one");
        assert_eq!(slice(&["a", "c"]), "[x,\n    y]");
        assert_eq!(slice(&["d"]), "'q'");
        assert_eq!(source.slice(node.entry("d").unwrap().place.span), "d");
    }

    #[test]
    fn three_dashes_divide_documents() {
        let source = Source::new("f", "a: &x 1\n---\nb: 2\n---\n# nothing\n");
        let documents = documents(&source).unwrap();
        assert_eq!(documents.len(), 3);
        assert_eq!(documents[1].text_of("b"), Some("2"));
        let error = super::documents(&Source::new("f", "a: &x 1\n---\nb: *x\n"));
        assert!(error.is_err(), "an anchor of another document");
    }

    #[test]
    fn marks_are_kept() {
        let node = parse(&Source::new("f", "a: !reset null\nb: !override [x]"))
            .unwrap()
            .unwrap();
        assert_eq!(node.get("a").unwrap().mark, Some(Mark::Reset));
        assert_eq!(node.get("b").unwrap().mark, Some(Mark::Override));
    }

    #[test]
    fn alias_bombs_are_bounded() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let below = level - 1;
            let items = format!("*a{below}, ").repeat(9);
            text.push_str(&format!(
                "a{level}: &a{level} [{}]\n",
                items.trim_end_matches(", ")
            ));
        }
        assert!(json(&text).contains("aliases written out"));
        assert!(json(&"[".repeat(10_000)).starts_with("error"));
    }
}
