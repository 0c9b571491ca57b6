//! One line of comma-separated fields, as buildx takes its options: RFC 4180, so that a value may have commas.

/// Splits a line: `type=local,"dest=a,b"`. In quotes two of them mean one.
pub(crate) fn fields(line: &str) -> Result<Vec<String>, String> {
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => {
                quoted_field(quoted).ok_or_else(|| format!("a quote is not closed in `{line}`"))?
            }
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                if rest[..end].contains('"') {
                    return Err(format!(
                        "a quote in the middle of `{}`: quote the whole field",
                        &rest[..end]
                    ));
                }
                (rest[..end].to_owned(), &rest[end..])
            }
        };
        fields.push(field);
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None if after.is_empty() => return Ok(fields),
            None => return Err(format!("`{after}` follows a closing quote")),
        }
    }
}

/// Reads up to the closing quote.
fn quoted_field(text: &str) -> Option<(String, &str)> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let (before, after) = rest.split_once('"')?;
        field.push_str(before);
        match after.strip_prefix('"') {
            Some(next) => {
                field.push('"');
                rest = next;
            }
            None => return Some((field, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_commas() {
        for (line, expected) in [
            ("a", vec!["a"]),
            ("", vec![""]),
            ("a=1,b=2", vec!["a=1", "b=2"]),
            (r#"a,"b=c,d""#, vec!["a", "b=c,d"]),
            (r#""say ""hi""",z"#, vec![r#"say "hi""#, "z"]),
        ] {
            assert_eq!(fields(line).unwrap(), expected, "{line}");
        }
        for line in [r#""a"#, r#"a"b"#, r#""a"b"#] {
            assert!(fields(line).is_err(), "{line}");
        }
    }
}
