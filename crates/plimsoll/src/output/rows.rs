//! Rows of data as `--format` asks: a table, JSON lines or a Go template.

use std::io::Write;

use serde_json::{Map, Value};

use super::table;
use super::template::Template;
use crate::command_error::CommandError;

/// Prints `rows` (objects) in the form that `format` asks for.
///
/// - nothing, or `table`: `default`, a template without the word `table`, as Docker's own defaults;
/// - `table TEMPLATE`: with a line of headers;
/// - `json`: one object per line;
/// - anything else: the template, once per row.
///
/// `headers` names the column of each field that `default` or a table template may mention.
pub(crate) fn print(
    out: &mut dyn Write,
    format: Option<&str>,
    default: &str,
    headers: &[(&str, &str)],
    rows: &[Value],
) -> Result<(), CommandError> {
    let format = format.map(unescape);
    match format.as_deref() {
        None | Some("" | "table") => print_table(out, default, headers, rows),
        Some("json") => rows.iter().try_for_each(|row| Ok(writeln!(out, "{row}")?)),
        Some(format) => match format.strip_prefix("table ") {
            Some(template) => print_table(out, template, headers, rows),
            None => {
                let template = Template::parse(format)?;
                rows.iter()
                    .try_for_each(|row| Ok(writeln!(out, "{}", template.render(row)?)?))
            }
        },
    }
}

fn print_table(
    out: &mut dyn Write,
    template: &str,
    headers: &[(&str, &str)],
    rows: &[Value],
) -> Result<(), CommandError> {
    let template = Template::parse(&unescape(template))?;
    let names: Map<String, Value> = headers
        .iter()
        .map(|(field, header)| ((*field).to_owned(), Value::from(*header)))
        .collect();
    let mut text = template.render(&Value::Object(names))?;
    for row in rows {
        text.push('\n');
        text.push_str(&template.render(row)?);
    }
    Ok(out.write_all(table::align(&text).as_bytes())?)
}

/// Shells hand over `\t` and `\n` as two characters; Docker takes them for one.
fn unescape(format: &str) -> String {
    format.replace("\\t", "\t").replace("\\n", "\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const HEADERS: &[(&str, &str)] = &[("ID", "IMAGE ID"), ("Size", "SIZE")];

    fn printed(format: Option<&str>) -> String {
        let rows = [
            json!({"ID": "0123456789ab", "Size": "1MB"}),
            json!({"ID": "b", "Size": "20.5kB"}),
        ];
        let mut out = Vec::new();
        print(&mut out, format, "{{.ID}}\t{{.Size}}", HEADERS, &rows).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_form() {
        let table = "IMAGE ID       SIZE\n0123456789ab   1MB\nb              20.5kB\n";
        assert_eq!(printed(None), table);
        assert_eq!(printed(Some("table {{.ID}}\\t{{.Size}}")), table);
        assert_eq!(
            printed(Some("json")),
            "{\"ID\":\"0123456789ab\",\"Size\":\"1MB\"}\n{\"ID\":\"b\",\"Size\":\"20.5kB\"}\n"
        );
        assert_eq!(
            printed(Some("{{.ID}}: {{.Size}}")),
            "0123456789ab: 1MB\nb: 20.5kB\n"
        );
    }
}
