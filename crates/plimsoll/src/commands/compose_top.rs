//! `compose top`

use std::io::Write as _;
use std::process::ExitCode;

use super::compose::Scope;
use super::compose::members::Which;
use super::containers::containers;
use super::top::processes;
use crate::command_error::CommandError;
use crate::context::Context;
use crate::output::table;

/// Show the processes of the containers of a project
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Services [default: all]
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let scope = Scope::by_name(context)?;
    let mut text = String::new();
    for member in scope.members(&containers(context)?, &args.services, Which::ALL_RUNNING)? {
        let listed = processes(&member.container, &["-ef".to_owned()])?;
        let mut lines = listed.lines();
        let titles = lines.next().unwrap_or_default();
        if text.is_empty() {
            text = format!("SERVICE\t#\t{titles}");
        }
        let number = match member.is_one_off {
            true => String::new(),
            false => member.number.to_string(),
        };
        for line in lines {
            text.push_str(&format!("\n{}\t{number}\t{line}", member.service));
        }
    }
    if !text.is_empty() {
        write!(context.stdout(), "{}", table::align_with(&text, 4, 2))?;
    }
    Ok(ExitCode::SUCCESS)
}
