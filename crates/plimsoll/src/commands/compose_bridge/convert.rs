//! `compose bridge convert`

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::ExitCode;

use camino::Utf8PathBuf;
use plimsoll_bridge::{ImageFacts, Target, convert, resolved};
use plimsoll_compose_file::Project;

use super::output::Output;
use super::{BUILT_IN, DEFAULT_IMAGE, facts, image};
use crate::command_error::CommandError;
use crate::commands::compose::project;
use crate::context::Context;

/// Convert a project into Kubernetes manifests, a Helm chart, or another model
///
/// What has no counterpart there is named with its line, and what would lose its meaning is refused. `depends_on` keeps
/// it: init containers wait until a service is healthy, or has ended with 0.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder to write; what an earlier conversion left there is replaced
    #[arg(short, long, value_name = "FOLDER", default_value = "out")]
    output: Utf8PathBuf,
    /// Transformation: `kubernetes`, `helm`, or an image; may be given several times [default: kubernetes]
    #[arg(short, long = "transformation", value_name = "TRANSFORMATION")]
    transformations: Vec<String>,
    /// Folder of templates for the image, instead of its own
    #[arg(long, value_name = "FOLDER")]
    templates: Option<Utf8PathBuf>,
    /// Replace the output folder without asking, whatever is in it
    #[arg(short = 'y', long = "yes", visible_alias = "force")]
    yes: bool,
}

/// What makes the files.
enum Transformation {
    BuiltIn(Target),
    Image(String),
}

impl Args {
    /// Templates are for Docker's program, so they call for its image.
    fn transformations(&self) -> Vec<Transformation> {
        let chosen = |name: &String| {
            let built_in = BUILT_IN
                .iter()
                .find(|(own, image, _)| name == own || name == image);
            match built_in {
                Some((_, _, target)) if self.templates.is_none() => Transformation::BuiltIn(*target),
                Some((_, image, _)) => Transformation::Image((*image).to_owned()),
                None => Transformation::Image(name.clone()),
            }
        };
        match self.transformations.is_empty() {
            true => vec![chosen(&DEFAULT_IMAGE.to_owned())],
            false => self.transformations.iter().map(chosen).collect(),
        }
    }
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let project = project(context, |_| {})?;
    let images = facts(context, &project)?;
    if context.compose().dry_run {
        return rehearse(&args, &project, &images, context);
    }
    let output = Output::new(&args.output, args.yes, context)?;
    for transformation in args.transformations() {
        match transformation {
            Transformation::BuiltIn(target) => built(&args, target, &project, &images, &output, context)?,
            Transformation::Image(name) => {
                let model = resolved(&project, &images).map_err(CommandError::diagnostics)?;
                let templates = args.templates.as_deref();
                let code = image::transform(&name, &model, templates, output.path(), context).await?;
                if code != ExitCode::SUCCESS {
                    context.warn(format!("the transformation `{name}` failed: nothing is written"));
                    return Ok(code);
                }
            }
        }
    }
    output.keep()?;
    Ok(ExitCode::SUCCESS)
}

/// `--dry-run`: names and warnings.
fn rehearse(
    args: &Args,
    project: &Project,
    images: &BTreeMap<String, ImageFacts>,
    context: &Context,
) -> Result<ExitCode, CommandError> {
    for transformation in args.transformations() {
        match transformation {
            Transformation::BuiltIn(target) => {
                let conversion = convert(project, images, target).map_err(CommandError::diagnostics)?;
                conversion
                    .warnings
                    .iter()
                    .for_each(|warning| context.show(warning));
                for file in conversion.files {
                    writeln!(context.stdout(), "{}", args.output.join(file.path))?;
                }
            }
            Transformation::Image(name) => writeln!(context.stdout(), "{name} would be run")?,
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn built(
    args: &Args,
    target: Target,
    project: &Project,
    images: &BTreeMap<String, ImageFacts>,
    output: &Output,
    context: &Context,
) -> Result<(), CommandError> {
    let conversion = convert(project, images, target).map_err(CommandError::diagnostics)?;
    conversion
        .warnings
        .iter()
        .for_each(|warning| context.show(warning));
    let kind = match target {
        Target::Kubernetes => "Kubernetes resource",
        Target::Helm => "Helm chart file",
    };
    for file in &conversion.files {
        output.write(file)?;
        writeln!(context.stdout(), "{kind} {} created", file.path)?;
    }
    let secrets: Vec<String> = conversion
        .files
        .iter()
        .filter(|file| file.is_secret)
        .map(|file| format!("`{}`", args.output.join(&file.path)))
        .collect();
    if !secrets.is_empty() {
        let files = secrets.join(", ");
        context.warn(format!(
            "{files}: base64 hides no secret: keep it out of repositories"
        ));
    }
    Ok(())
}
