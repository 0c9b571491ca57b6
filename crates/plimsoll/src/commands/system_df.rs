//! `system df`

use std::collections::HashMap;
use std::io::Write;
use std::process::ExitCode;

use plimsoll_container::{Container, Volume};
use plimsoll_image::Images;
use plimsoll_store::{CacheItem, DiskUsage};
use serde_json::{Value, json};

use super::containers::containers;
use super::{buildx_du, images, ps};
use crate::command_error::CommandError;
use crate::context::Context;
use crate::output::{rows, units};

/// Show what takes how much of the disk
///
/// Real blocks: what several images share counts once, and the sum is what `du` says.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Show each image, container, volume and item of the build cache
    #[arg(short, long)]
    verbose: bool,
    /// `table`, `json`, or a Go template
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
}

const TABLE: &str = "{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}";
const HEADERS: &[(&str, &str)] = &[
    ("Type", "TYPE"),
    ("TotalCount", "TOTAL"),
    ("Active", "ACTIVE"),
    ("Size", "SIZE"),
    ("Reclaimable", "RECLAIMABLE"),
];

/// Everything that is shown.
struct Survey {
    usage: DiskUsage,
    images: Images,
    containers: Vec<Container>,
    volumes: Vec<Volume>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let images = context.images()?;
    let containers = containers(context)?;
    let survey = Survey {
        usage: images.disk_usage()?,
        volumes: containers.volumes()?,
        containers: containers.list()?,
        images,
    };
    let mut out = context.stdout();
    match (args.verbose, args.format.as_deref()) {
        (false, format) => rows::print(&mut out, format, TABLE, HEADERS, &survey.summary()?)?,
        (true, None) => survey.print_lists(&mut out)?,
        (true, format) => {
            let lists = json!({
                "Images": survey.images()?,
                "Containers": survey.containers(),
                "Volumes": survey.volumes(),
                "BuildCache": survey.cache(),
            });
            rows::print(&mut out, format, "", &[], &[lists])?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

impl Survey {
    fn summary(&self) -> Result<Vec<Value>, CommandError> {
        let mut list = self.images.list()?;
        list.sort_by_key(|line| line.image.id);
        list.dedup_by_key(|line| line.image.id);
        let active = |line: &&plimsoll_image::ImageSummary| {
            let id = line.image.id.to_string();
            self.containers
                .iter()
                .any(|container| container.definition.image_id == id)
        };
        let usage = &self.usage;
        let running = |container: &&Container| container.is_running();
        let sizes = |ids: &mut dyn Iterator<Item = &str>| -> u64 {
            ids.filter_map(|id| usage.containers.get(id)).sum()
        };
        let written: u64 = usage.containers.values().sum();
        let in_use = sizes(&mut self.containers.iter().filter(running).map(Container::id));
        let volumes: u64 = usage.volumes.values().sum();
        let attached: u64 = self
            .volumes
            .iter()
            .filter(|volume| volume.links > 0)
            .filter_map(|volume| usage.volumes.get(&volume.name))
            .sum();
        let own = || usage.cache.iter().filter(|item| !item.shared);
        let size = |items: &mut dyn Iterator<Item = &CacheItem>| items.map(|item| item.size).sum::<u64>();
        let cached = size(&mut own());
        let kept = size(&mut own().filter(|item| item.in_use));
        Ok(vec![
            row(
                "Images",
                [list.len(), list.iter().filter(active).count()],
                usage.images,
                percent(usage.images_reclaimable, usage.images),
            ),
            row(
                "Containers",
                [
                    self.containers.len(),
                    self.containers.iter().filter(running).count(),
                ],
                written,
                percent(written - in_use, written),
            ),
            row(
                "Local Volumes",
                [
                    self.volumes.len(),
                    self.volumes.iter().filter(|volume| volume.links > 0).count(),
                ],
                volumes,
                percent(volumes - attached, volumes),
            ),
            row(
                "Build Cache",
                [
                    usage.cache.len(),
                    usage.cache.iter().filter(|item| item.in_use).count(),
                ],
                cached + usage.builds,
                human(cached - kept),
            ),
        ])
    }

    fn print_lists(&self, out: &mut dyn Write) -> Result<(), CommandError> {
        let lists = [
            ("Images", IMAGES, self.images()?),
            ("Containers", CONTAINERS, self.containers()),
            ("Local Volumes", VOLUMES, self.volumes()),
        ];
        for (title, columns, list) in lists {
            writeln!(out, "{title} space usage:\n")?;
            print_list(out, columns, &list)?;
            writeln!(out)?;
        }
        let cached = self
            .usage
            .cache
            .iter()
            .filter(|item| !item.shared)
            .map(|item| item.size);
        writeln!(
            out,
            "Build cache usage: {}\n",
            human(cached.sum::<u64>() + self.usage.builds)
        )?;
        print_list(out, CACHE, &self.cache())
    }

    fn images(&self) -> Result<Vec<Value>, CommandError> {
        let mut users: HashMap<&str, usize> = HashMap::new();
        for container in &self.containers {
            *users.entry(&container.definition.image_id).or_default() += 1;
        }
        let list = self.images.list()?;
        let rows = list.iter().map(|line| {
            let mut row = images::row(line, false);
            let usage = self.usage.image.get(&line.image.manifest_digest);
            let usage = usage.copied().unwrap_or_default();
            row["Size"] = human(usage.shared + usage.unique).into();
            row["SharedSize"] = human(usage.shared).into();
            row["UniqueSize"] = human(usage.unique).into();
            let count = users.get(line.image.id.to_string().as_str()).copied();
            row["Containers"] = count.unwrap_or_default().to_string().into();
            row
        });
        Ok(rows.collect())
    }

    fn containers(&self) -> Vec<Value> {
        let rows = self.containers.iter().map(|container| {
            let mut row = ps::row(container, false, None);
            let size = self.usage.containers.get(container.id()).copied();
            row["Size"] = human(size.unwrap_or_default()).into();
            row
        });
        rows.collect()
    }

    fn volumes(&self) -> Vec<Value> {
        let rows = self.volumes.iter().map(|volume| {
            let size = self.usage.volumes.get(&volume.name).copied();
            json!({
                "Name": volume.name,
                "Links": volume.links.to_string(),
                "Size": human(size.unwrap_or_default()),
            })
        });
        rows.collect()
    }

    fn cache(&self) -> Vec<Value> {
        let rows = self.usage.cache.iter().map(|item| {
            json!({
                "ID": item.id,
                "Parent": item.parent.clone().unwrap_or_default(),
                "CacheType": item.kind.as_str(),
                "Description": item.description,
                "Size": human(item.size),
                "CreatedSince": units::ago(buildx_du::time(item.created)),
                "LastUsedSince": units::ago(buildx_du::time(item.last_used)),
                "InUse": item.in_use.to_string(),
                "Shared": item.shared.to_string(),
            })
        });
        rows.collect()
    }
}

/// Field and header of each column.
type Columns = &'static [(&'static str, &'static str)];

const IMAGES: Columns = &[
    ("Repository", "REPOSITORY"),
    ("Tag", "TAG"),
    ("ID", "IMAGE ID"),
    ("CreatedSince", "CREATED"),
    ("Size", "SIZE"),
    ("SharedSize", "SHARED SIZE"),
    ("UniqueSize", "UNIQUE SIZE"),
    ("Containers", "CONTAINERS"),
];
const CONTAINERS: Columns = &[
    ("ID", "CONTAINER ID"),
    ("Image", "IMAGE"),
    ("Command", "COMMAND"),
    ("LocalVolumes", "LOCAL VOLUMES"),
    ("Size", "SIZE"),
    ("RunningFor", "CREATED"),
    ("Status", "STATUS"),
    ("Names", "NAMES"),
];
const VOLUMES: Columns = &[("Name", "VOLUME NAME"), ("Links", "LINKS"), ("Size", "SIZE")];
const CACHE: Columns = &[
    ("ID", "CACHE ID"),
    ("CacheType", "CACHE TYPE"),
    ("Size", "SIZE"),
    ("CreatedSince", "CREATED"),
    ("LastUsedSince", "LAST USED"),
    ("InUse", "IN USE"),
    ("Shared", "SHARED"),
];

fn print_list(out: &mut dyn Write, columns: Columns, list: &[Value]) -> Result<(), CommandError> {
    let fields: Vec<String> = columns
        .iter()
        .map(|(field, _)| format!("{{{{.{field}}}}}"))
        .collect();
    rows::print(out, None, &fields.join("\t"), columns, list)
}

fn row(kind: &str, [total, active]: [usize; 2], size: u64, reclaimable: String) -> Value {
    json!({
        "Type": kind,
        "TotalCount": total.to_string(),
        "Active": active.to_string(),
        "Size": human(size),
        "Reclaimable": reclaimable,
    })
}

fn percent(part: u64, whole: u64) -> String {
    match whole {
        0 => human(part),
        _ => format!("{} ({}%)", human(part), part * 100 / whole),
    }
}

fn human(bytes: u64) -> String {
    units::human_size_with(bytes, 4)
}
