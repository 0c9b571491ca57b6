//! Here-documents: their markers on the instruction's line, and the bodies below it.

use plimsoll_diagnostics::Span;

use crate::fault::{Fault, Result};
use crate::line::{Lines, Slice};
use crate::tree::{Heredoc, Spanned};

/// A marker on the instruction's line and the document it announces.
#[derive(Debug)]
pub(crate) struct Found<'a> {
    pub(crate) marker: Slice<'a>,
    pub(crate) heredoc: Heredoc,
}

/// `<<-"EOF"`.
struct Marker<'a> {
    place: Slice<'a>,
    delimiter: String,
    expand: bool,
    strip_tabs: bool,
}

/// Finds the markers in an instruction's arguments and reads the bodies from the lines that
/// follow. Returns where the last body ends, too.
pub(crate) fn read<'a>(
    arguments: Slice<'a>,
    lines: &mut Lines<'_>,
) -> Result<(Vec<Found<'a>>, Option<usize>)> {
    let mut found = Vec::new();
    let mut end = None;
    for marker in markers(arguments) {
        let (heredoc, body_end) = marker.read_body(lines)?;
        end = Some(body_end);
        found.push(Found {
            marker: marker.place,
            heredoc,
        });
    }
    Ok((found, end))
}

impl Marker<'_> {
    fn read_body(&self, lines: &mut Lines<'_>) -> Result<(Heredoc, usize)> {
        let start = lines.offset();
        let mut body = String::new();
        let mut body_end = start;
        for line in lines.by_ref() {
            let tabs = if self.strip_tabs {
                leading_tabs(line.text)
            } else {
                0
            };
            if line.text[tabs..] == *self.delimiter {
                let heredoc = Heredoc {
                    delimiter: self.delimiter.clone(),
                    expand: self.expand,
                    strip_tabs: self.strip_tabs,
                    body: Spanned {
                        value: body,
                        span: Span::new(start, body_end),
                    },
                    marker: self.place.word(),
                };
                return Ok((heredoc, line.end()));
            }
            body.push_str(&line.raw[tabs..]);
            body_end = line.start + line.raw.len();
        }
        let message = format!("here-document `{}` is never ended", self.place.as_str());
        Err(
            Fault::error("unterminated-heredoc", self.place.span(), message).help(format!(
                "a line that holds nothing but `{}` ends it{}",
                self.delimiter,
                if self.strip_tabs {
                    " (tabs before it do not count)"
                } else {
                    ", without blanks around it"
                },
            )),
        )
    }
}

fn leading_tabs(text: &str) -> usize {
    text.len() - text.trim_start_matches('\t').len()
}

