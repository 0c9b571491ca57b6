//! What every command is given: where state lives, settings, doors opened on first use, the streams.

use std::io::{self, IsTerminal as _, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use camino::{Utf8Path, Utf8PathBuf};
use plimsoll_image::Images;
use plimsoll_registry::Registry;
use plimsoll_store::Store;

use crate::command_error::CommandError;
use crate::commands::compose::ComposeArgs;
use crate::env;
use crate::progress::{Display, Mode, Outlet};
use crate::settings::Settings;
use crate::trouble;

/// Flags that stand before the command.
#[derive(clap::Args, Clone, Debug, Default)]
#[command(next_help_heading = "Global options")]
pub(crate) struct GlobalArgs {
    /// Keep all state below this folder, so that two roots never meet [default: /var/lib/plimsoll as root]
    #[arg(long, value_name = "DIR", env = env::PLIMSOLL_ROOT, hide_env_values = true)]
    pub(crate) root: Option<Utf8PathBuf>,
    /// Read this settings file too, after the system's and the user's
    #[arg(long, value_name = "FILE", env = env::PLIMSOLL_CONFIG, hide_env_values = true)]
    pub(crate) settings: Option<Utf8PathBuf>,
    /// When to use colour
    #[arg(long, value_name = "WHEN", value_enum, default_value_t)]
    pub(crate) color: ColorWhen,
    /// How much to log on stderr about the program's own doings
    #[arg(short = 'l', long, value_name = "LEVEL", value_enum, default_value_t)]
    pub(crate) log_level: LogLevel,
    /// Log everything: `--log-level debug`
    #[arg(short = 'D', long)]
    pub(crate) debug: bool,
    /// Docker's configuration folder, for credentials [default: ~/.docker]
    #[arg(long, value_name = "DIR", env = env::DOCKER_CONFIG, hide_env_values = true)]
    pub(crate) config: Option<Utf8PathBuf>,
    /// Accepted for Docker's sake: Plimsoll has no daemon to talk to
    #[arg(short = 'H', long, value_name = "HOST")]
    pub(crate) host: Vec<String>,
    /// Accepted for Docker's sake: there is one context
    #[arg(short = 'c', long, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// Accepted for Docker's sake
    #[arg(long, hide = true)]
    pub(crate) tls: bool,
    /// Accepted for Docker's sake
    #[arg(long, hide = true)]
    pub(crate) tlsverify: bool,
    /// Accepted for Docker's sake
    #[arg(long, hide = true, value_name = "FILE")]
    pub(crate) tlscacert: Option<String>,
    /// Accepted for Docker's sake
    #[arg(long, hide = true, value_name = "FILE")]
    pub(crate) tlscert: Option<String>,
    /// Accepted for Docker's sake
    #[arg(long, hide = true, value_name = "FILE")]
    pub(crate) tlskey: Option<String>,
    /// Print the version
    #[arg(short = 'v', long)]
    pub(crate) version: bool,
}

/// `--color`
#[derive(clap::ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ColorWhen {
    /// When the output is a terminal.
    #[default]
    Auto,
    /// Even when it is not.
    Always,
    /// Not at all.
    Never,
}

/// `--log-level`
#[derive(clap::ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum LogLevel {
    /// Everything.
    Debug,
    /// What happens.
    Info,
    /// What looks wrong.
    #[default]
    Warn,
    /// What went wrong.
    Error,
    /// As `error`.
    Fatal,
}

