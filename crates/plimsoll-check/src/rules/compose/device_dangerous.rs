//! A service gets a device that is as good as the host itself.
//!
//! ## Why
//! Disks hold every file of the machine, `/dev/mem` its memory, and `/dev/kmsg` or all of `/dev` much of the rest. Harmless
//! ones, such as a graphics card, a serial line or `/dev/fuse`, are left alone.
//!
//! ## Bad
//! ```yaml
//! services:
//!   disk:
//!     image: example/disk:1
//!     devices:
//!       - /dev/sda:/dev/sda
//! ```
//!
//! ## Good
//! ```yaml
//! services:
//!   meter:
//!     image: example/meter:1
//!     devices:
//!       - /dev/ttyUSB0:/dev/ttyUSB0
//! ```

use plimsoll_diagnostics::Severity;

use super::service::services;
use crate::view::ComposeView;
use crate::{Check, Checker, Finding, Rule};

pub(super) const RULE: Rule = Rule::new("device-dangerous", Severity::Error)
    .aliases(&["CL-0016", "CIS-5.18"])
    .checks(&[Check::Compose(check)]);

const DISKS: [&str; 9] = [
    "/dev/sd",
    "/dev/hd",
    "/dev/vd",
    "/dev/xvd",
    "/dev/nvme",
    "/dev/dm-",
    "/dev/mapper",
    "/dev/mmcblk",
    "/dev/loop",
];

const OTHERS: [&str; 6] = [
    "/dev",
    "/dev/mem",
    "/dev/kmem",
    "/dev/port",
    "/dev/kmsg",
    "/dev/disk",
];

fn check(view: &ComposeView, checker: &mut Checker<'_>) {
    for service in services(view) {
        let devices = service.get("devices").map_or(&[][..], |devices| devices.items());
        for device in devices {
            let path = device
                .text_of("source")
                .or_else(|| device.as_text())
                .unwrap_or_default();
            let path = path.split(':').next().unwrap_or_default().trim_end_matches('/');
            let is_disk = DISKS.iter().any(|disk| path.starts_with(disk));
            if is_disk || OTHERS.contains(&path) {
                let message = format!("service `{}` gets the device `{path}` of the host", service.name);
                checker.report(
                    Finding::at(&device.place, message)
                        .help("leave it out; mount a folder or volume for files"),
                );
            }
        }
    }
}
