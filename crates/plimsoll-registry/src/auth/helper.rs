//! [Credential helpers]: programs `docker-credential-NAME` that speak JSON on their standard streams.
//!
//! [Credential helpers]: https://github.com/docker/docker-credential-helpers#development

use std::io::{self, Write as _};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use super::docker_config::Credentials;

/// The user name that says that the secret is an identity token.
const TOKEN_USER: &str = "<token>";

/// Why a helper did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HelperError {
    /// It could not be run.
    #[error("cannot run `{program}`: {source}")]
    Run {
        /// Its name.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// It said no.
    #[error("`{program} {verb}` failed: {message}")]
    Failed {
        /// Its name.
        program: String,
        /// What it was asked.
        verb: &'static str,
        /// Its own words.
        message: String,
    },
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Entry<'a> {
    #[serde(rename = "ServerURL", default)]
    server: std::borrow::Cow<'a, str>,
    username: std::borrow::Cow<'a, str>,
    secret: std::borrow::Cow<'a, str>,
}

/// Asks for what is known of `server`.
pub(crate) fn get(helper: &str, server: &str) -> Result<Option<Credentials>, HelperError> {
    let answer = match run(helper, "get", server.as_bytes()) {
        // These words are how helpers say that there is nothing.
        Err(HelperError::Failed { message, .. }) if message.contains("credentials not found") => {
            return Ok(None);
        }
        answer => answer?,
    };
    let entry: Entry<'_> = serde_json::from_slice(&answer).map_err(|error| HelperError::Failed {
        program: program(helper),
        verb: "get",
        message: format!("its answer is not what was expected: {error}"),
    })?;
    Ok(Some(match &*entry.username {
        TOKEN_USER => Credentials {
            identity_token: Some(entry.secret.into_owned()),
            ..Credentials::default()
        },
        _ => Credentials {
            user: entry.username.into_owned(),
            password: entry.secret.into_owned(),
            identity_token: None,
        },
    }))
}

/// Has it keep credentials for `server`.
pub(crate) fn store(helper: &str, server: &str, credentials: &Credentials) -> Result<(), HelperError> {
    let (user, secret) = match &credentials.identity_token {
        Some(token) => (TOKEN_USER, token),
        None => (credentials.user.as_str(), &credentials.password),
    };
    let entry = Entry {
        server: server.into(),
        username: user.into(),
        secret: secret.into(),
    };
    let entry = serde_json::to_vec(&entry).expect("text is JSON");
    run(helper, "store", &entry).map(drop)
}

/// Has it forget `server`.
pub(crate) fn erase(helper: &str, server: &str) -> Result<(), HelperError> {
    run(helper, "erase", server.as_bytes()).map(drop)
}

fn program(helper: &str) -> String {
    format!("docker-credential-{helper}")
}

fn run(helper: &str, verb: &'static str, input: &[u8]) -> Result<Vec<u8>, HelperError> {
    let program = program(helper);
    let talk = || {
        let mut child = Command::new(&program)
            .arg(verb)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let written = child.stdin.take().expect("it is piped").write_all(input);
        let output = child.wait_with_output()?;
        match written {
            // One that does not read to the end may still know the answer.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
            _ => Ok(output),
        }
    };
    let output = match talk() {
        Ok(output) => output,
        Err(source) => return Err(HelperError::Run { program, source }),
    };
    if output.status.success() {
        return Ok(output.stdout);
    }
    let message = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    Err(HelperError::Failed {
        program,
        verb,
        message,
    })
}
