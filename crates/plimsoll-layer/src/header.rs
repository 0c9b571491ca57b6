//! Blocks of a tar: the ustar header with its GNU variants, and pax records.
//!
//! POSIX.1-2017 "pax", and "Basic Tar Format" in the GNU tar manual.

/// Everything in a tar comes in blocks of this size.
pub(crate) const BLOCK: usize = 512;

/// One header block.
pub(crate) struct Header<'a>(pub(crate) &'a [u8; BLOCK]);

impl Header<'_> {
    /// Returns whether the checksum is right. Old programs added the bytes up as signed ones.
    pub(crate) fn is_sound(&self) -> bool {
        let counted = |at: usize| {
            if (148..156).contains(&at) {
                b' '
            } else {
                self.0[at]
            }
        };
        let unsigned: i64 = (0..BLOCK).map(|at| i64::from(counted(at))).sum();
        let signed: i64 = (0..BLOCK).map(|at| i64::from(counted(at).cast_signed())).sum();
        number(&self.0[148..156]).is_some_and(|sum| sum == unsigned || sum == signed)
    }

    pub(crate) fn type_flag(&self) -> u8 {
        self.0[156]
    }

    /// The name; POSIX's prefix exists only where the magic says so, GNU has other things there.
    pub(crate) fn path(&self) -> Vec<u8> {
        let name = text(&self.0[..100]);
        let prefix = if self.0[257..263] == *b"ustar\0" {
            text(&self.0[345..500])
        } else {
            b""
        };
        match prefix {
            b"" => name.to_vec(),
            prefix => [prefix, b"/", name].concat(),
        }
    }

    pub(crate) fn link(&self) -> Vec<u8> {
        text(&self.0[157..257]).to_vec()
    }

    pub(crate) fn mode(&self) -> Option<i64> {
        number(&self.0[100..108])
    }

    pub(crate) fn user(&self) -> Option<i64> {
        number(&self.0[108..116])
    }

    pub(crate) fn group(&self) -> Option<i64> {
        number(&self.0[116..124])
    }

    pub(crate) fn size(&self) -> Option<i64> {
        number(&self.0[124..136])
    }

    pub(crate) fn time(&self) -> Option<i64> {
        number(&self.0[136..148])
    }

    /// Major and minor number; a header before ustar has none.
    pub(crate) fn device(&self) -> Option<(i64, i64)> {
        Some((number(&self.0[329..337])?, number(&self.0[337..345])?))
    }
}

/// The bytes before the first NUL.
fn text(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Reads a number: octal digits among blanks, nothing at all for zero, or GNU's base 256 for what octal cannot hold.
pub(crate) fn number(field: &[u8]) -> Option<i64> {
    if field.first()? & 0x80 != 0 {
        return binary(field);
    }
    let digits = text(field).trim_ascii();
    if digits.is_empty() {
        return Some(0);
    }
    i64::from_str_radix(std::str::from_utf8(digits).ok()?, 8)
        .ok()
        .filter(|number| *number >= 0)
}

/// Two's complement, big-endian, in all bits but the first one.
fn binary(field: &[u8]) -> Option<i64> {
    let negative = field[0] & 0x40 != 0;
    let mut value = if negative { -1_i64 } else { 0 };
    for (at, byte) in field.iter().enumerate() {
        let byte = match (at, negative) {
            (0, true) => byte | 0x80,
            (0, false) => byte & 0x7f,
            _ => *byte,
        };
        value = value.checked_mul(256)?.checked_add(i64::from(byte))?;
    }
    Some(value)
}

/// Reads pax records, `LENGTH KEY=VALUE\n`, by their lengths: a value may hold any byte.
pub(crate) fn pax_records(mut data: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let mut records = Vec::new();
    // Some programs pad with NULs.
    while !data.iter().all(|byte| *byte == 0) {
        let blank = data.iter().take(20).position(|byte| *byte == b' ')?;
        let length: usize = std::str::from_utf8(&data[..blank]).ok()?.parse().ok()?;
        let record = data.get(blank + 1..length)?.strip_suffix(b"\n")?;
        let equals = record.iter().position(|byte| *byte == b'=')?;
        records.push((&record[..equals], &record[equals + 1..]));
        data = &data[length..];
    }
    Some(records)
}

/// Appends one pax record. Its length counts its own digits.
pub(crate) fn push_pax(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    out.extend_from_slice(length.to_string().as_bytes());
    out.push(b' ');
    out.extend_from_slice(key);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}

/// Seconds and nanoseconds of a pax time: `-12.345`.
pub(crate) fn pax_time(value: &[u8]) -> Option<(i64, u32)> {
    let text = std::str::from_utf8(value).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let seconds: i64 = whole.parse().ok()?;
    let nanoseconds: u32 = format!("{fraction:0<9}")[..9].parse().ok()?;
    // -1.25 is a quarter second before -1.
    match (whole.starts_with('-'), nanoseconds) {
        (true, 1..) => Some((seconds.checked_sub(1)?, 1_000_000_000 - nanoseconds)),
        _ => Some((seconds, nanoseconds)),
    }
}

/// What goes into a header that is written.
pub(crate) struct Fields<'a> {
    pub(crate) path: &'a [u8],
    pub(crate) link: &'a [u8],
    pub(crate) type_flag: u8,
    pub(crate) mode: u32,
    pub(crate) user: u32,
    pub(crate) group: u32,
    pub(crate) size: u64,
    pub(crate) time: i64,
    pub(crate) device: (u32, u32),
}

