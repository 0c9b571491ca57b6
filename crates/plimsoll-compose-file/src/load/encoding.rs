//! Texts of files: UTF-8, and UTF-16 with a byte order mark (YAML 1.2, section 5.2).

use std::fs;

use camino::Utf8Path;

/// The text of a file; else why there is none, and what can be done.
pub(crate) fn text_of(path: &Utf8Path) -> Result<String, (String, Option<String>)> {
    let bytes = fs::read(path).map_err(|error| (error.to_string(), None))?;
    decode(bytes).map_err(|why| (why, Some("save it as UTF-8".to_owned())))
}

fn decode(bytes: Vec<u8>) -> Result<String, String> {
    match bytes[..] {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => Err("it is in UTF-32".to_owned()),
        [0xff, 0xfe, ref rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, ref rest @ ..] => utf16(rest, u16::from_be_bytes),
        _ => String::from_utf8(bytes).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            let before = &error.as_bytes()[..at];
            let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
            let byte = error.as_bytes()[at];
            format!("line {line} is not UTF-8: byte 0x{byte:02x}")
        }),
    }
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<String, String> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let units = pairs.iter().map(|pair| unit(*pair));
    match char::decode_utf16(units).collect::<Result<String, _>>() {
        Ok(text) if rest.is_empty() => Ok(text),
        _ => Err("it begins as UTF-16, but is none".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings() {
        let text = "a: x\u{e4}\u{1f600}\n";
        let units: Vec<u16> = text.encode_utf16().collect();
        let little = units.iter().flat_map(|unit| unit.to_le_bytes());
        let big = units.iter().flat_map(|unit| unit.to_be_bytes());
        let with =
            |mark: [u8; 2], bytes: &mut dyn Iterator<Item = u8>| mark.into_iter().chain(bytes).collect();
        let mut little: Vec<u8> = with([0xff, 0xfe], &mut little.into_iter());
        let big: Vec<u8> = with([0xfe, 0xff], &mut big.into_iter());
        assert_eq!(decode(little.clone()).as_deref(), Ok(text));
        assert_eq!(decode(big).as_deref(), Ok(text));
        assert_eq!(decode(text.into()).as_deref(), Ok(text));
        little.pop();
        assert_eq!(decode(little), Err("it begins as UTF-16, but is none".to_owned()));
        assert_eq!(
            decode(vec![0xff, 0xfe, 0, 0, 97, 0, 0, 0]),
            Err("it is in UTF-32".to_owned())
        );
        assert_eq!(
            decode(b"a: 1\nb: \xe4\n".to_vec()),
            Err("line 2 is not UTF-8: byte 0xe4".to_owned())
        );
    }
}
