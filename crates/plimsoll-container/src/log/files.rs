//! Log files that are rotated: `json.log`, then `json.log.1` and older ones, or `json.log.1.gz`.
//!
//! A full file is renamed, never cut off, so whoever has it open reads it to its end. It is compressed by another
//! process (`plimsoll shim compress`), because the supervisor has one thread; until that has finished, the next file may
//! grow past its limit rather than make the container wait.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, IoSlice, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use flate2::Compression;
use flate2::write::GzEncoder;

/// Most lines written at once; the kernel's limit is 1024.
const AT_ONCE: usize = 512;

/// One file of a log, as far as it is to be read.
#[derive(Debug)]
pub(crate) struct LogFile {
    pub(crate) file: File,
    pub(crate) length: u64,
    /// Whether it is compressed.
    pub(crate) packed: bool,
}

/// How long files get and how many there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rotation {
    /// Bytes of a file; None is no limit.
    pub(crate) size: Option<u64>,
    /// Number of files, the present one among them.
    pub(crate) files: u32,
    /// Whether all but the present one are compressed.
    pub(crate) compress: bool,
}

/// The files of one log, for its only writer.
#[derive(Debug)]
pub(crate) struct Files {
    path: PathBuf,
    file: File,
    length: u64,
    rotation: Rotation,
    packer: fn(&Path) -> Command,
    packing: Option<Child>,
}

impl Files {
    /// Opens the log for appending.
    pub(crate) fn open(path: &Path, rotation: Rotation, packer: fn(&Path) -> Command) -> io::Result<Self> {
        let file = append(path)?;
        Ok(Self {
            path: path.to_owned(),
            length: file.metadata()?.len(),
            file,
            rotation,
            packer,
            packing: None,
        })
    }

    /// Writes records and takes from the queue what was written. After an error the rest may be tried again.
    pub(crate) fn write(&mut self, queue: &mut VecDeque<Vec<u8>>) -> io::Result<()> {
        while !queue.is_empty() {
            self.make_room()?;
            let mut room = self
                .rotation
                .size
                .map_or(u64::MAX, |size| size.saturating_sub(self.length));
            let slices: Vec<_> = queue
                .iter()
                .take(AT_ONCE)
                .enumerate()
                .take_while(|(at, record)| {
                    // The record that reaches the limit still goes into this file, as with Docker.
                    let fits = *at == 0 || room > 0;
                    room = room.saturating_sub(record.len() as u64);
                    fits
                })
                .map(|(_, record)| IoSlice::new(record))
                .collect();
            let written = match self.file.write_vectored(&slices) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                written => written?,
            };
            let waiting = queue.len();
            if self.took(queue, written)? && queue.len() == waiting {
                // The last bytes of a full disk; taking them back made room for them, but for nothing more.
                return Err(io::ErrorKind::StorageFull.into());
            }
        }
        Ok(())
    }

    /// Drops what was written from the queue. Half a record is taken back: then it is true.
    fn took(&mut self, queue: &mut VecDeque<Vec<u8>>, mut written: usize) -> io::Result<bool> {
        while let Some(record) = queue.front().filter(|record| record.len() <= written) {
            written -= record.len();
            self.length += record.len() as u64;
            queue.pop_front();
        }
        if written > 0 {
            self.file.set_len(self.length)?;
        }
        Ok(written > 0)
    }

    /// Begins a new file when the present one is full.
    fn make_room(&mut self) -> io::Result<()> {
        if self.rotation.size.is_none_or(|size| self.length < size) || self.is_packing() {
            return Ok(());
        }
        let oldest = self.rotation.files - 1;
        if oldest == 0 {
            remove(&self.path)?;
        } else {
            for suffix in ["", ".gz"] {
                remove(&numbered(&self.path, oldest, suffix))?;
                for number in (1..oldest).rev() {
                    let (from, to) = (
                        numbered(&self.path, number, suffix),
                        numbered(&self.path, number + 1, suffix),
                    );
                    ignore_missing(fs::rename(from, to))?;
                }
            }
            fs::rename(&self.path, numbered(&self.path, 1, ""))?;
        }
        self.file = append(&self.path)?;
        self.length = 0;
        if self.rotation.compress && oldest > 0 {
            self.packing = Some((self.packer)(&numbered(&self.path, 1, "")).spawn()?);
        }
        Ok(())
    }

    fn is_packing(&mut self) -> bool {
        let running = self
            .packing
            .as_mut()
            .is_some_and(|child| matches!(child.try_wait(), Ok(None)));
        if !running {
            self.packing = None;
        }
        running
    }

    /// The files as they are now, the oldest first, opened anew.
    pub(crate) fn snapshot(&self) -> io::Result<Vec<LogFile>> {
        log_files(&self.path)
    }
}

/// What compresses one file; run by the supervisor.
pub(crate) fn packer(path: &Path) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command
        .args(["shim", "compress"])
        .arg(path)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

/// Replaces a file by a compressed one; the role `plimsoll shim compress`.
pub(crate) fn compress(path: &Path) -> io::Result<()> {
    let (target, temporary) = (with_suffix(path, ".gz"), with_suffix(path, ".gz.new"));
    let mut encoder = GzEncoder::new(File::create(&temporary)?, Compression::fast());
    io::copy(&mut File::open(path)?, &mut encoder)?;
    encoder.finish()?;
    // In this order there is always one of both.
    fs::rename(&temporary, &target)?;
    fs::remove_file(path)
}

