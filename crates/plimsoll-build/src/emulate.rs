//! Whether programs of a platform run on this machine, and by what.
//!
//! The kernel runs them itself, or by an emulator that somebody has registered with it (`binfmt_misc`), or by one that
//! is registered for the step alone ([`plimsoll_runtime::Emulator`]).

use std::fs;
use std::path::{Path, PathBuf};

use plimsoll_oci::Platform;
use plimsoll_runtime::Emulator;

use crate::error::OpError;

const REGISTERED: &str = "/proc/sys/fs/binfmt_misc";
/// Where Debian's qemu-user-static is.
const PROGRAMS: &str = "/usr/bin";
/// Since then a user namespace may have registrations of its own.
const KERNEL: (u32, u32) = (6, 7);
/// Bytes of an ELF header up to and with the processor.
const HEADER: usize = 20;

/// What runs the programs of a step.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Runs {
    /// The kernel, by itself or by what is registered.
    ByItself,
    /// What is registered, but has to be found under this path in the step.
    Needing(PathBuf),
    /// An emulator for the step alone.
    By(Emulator),
}

/// How an ELF file for a processor begins, and what qemu calls it.
struct Processor {
    architecture: &'static str,
    qemu: &'static str,
    /// 1 for 32 bits, 2 for 64.
    class: u8,
    big_endian: bool,
    machine: u16,
}

/// <https://gitlab.com/qemu-project/qemu/-/blob/master/scripts/qemu-binfmt-conf.sh>
const PROCESSORS: [Processor; 9] = [
    processor("amd64", "x86_64", 2, false, 0x3e),
    processor("386", "i386", 1, false, 0x03),
    processor("arm64", "aarch64", 2, false, 0xb7),
    processor("arm", "arm", 1, false, 0x28),
    processor("riscv64", "riscv64", 2, false, 0xf3),
    processor("ppc64le", "ppc64le", 2, false, 0x15),
    processor("s390x", "s390x", 2, true, 0x16),
    processor("mips64le", "mips64el", 2, false, 0x08),
    processor("loong64", "loongarch64", 2, false, 0x102),
];

const fn processor(
    architecture: &'static str,
    qemu: &'static str,
    class: u8,
    big_endian: bool,
    machine: u16,
) -> Processor {
    Processor {
        architecture,
        qemu,
        class,
        big_endian,
        machine,
    }
}

impl Processor {
    /// The first bytes of its programs, and which bits of them count: not the ABI, and a position-independent program
    /// is as good as another.
    fn pattern(&self) -> (Vec<u8>, Vec<u8>) {
        let mut magic = vec![0_u8; HEADER];
        let mut mask = vec![0xff_u8; HEADER];
        magic[..4].copy_from_slice(b"\x7fELF");
        magic[4] = self.class;
        magic[5] = if self.big_endian { 2 } else { 1 };
        magic[6] = 1;
        mask[7] = 0;
        let (kind, machine) = match self.big_endian {
            true => (17, self.machine.to_be_bytes()),
            false => (16, self.machine.to_le_bytes()),
        };
        magic[kind] = 2;
        mask[kind] = 0xfe;
        magic[18..].copy_from_slice(&machine);
        (magic, mask)
    }
}

/// Works out what runs programs of `platform`. `path` are folders in which emulators are looked for first.
pub(crate) fn runs(platform: &Platform, path: &[PathBuf]) -> Result<Runs, OpError> {
    let host = Platform::host();
    let own = (host.architecture.as_str(), platform.architecture.as_str());
    if own.0 == own.1 || matches!(own, ("amd64", "386") | ("arm64", "arm")) {
        return Ok(Runs::ByItself);
    }
    let known = PROCESSORS
        .iter()
        .find(|processor| processor.architecture == platform.architecture);
    let Some(processor) = known else {
        return Err(impossible(platform, false));
    };
    if let Some(registered) = registered(Path::new(REGISTERED), processor) {
        return Ok(registered);
    }
    let name = format!("qemu-{}-static", processor.qemu);
    let folders = path.iter().map(PathBuf::as_path).chain([Path::new(PROGRAMS)]);
    let program = folders
        .map(|folder| folder.join(&name))
        .find(|program| program.is_file());
    match program {
        Some(program) if kernel() >= KERNEL => {
            let (magic, mask) = processor.pattern();
            Ok(Runs::By(Emulator { program, magic, mask }))
        }
        _ => Err(impossible(platform, true)),
    }
}