/// Finds the words that announce here-documents. In text whose quotes do not match there are none,
/// as in BuildKit: it is the shell's to complain.
fn markers(arguments: Slice<'_>) -> Vec<Marker<'_>> {
    if !arguments.as_str().contains("<<") {
        return Vec::new();
    }
    let words = shell_words(arguments).unwrap_or_default();
    words
        .into_iter()
        .filter(|word| !in_arithmetic(arguments, *word))
        .filter_map(marker)
        .collect()
}

/// Tells whether `<<` is a shift: the word stands behind a `((` that is still open.
fn in_arithmetic(arguments: Slice<'_>, word: Slice<'_>) -> bool {
    let before = arguments.before(word).as_str();
    before.matches("((").count() > before.matches("))").count()
}

/// Cuts at blanks outside quotes and `${}`; blanks behind `<<` belong to the word they precede.
fn shell_words(text: Slice<'_>) -> Option<Vec<Slice<'_>>> {
    let mut words = Vec::new();
    let mut start = None;
    let mut closers: Vec<char> = Vec::new();
    let mut after_marker = false;
    let mut rest = text.as_str().char_indices().peekable();
    let mut previous = ' ';
    while let Some((at, c)) = rest.next() {
        let inside = closers.last().copied();
        if inside.is_none() && c.is_whitespace() {
            if !after_marker {
                words.extend(start.take().map(|start| text.part(start, at)));
            }
            continue;
        }
        start.get_or_insert(at);
        let opens = c == '<' || (after_marker && c == '-');
        after_marker = inside.is_none() && previous == '<' && opens;
        previous = c;
        match (c, inside) {
            (c, Some(closer)) if c == closer => {
                closers.pop();
            }
            (_, Some('\'')) => {}
            ('\\', _) => {
                rest.next();
            }
            ('$', _) if rest.next_if(|(_, next)| *next == '{').is_some() => closers.push('}'),
            ('"', Some('"')) | ('\'', Some('"')) => {}
            ('\'' | '"', _) => closers.push(c),
            _ => {}
        }
    }
    words.extend(start.map(|start| text.after(start)));
    closers.is_empty().then_some(words)
}

/// Reads `[N]<<[-]DELIMITER`.
fn marker(word: Slice<'_>) -> Option<Marker<'_>> {
    let text = word
        .as_str()
        .trim_start_matches(|c: char| c.is_ascii_digit())
        .strip_prefix("<<")?;
    let (strip_tabs, text) = match text.strip_prefix('-') {
        Some(text) => (true, text),
        None => (false, text),
    };
    let text = text.trim_start();
    if text.contains('<') {
        return None;
    }
    let (delimiter, quoted) = unquoted(text)?;
    (!delimiter.is_empty()).then_some(Marker {
        place: word,
        delimiter,
        expand: !quoted,
        strip_tabs,
    })
}

/// Removes quotes and backslashes; tells whether there were quotes.
fn unquoted(text: &str) -> Option<(String, bool)> {
    let mut out = String::new();
    let mut quoted = false;
    let mut open = None;
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match (c, open) {
            (c, Some(quote)) if c == quote => open = None,
            ('\'' | '"', None) => {
                quoted = true;
                open = Some(c);
            }
            ('\\', quote) if quote != Some('\'') => out.extend(rest.next()),
            (c, _) => out.push(c),
        }
    }
    open.is_none().then_some((out, quoted))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Delimiter, expand and strip_tabs of every marker on the line.
    fn found(text: &str) -> Vec<(String, bool, bool)> {
        let mut lines = Lines::new(text);
        let first = lines.next().unwrap();
        let joined = lines.join(first, '\\');
        let markers = markers(joined.line.whole());
        markers
            .into_iter()
            .map(|marker| (marker.delimiter, marker.expand, marker.strip_tabs))
            .collect()
    }

    #[test]
    fn markers_are_whole_words() {
        let one = |name: &str, expand, strip| vec![(name.to_owned(), expand, strip)];
        assert_eq!(found("<<EOF"), one("EOF", true, false));
        assert_eq!(found("cat <<-'E O F' | sort"), one("E O F", false, true));
        assert_eq!(found("python3 3<<\"EOF\" x"), one("EOF", false, false));
        assert_eq!(found("cat << EOF > x"), one("EOF", true, false));
        assert_eq!(found("cat <<- EOF"), one("EOF", true, true));
        assert_eq!(found("<<E\"O\"F"), one("EOF", false, false));
        assert_eq!(found("<<$EOF"), one("$EOF", true, false));
        assert_eq!(found("<<é日"), one("é日", true, false));
        assert_eq!(found("echo \"it's\" <<EOF"), one("EOF", true, false));
        assert_eq!(found("echo ${A:-b c} <<EOF"), one("EOF", true, false));
        assert_eq!(found("<<a <<-b /x").len(), 2);
    }

    #[test]
    fn these_are_no_markers() {
        for text in [
            "cat <<<word",
            "cat <<< \"a b\"",
            "echo '<<EOF'",
            "echo \"a <<EOF\"",
            "cat<<EOF",
            "a <<",
            "a << ",
            "echo $((1<<2))",
            "echo $((1 << 2))",
            "echo $(( x <<2 ))",
            "it's <<EOF",
            "\\<<EOF",
            "<<''",
        ] {
            assert_eq!(found(text), [], "{text}");
        }
    }

    #[test]
    fn bodies_end_at_their_delimiter() {
        let text = "RUN a <<-ONE b <<TWO\n\t\tx\n\tONE\r\ny\n TWO\n\nTWO\nrest\n";
        let mut lines = Lines::new(text);
        let first = lines.next().unwrap();
        let joined = lines.join(first, '\\');
        let (found, end) = read(joined.line.whole(), &mut lines).unwrap();
        let bodies: Vec<_> = found
            .iter()
            .map(|found| found.heredoc.body.value.as_str())
            .collect();
        assert_eq!(bodies, ["x\n", "y\n TWO\n\n"]);
        assert_eq!(&text[found[0].heredoc.body.span.range()], "\t\tx\n");
        assert_eq!(&text[end.unwrap()..], "\nrest\n");
    }

    #[test]
    fn a_body_without_end_is_told_at_its_marker() {
        let mut lines = Lines::new("RUN cat <<EOF)\nx\nEOF\n");
        let first = lines.next().unwrap();
        let joined = lines.join(first, '\\');
        let fault = read(joined.line.whole(), &mut lines).unwrap_err();
        assert_eq!(fault.span, Span::new(8, 14));
        assert_eq!(
            fault.help.unwrap(),
            "a line that holds nothing but `EOF)` ends it, without blanks around it"
        );
    }
}
