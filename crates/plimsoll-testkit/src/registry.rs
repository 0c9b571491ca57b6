//! The base kit: stand-in base images and a registry that serves them.

use std::fs;
use std::io::{self, Write as _};
use std::process::Command;

use camino::{Utf8Path, Utf8PathBuf};

/// The repository's top folder.
pub(crate) fn top() -> Utf8PathBuf {
    let here = Utf8Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors()
        .nth(2)
        .expect("this crate lies two levels below the top")
        .to_owned()
}

/// Runs `tools/basekit/basekit` and returns what it prints.
///
/// # Panics
/// When it fails.
pub fn basekit(args: &[&str]) -> String {
    let program = top().join("tools/basekit/basekit");
    let output = Command::new(&program)
        .args(args)
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "basekit {args:?} failed:\n{stderr}");
    String::from_utf8(output.stdout).expect("basekit prints text")
}

/// Returns the OCI archive of a stand-in, which is made when it is not there.
///
/// Nearly every test asks, in a process of its own, and Python takes longer to start than a container: so the answer is
/// written down.
pub fn basekit_archive(image: &str) -> Utf8PathBuf {
    let note = top().join("target/basekit").join(image.replace(['/', ':'], "_"));
    let known = fs::read_to_string(&note).map(Utf8PathBuf::from);
    if let Ok(path) = known
        && path.is_file()
    {
        return path;
    }
    let path = Utf8PathBuf::from(basekit(&["path", image]).trim());
    let written = note_down(&note, &path);
    written.unwrap_or_else(|error| panic!("{note}: {error}"));
    path
}

/// Several may write it at once: each a file of its own.
fn note_down(note: &Utf8Path, path: &Utf8Path) -> io::Result<()> {
    let folder = note.parent().expect("it is below the top");
    fs::create_dir_all(folder)?;
    let mut new = tempfile::NamedTempFile::new_in(folder)?;
    new.write_all(path.as_str().as_bytes())?;
    new.persist(note)?;
    Ok(())
}

/// A registry with stand-ins; stopped when dropped.
pub struct BaseRegistry {
    /// `127.0.0.1:PORT`
    pub host: String,
    port: u64,
    /// Where its log of requests lies.
    pub folder: Utf8PathBuf,
}

impl BaseRegistry {
    /// Serves `images` on a free port, all that have been made when none is named; `options` are further ones of
    /// `basekit serve`.
    ///
    /// # Panics
    /// When it does not start.
    pub fn serve(images: &[&str], options: &[&str]) -> Self {
        let only: &[&str] = if images.is_empty() { &[] } else { &["--images"] };
        let args = [&["serve", "--port", "0"], only, images, options].concat();
        let answer: serde_json::Value =
            serde_json::from_str(&basekit(&args)).expect("basekit serve prints JSON");
        let text = |key: &str| answer[key].as_str().unwrap_or_default().to_owned();
        Self {
            host: text("host"),
            port: answer["port"].as_u64().expect("a port"),
            folder: text("dir").into(),
        }
    }

    /// The requests so far, as lines of JSON; needs the option `--log-requests`.
    pub fn requests(&self) -> String {
        std::fs::read_to_string(self.folder.join("requests.jsonl")).unwrap_or_default()
    }
}

impl Drop for BaseRegistry {
    fn drop(&mut self) {
        let program = top().join("tools/basekit/basekit");
        let _ = Command::new(program)
            .args(["stop", "--port", &self.port.to_string()])
            .output();
    }
}