/// The files of a log, the oldest first; none when the container never ran.
pub(crate) fn log_files(path: &Path) -> io::Result<Vec<LogFile>> {
    let mut numbers: Vec<u32> = others(path)?;
    numbers.sort_unstable_by(|a, b| b.cmp(a));
    numbers.dedup();
    let mut files = Vec::new();
    for number in numbers {
        let plain = open(&numbered(path, number, ""), false)?;
        let found = match plain {
            Some(file) => Some(file),
            None => open(&numbered(path, number, ".gz"), true)?,
        };
        files.extend(found);
    }
    files.extend(open(path, false)?);
    Ok(files)
}

/// The numbers of the rotated files.
fn others(path: &Path) -> io::Result<Vec<u32>> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return Ok(Vec::new());
    };
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let number = |entry: fs::DirEntry| {
        let file = entry.file_name();
        let rest = file.to_str()?.strip_prefix(name)?.strip_prefix('.')?;
        rest.strip_suffix(".gz").unwrap_or(rest).parse().ok()
    };
    Ok(entries.flatten().filter_map(number).collect())
}

fn open(path: &Path, packed: bool) -> io::Result<Option<LogFile>> {
    match File::open(path) {
        Ok(file) => Ok(Some(LogFile {
            length: file.metadata()?.len(),
            file,
            packed,
        })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn append(path: &Path) -> io::Result<File> {
    File::options().create(true).append(true).open(path)
}

fn numbered(path: &Path, number: u32, suffix: &str) -> PathBuf {
    with_suffix(path, &format!(".{number}{suffix}"))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

fn remove(path: &Path) -> io::Result<()> {
    ignore_missing(fs::remove_file(path))
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    fn gzip(path: &Path) -> Command {
        let mut command = Command::new("gzip");
        command.arg(path);
        command
    }

    fn rotation(size: u64, files: u32, compress: bool) -> Rotation {
        Rotation {
            size: Some(size),
            files,
            compress,
        }
    }

    fn texts(path: &Path) -> Vec<String> {
        let read = |mut found: LogFile| {
            let mut text = String::new();
            if found.packed {
                flate2::read::MultiGzDecoder::new(found.file)
                    .read_to_string(&mut text)
                    .unwrap();
            } else {
                found.file.read_to_string(&mut text).unwrap();
            }
            text
        };
        log_files(path).unwrap().into_iter().map(read).collect()
    }

    fn record(text: &str) -> VecDeque<Vec<u8>> {
        [text.as_bytes().to_vec()].into()
    }

    #[test]
    fn a_full_file_makes_room_for_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("json.log");
        let mut files = Files::open(&path, rotation(4, 3, false), gzip).unwrap();
        for text in ["a1", "a2", "b1", "b2long", "c1", "c2", "d1"] {
            files.write(&mut record(text)).unwrap();
        }
        assert_eq!(texts(&path), ["b1b2long", "c1c2", "d1"]);
        // A second writer, after a restart, goes on where the first one was.
        let mut files = Files::open(&path, rotation(4, 3, false), gzip).unwrap();
        files
            .write(&mut ["d2", "e1"].map(|text| text.into()).into())
            .unwrap();
        assert_eq!(texts(&path), ["c1c2", "d1d2", "e1"]);
    }

    #[test]
    fn a_single_file_is_replaced_and_stays_whole_for_its_reader() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("json.log");
        let mut files = Files::open(&path, rotation(2, 1, false), gzip).unwrap();
        files.write(&mut record("old")).unwrap();
        let mut held = files.snapshot().unwrap();
        files.write(&mut record("new")).unwrap();
        assert_eq!(texts(&path), ["new"]);
        let mut text = String::new();
        held[0].file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "old");
    }

    #[test]
    fn old_files_are_compressed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("json.log");
        let mut files = Files::open(&path, rotation(2, 3, true), gzip).unwrap();
        for text in ["aa", "bb", "cc"] {
            files.write(&mut record(text)).unwrap();
            if let Some(mut child) = files.packing.take() {
                child.wait().unwrap();
            }
        }
        assert_eq!(texts(&path), ["aa", "bb", "cc"]);
        let packed: Vec<_> = log_files(&path).unwrap().iter().map(|file| file.packed).collect();
        assert_eq!(packed, [true, true, false]);
    }

    #[test]
    fn compressing_keeps_the_text() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("json.log");
        fs::write(numbered(&path, 1, ""), "old").unwrap();
        compress(&numbered(&path, 1, "")).unwrap();
        assert_eq!(texts(&path), ["old"]);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn half_a_record_is_taken_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("json.log");
        let mut files = Files::open(&path, rotation(99, 1, false), gzip).unwrap();
        let mut queue: VecDeque<Vec<u8>> = ["one", "two"].map(|text| text.into()).into();
        files.file.write_all(b"onet").unwrap();
        assert!(files.took(&mut queue, 4).unwrap());
        assert_eq!((texts(&path), queue.len()), (vec!["one".to_owned()], 1));
        files.write(&mut queue).unwrap();
        assert_eq!(texts(&path), ["onetwo"]);
    }
}