/// Returns the platforms whose programs run here, this machine's first. `path` are folders in which emulators are looked
/// for first.
pub fn platforms(path: &[PathBuf]) -> Vec<Platform> {
    let host = Platform::host();
    let others = PROCESSORS
        .iter()
        .map(|processor| Platform::normalised("linux", processor.architecture, None));
    let others = others.filter(|platform| *platform != host && runs(platform, path).is_ok());
    [host.clone()].into_iter().chain(others).collect()
}

fn impossible(platform: &Platform, emulated: bool) -> OpError {
    let host = Platform::host();
    let hint = match emulated {
        false => "compile on `FROM --platform=$BUILDPLATFORM` for `$TARGETPLATFORM`",
        true => {
            "`apt-get install qemu-user-static binfmt-support` lets this machine run them, slowly; or compile on \
             `FROM --platform=$BUILDPLATFORM`"
        }
    };
    OpError::Word {
        message: format!("programs for {platform} do not run on this machine, which is {host}"),
        span: None,
        hint: Some(hint.to_owned()),
    }
}

/// What the kernel knows for a processor, going by the files that say so.
fn registered(folder: &Path, processor: &Processor) -> Option<Runs> {
    let (magic, _) = processor.pattern();
    for entry in fs::read_dir(folder).ok()?.flatten() {
        let Ok(text) = fs::read_to_string(entry.path()) else {
            continue;
        };
        let mut lines = text.lines();
        if lines.next() != Some("enabled") {
            continue;
        }
        let field = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name))
                .map(str::trim)
        };
        let (Some(program), Some(known)) = (field("interpreter "), field("magic ")) else {
            continue;
        };
        if bytes(known).is_none_or(|known| {
            known.len() < HEADER || known[18..HEADER] != magic[18..] || known[4] != magic[4]
        }) {
            continue;
        }
        // With F the kernel has it open; else it is looked for in the root of whoever wants it.
        return Some(match field("flags:").is_some_and(|flags| flags.contains('F')) {
            true => Runs::ByItself,
            false => Runs::Needing(program.into()),
        });
    }
    None
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let byte = |at: usize| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok();
    (0..hex.len()).step_by(2).map(byte).collect()
}

fn kernel() -> (u32, u32) {
    let name = rustix::system::uname();
    let release = name.release().to_string_lossy();
    let mut numbers = release.split(['.', '-']).map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(architecture: &str) -> &'static Processor {
        let found = PROCESSORS.iter().find(|known| known.architecture == architecture);
        found.unwrap()
    }

    #[test]
    fn patterns_are_those_of_qemu() {
        let shown = |architecture: &str| {
            let (magic, mask) = of(architecture).pattern();
            [magic, mask].map(|bytes| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
        };
        assert_eq!(
            shown("arm64"),
            [
                "7f454c460201010000000000000000000200b700",
                "ffffffffffffff00fffffffffffffffffeffffff"
            ]
        );
        assert_eq!(
            shown("s390x"),
            [
                "7f454c4602020100000000000000000000020016",
                "ffffffffffffff00fffffffffffffffffffeffff"
            ]
        );
    }

    #[test]
    fn what_is_registered_is_used() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, state: &str, flags: &str, magic: &str| {
            let text = format!(
                "{state}\ninterpreter /usr/bin/{name}\nflags: {flags}\noffset 0\nmagic {magic}\nmask ff\n"
            );
            fs::write(folder.path().join(name), text).unwrap();
        };
        let arm64 = "7f454c460201010000000000000000000200b700";
        write("java", "enabled", "", "cafebabe");
        write("off", "disabled", "F", arm64);
        fs::write(folder.path().join("register"), "").unwrap();
        assert_eq!(registered(folder.path(), of("arm64")), None);
        write("qemu", "enabled", "", arm64);
        assert_eq!(
            registered(folder.path(), of("arm64")),
            Some(Runs::Needing("/usr/bin/qemu".into()))
        );
        write("qemu", "enabled", "OCF", arm64);
        assert_eq!(registered(folder.path(), of("arm64")), Some(Runs::ByItself));
        assert_eq!(registered(folder.path(), of("riscv64")), None);
    }

    #[test]
    fn what_cannot_run_says_how_it_could() {
        assert_eq!(runs(&Platform::host(), &[]).unwrap(), Runs::ByItself);
        let error = runs(&"linux/vax".parse().unwrap(), &[]).unwrap_err();
        assert!(error.to_string().contains("programs for linux/vax do not run"));
        assert!(error.hint().unwrap().contains("$BUILDPLATFORM"));
    }
}