impl Fields<'_> {
    /// Appends the header, with a pax header before it when `records` or something that does not fit asks for one.
    pub(crate) fn write(&self, mut records: Vec<(Vec<u8>, Vec<u8>)>, out: &mut Vec<u8>) {
        let mut note = |key: &[u8], value: &[u8]| records.push((key.to_vec(), value.to_vec()));
        if self.path.len() > 100 {
            note(b"path", self.path);
        }
        if self.link.len() > 100 {
            note(b"linkpath", self.link);
        }
        let fits = |number: i64, digits: u32| (0..1_i64 << (3 * digits)).contains(&number);
        for (key, number, digits) in [
            ("uid", i64::from(self.user), 7),
            ("gid", i64::from(self.group), 7),
            ("size", self.size.cast_signed(), 11),
            ("mtime", self.time, 11),
        ] {
            if !fits(number, digits) {
                note(key.as_bytes(), number.to_string().as_bytes());
            }
        }
        if !records.is_empty() {
            write_pax(records, out);
        }
        out.extend_from_slice(&self.block());
    }

    /// What does not fit is cut or zero here; its pax record has the truth.
    fn block(&self) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        let mut octal = |at: usize, digits: usize, number: i64| {
            let number = if (0..1 << (3 * digits)).contains(&number) {
                number
            } else {
                0
            };
            put(at, format!("{number:0digits$o}\0").as_bytes());
        };
        octal(100, 7, i64::from(self.mode));
        octal(108, 7, i64::from(self.user));
        octal(116, 7, i64::from(self.group));
        octal(124, 11, self.size.cast_signed());
        octal(136, 11, self.time);
        octal(329, 7, i64::from(self.device.0));
        octal(337, 7, i64::from(self.device.1));
        put(0, &self.path[..self.path.len().min(100)]);
        put(156, &[self.type_flag]);
        put(157, &self.link[..self.link.len().min(100)]);
        put(257, b"ustar\x0000");
        put(148, b"        ");
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        block
    }
}

fn write_pax(mut records: Vec<(Vec<u8>, Vec<u8>)>, out: &mut Vec<u8>) {
    records.sort();
    let mut data = Vec::new();
    for (key, value) in &records {
        push_pax(&mut data, key, value);
    }
    let header = Fields {
        path: b"PaxHeader",
        link: b"",
        type_flag: b'x',
        mode: 0o644,
        user: 0,
        group: 0,
        size: data.len() as u64,
        time: 0,
        device: (0, 0),
    };
    out.extend_from_slice(&header.block());
    out.extend_from_slice(&data);
    out.resize(out.len() + padding(data.len() as u64), 0);
}

/// Bytes from the end of `size` bytes of content to the next block.
pub(crate) fn padding(size: u64) -> usize {
    (size.wrapping_neg() % BLOCK as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_every_form() {
        assert_eq!(number(b"0000644\0"), Some(0o644));
        assert_eq!(number(b"   644 \0"), Some(0o644));
        assert_eq!(number(b"\0\0\0\0\0\0\0\0"), Some(0));
        assert_eq!(number(b"12345678"), None, "8 is no octal digit");
        assert_eq!(number(b"-1\0"), None);
        assert_eq!(number(&[0x80, 0, 0, 0, 0, 0x20, 0, 0]), Some(0x20_0000));
        assert_eq!(number(&[0xff; 12]), Some(-1));
        assert_eq!(
            number(&[0x80, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
            None,
            "too large"
        );
    }

    #[test]
    fn pax_records_round_trip_around_a_digit_more() {
        for length in (0..200).chain(985..1005) {
            let value = vec![b'\n'; length];
            let mut data = Vec::new();
            push_pax(&mut data, b"SCHILY.xattr.user.x", &value);
            push_pax(&mut data, b"path", b"a=b");
            let records = pax_records(&data).unwrap();
            assert_eq!(
                records,
                [(&b"SCHILY.xattr.user.x"[..], &value[..]), (b"path", b"a=b")]
            );
        }
    }

    #[test]
    fn damaged_pax_records_are_refused() {
        for data in [
            &b"5 a=b"[..],
            b"99 a=b\n",
            b"x a=b\n",
            b"5 ab\n",
            b"0 a=b\n",
            b"2 \n",
            b"18446744073709551615 a=b\n",
        ] {
            assert!(pax_records(data).is_none(), "{data:?}");
        }
    }

    #[test]
    fn pax_times() {
        assert_eq!(pax_time(b"12"), Some((12, 0)));
        assert_eq!(pax_time(b"12.5"), Some((12, 500_000_000)));
        assert_eq!(pax_time(b"12.1234567899"), Some((12, 123_456_789)));
        assert_eq!(pax_time(b"-1.25"), Some((-2, 750_000_000)));
        assert_eq!(pax_time(b"-0.5"), Some((-1, 500_000_000)));
        assert_eq!(pax_time(b"1e9"), None);
        assert_eq!(pax_time(b"1.-5"), None);
    }
}