/// Waits for the network within work that is not async itself: on a thread with a loop of its own.
pub(crate) fn apart<T: Send>(
    work: impl Future<Output = Result<T, CommandError>> + Send,
) -> Result<T, CommandError> {
    let wait = || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(work)
    };
    match std::thread::scope(|scope| scope.spawn(wait).join()) {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// What every command is given.
pub(crate) struct Context {
    global: GlobalArgs,
    compose: ComposeArgs,
    settings: OnceLock<Settings>,
    store: OnceLock<Store>,
    registry: OnceLock<Arc<Registry>>,
    stdout_closed: AtomicBool,
}

impl Context {
    pub(crate) fn new(global: GlobalArgs, compose: ComposeArgs) -> Self {
        start_log(&global);
        Self {
            global,
            compose,
            settings: OnceLock::new(),
            store: OnceLock::new(),
            registry: OnceLock::new(),
            stdout_closed: AtomicBool::new(false),
        }
    }

    /// Flags between `compose` and its command.
    pub(crate) fn compose(&self) -> &ComposeArgs {
        &self.compose
    }

    /// Says once what of Docker's global flags has no effect here.
    pub(crate) fn note_ignored(&self) {
        let global = &self.global;
        let flags = [
            ("--host", !global.host.is_empty()),
            ("--context", global.context.is_some()),
            ("--tls", global.tls),
            ("--tlsverify", global.tlsverify),
            ("--tlscacert", global.tlscacert.is_some()),
            ("--tlscert", global.tlscert.is_some()),
            ("--tlskey", global.tlskey.is_some()),
            (env::DOCKER_HOST, env::var(env::DOCKER_HOST).is_some()),
        ];
        let given: Vec<_> = flags
            .iter()
            .filter(|(_, given)| *given)
            .map(|(flag, _)| format!("`{flag}`"))
            .collect();
        if !given.is_empty() {
            self.warn(format_args!(
                "{} has no effect: Plimsoll works on this machine, without a daemon",
                given.join(", ")
            ));
        }
    }

    /// Folder of all state.
    pub(crate) fn root(&self) -> Utf8PathBuf {
        root_folder(self.global.root.as_deref())
    }

    /// Folder of sockets, locks and what else does not outlive a boot.
    pub(crate) fn run_folder(&self) -> Utf8PathBuf {
        run_folder(self.global.root.as_deref())
    }

    /// Settings of all files.
    pub(crate) fn settings(&self) -> Result<&Settings, CommandError> {
        once(&self.settings, || Settings::load(self.global.settings.as_deref()))
    }

    /// The store, opened or made.
    pub(crate) fn store(&self) -> Result<&Store, CommandError> {
        once(&self.store, || {
            if let Some(warning) = crate::rootless::joined()? {
                self.warn(warning);
            }
            Ok(Store::open(&self.root(), &self.run_folder())?)
        })
    }

    /// Docker's configuration folder, for credentials.
    pub(crate) fn docker_config(&self) -> Result<Utf8PathBuf, CommandError> {
        self.docker_folder().ok_or_else(|| {
            CommandError::user("there is no folder for credentials: `HOME` is not set")
                .hint("name one with `--config DIR`")
        })
    }

    fn docker_folder(&self) -> Option<Utf8PathBuf> {
        let named = self.global.config.clone();
        named.or_else(|| env::var(env::HOME).map(|home| Utf8PathBuf::from(home).join(".docker")))
    }

    /// The way to registries, with the settings' mirrors.
    pub(crate) fn registry(&self) -> Result<Arc<Registry>, CommandError> {
        once(&self.registry, || {
            Ok(Arc::new(Registry::new(
                self.settings()?.registry.clone(),
                self.docker_folder(),
            )))
        })
        .cloned()
    }

    /// The images of the store.
    pub(crate) fn images(&self) -> Result<Images, CommandError> {
        Ok(Images::new(self.store()?, self.registry()?))
    }

    /// This program, for starting its other roles; right even after an update replaced the file.
    pub(crate) fn program(&self) -> PathBuf {
        crate::rootless::program()
    }

    /// Starts drawing progress on stderr; `verb` says what goes on, `mode` is what the flag said.
    pub(crate) fn progress(&self, verb: &'static str, mode: Option<Mode>) -> Result<Display, CommandError> {
        self.progress_on(Outlet::Stderr, verb, mode)
    }

    /// As [`Context::progress`], drawn where asked for.
    pub(crate) fn progress_on(
        &self,
        outlet: Outlet,
        verb: &'static str,
        mode: Option<Mode>,
    ) -> Result<Display, CommandError> {
        let color = self.colors(outlet.is_terminal());
        Ok(Display::start(outlet, self.progress_mode(mode)?, verb, color))
    }

    /// The flag beats our variable, which beats buildx's.
    pub(crate) fn progress_mode(&self, flag: Option<Mode>) -> Result<Mode, CommandError> {
        if let Some(mode) = flag {
            return Ok(mode);
        }
        for name in [env::PLIMSOLL_PROGRESS, env::BUILDKIT_PROGRESS] {
            if let Some(value) = env::var(name) {
                return <Mode as clap::ValueEnum>::from_str(&value, true).map_err(|_| {
                    CommandError::user(format!("`{value}` in `{name}` is not a form of progress"))
                });
            }
        }
        Ok(Mode::Auto)
    }

    /// Standard output, for data.
    pub(crate) fn stdout(&self) -> Stdout<'_> {
        Stdout {
            inner: io::stdout().lock(),
            closed: &self.stdout_closed,
        }
    }

    /// Standard error, for everything that is not data; styles are stripped where they are not wanted.
    pub(crate) fn stderr(&self) -> anstream::AutoStream<io::StderrLock<'static>> {
        anstream::AutoStream::new(io::stderr().lock(), self.color_choice())
    }

    /// True when stderr shows colour.
    pub(crate) fn color(&self) -> bool {
        self.colors(io::stderr().is_terminal())
    }

    fn colors(&self, is_terminal: bool) -> bool {
        match self.global.color {
            ColorWhen::Always => true,
            ColorWhen::Never => false,
            ColorWhen::Auto if env::var(env::NO_COLOR).is_some() => false,
            ColorWhen::Auto => env::forces_color() || is_terminal,
        }
    }

    fn color_choice(&self) -> anstream::ColorChoice {
        if self.color() {
            anstream::ColorChoice::Always
        } else {
            anstream::ColorChoice::Never
        }
    }

    /// Prints one `warning:` line.
    pub(crate) fn warn(&self, message: impl std::fmt::Display) {
        let style = anstyle::AnsiColor::Yellow.on_default().bold();
        let _ = writeln!(self.stderr(), "{style}warning{style:#}: {message}");
    }

    /// Prints a diagnostic that ends nothing.
    pub(crate) fn show(&self, diagnostic: &plimsoll_diagnostics::Diagnostic) {
        let _ = write!(
            self.stderr(),
            "{}",
            plimsoll_diagnostics::render(diagnostic, self.color())
        );
    }

    /// Prints an error and returns its exit code. Output nobody reads any more is no error.
    pub(crate) fn report(&self, error: &CommandError) -> ExitCode {
        if self.stdout_closed.load(Ordering::Relaxed) {
            return ExitCode::SUCCESS;
        }
        let _ = error.print(&mut self.stderr(), self.color());
        if let Some(hint) = trouble::hint(&error.to_string(), &self.root()) {
            let hint = plimsoll_diagnostics::emit::text::hint(&hint, self.color());
            let _ = write!(self.stderr(), "{hint}");
        }
        ExitCode::from(error.exit_code())
    }
}

/// Standard output; remembers that its reader has gone.
pub(crate) struct Stdout<'a> {
    inner: io::StdoutLock<'static>,
    closed: &'a AtomicBool,
}

impl Stdout<'_> {
    fn watch<T>(&self, result: io::Result<T>) -> io::Result<T> {
        if result
            .as_ref()
            .is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
        {
            self.closed.store(true, Ordering::Relaxed);
        }
        result
    }
}

impl Write for Stdout<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = self.inner.write(bytes);
        self.watch(result)
    }

    fn flush(&mut self) -> io::Result<()> {
        let result = self.inner.flush();
        self.watch(result)
    }
}

fn once<T>(cell: &OnceLock<T>, make: impl FnOnce() -> Result<T, CommandError>) -> Result<&T, CommandError> {
    match cell.get() {
        Some(value) => Ok(value),
        None => {
            let value = make()?;
            Ok(cell.get_or_init(|| value))
        }
    }
}

/// Folder of all state, where `--root` says `given`.
pub(crate) fn root_folder(given: Option<&Utf8Path>) -> Utf8PathBuf {
    match given {
        Some(root) => absolute(root),
        None if crate::rootless::is_ordinary_user() => {
            xdg(env::XDG_DATA_HOME, ".local/share").join("plimsoll")
        }
        None => plimsoll_store::default_root(),
    }
}

/// Folder of what does not outlive a boot, where `--root` says `given`.
pub(crate) fn run_folder(given: Option<&Utf8Path>) -> Utf8PathBuf {
    match given {
        Some(root) => absolute(root).join("run"),
        None if crate::rootless::is_ordinary_user() => match env::var(env::XDG_RUNTIME_DIR) {
            Some(folder) => Utf8PathBuf::from(folder).join("plimsoll"),
            None => root_folder(None).join("run"),
        },
        None => "/run/plimsoll".into(),
    }
}

fn absolute(path: &Utf8Path) -> Utf8PathBuf {
    camino::absolute_utf8(path).unwrap_or_else(|_| path.to_owned())
}

/// An XDG folder, or its default below the home folder.
pub(crate) fn xdg(variable: &str, default: &str) -> Utf8PathBuf {
    match env::var(variable) {
        Some(folder) => folder.into(),
        None => Utf8PathBuf::from(env::var(env::HOME).unwrap_or_else(|| "/".to_owned())).join(default),
    }
}

fn start_log(global: &GlobalArgs) {
    let level = match global.log_level {
        _ if global.debug => tracing::Level::DEBUG,
        LogLevel::Debug => tracing::Level::DEBUG,
        LogLevel::Info => tracing::Level::INFO,
        LogLevel::Warn => tracing::Level::WARN,
        LogLevel::Error | LogLevel::Fatal => tracing::Level::ERROR,
    };
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(io::stderr)
        .with_ansi(false)
        .with_target(false)
        .init();
}
