//! Bills of materials as [SPDX 2.3] in JSON.
//!
//! [SPDX 2.3]: https://spdx.github.io/spdx-spec/v2.3/

use plimsoll_oci::{Digest, Hasher};
use serde_json::{Value, json};

use crate::{Inventory, Kind, Package};

/// What such a document is called in attestations.
pub const SPDX_PREDICATE: &str = "https://spdx.dev/Document";

const DOCUMENT: &str = "SPDXRef-DOCUMENT";
const ROOT: &str = "SPDXRef-Root";
/// What nobody looked into.
const UNKNOWN: &str = "NOASSERTION";

/// A bill of materials in the making.
#[derive(Clone, Debug)]
pub struct SpdxDocument<'a> {
    /// What it is about: the name of an image or stage.
    pub name: &'a str,
    /// When it was made, `2024-01-02T03:04:05Z`.
    pub created: &'a str,
    /// What made it, `plimsoll-0.1.0`.
    pub tool: &'a str,
    /// `CONTAINER`, or `SOURCE` for a build context.
    pub purpose: &'a str,
}

impl SpdxDocument<'_> {
    /// Returns the document. The same inventory gives the same bytes.
    pub fn json(&self, inventory: &Inventory) -> Value {
        let mut packages = vec![self.root(inventory)];
        let mut relationships = vec![relationship(DOCUMENT, "DESCRIBES", ROOT)];
        for package in &inventory.packages {
            let id = id(package);
            packages.push(describe(package, &id));
            relationships.push(relationship(ROOT, "CONTAINS", &id));
        }
        json!({
            "spdxVersion": "SPDX-2.3",
            "dataLicense": "CC0-1.0",
            "SPDXID": DOCUMENT,
            "name": self.name,
            "documentNamespace": self.namespace(inventory),
            "creationInfo": {
                "creators": [format!("Tool: {}", self.tool)],
                "created": self.created,
            },
            "packages": packages,
            "relationships": relationships,
        })
    }

    /// Unlike any other document's: it goes by what this one says.
    fn namespace(&self, inventory: &Inventory) -> String {
        let mut hasher = Hasher::new();
        for field in [self.name, self.created, self.tool] {
            hasher.field(field);
        }
        for package in &inventory.packages {
            hasher.field(format!("{package:?}"));
        }
        let name: String = self.name.chars().map(allowed).collect();
        format!("https://spdx.org/spdxdocs/{name}-{}", hasher.finish().hex())
    }

    fn root(&self, inventory: &Inventory) -> Value {
        let mut root = json!({
            "name": self.name,
            "SPDXID": ROOT,
            "downloadLocation": UNKNOWN,
            "filesAnalyzed": false,
            "licenseConcluded": UNKNOWN,
            "licenseDeclared": UNKNOWN,
            "copyrightText": UNKNOWN,
            "primaryPackagePurpose": self.purpose,
        });
        if let Some(distribution) = &inventory.distribution {
            root["comment"] = format!("distribution: {}", distribution.qualifier()).into();
        }
        root
    }
}

fn describe(package: &Package, id: &str) -> Value {
    let mut value = json!({
        "name": package.name,
        "SPDXID": id,
        "versionInfo": package.version,
        "downloadLocation": UNKNOWN,
        "filesAnalyzed": false,
        "sourceInfo": format!("{}: {}", source_info(package.kind), package.locations.join(", ")),
        "licenseConcluded": UNKNOWN,
        "licenseDeclared": UNKNOWN,
        "copyrightText": UNKNOWN,
        "externalRefs": [{
            "referenceCategory": "PACKAGE-MANAGER",
            "referenceType": "purl",
            "referenceLocator": package.purl,
        }],
    });
    // People's words for licences are no SPDX expressions; a field that must be one would be invalid by them.
    if !package.licences.is_empty() {
        value["licenseComments"] = format!("declared as: {}", package.licences.join(", ")).into();
    }
    value
}

fn source_info(kind: Kind) -> &'static str {
    match kind {
        Kind::Deb => "found in the database of dpkg",
        Kind::Apk => "found in the database of apk",
        Kind::Npm => "found in files of npm",
        Kind::Pypi => "found in metadata of a Python package",
    }
}

/// An identifier that says what it is about, made unique by the package URL.
fn id(package: &Package) -> String {
    let name: String = package.name.chars().map(allowed).collect();
    let unique = &Digest::of(&package.purl).hex()[..16];
    format!("SPDXRef-Package-{}-{name}-{unique}", package.kind.purl_type())
}

/// Letters, digits, `.` and `-` may stand in an identifier.
fn allowed(character: char) -> char {
    match character.is_ascii_alphanumeric() || matches!(character, '.' | '-') {
        true => character,
        false => '-',
    }
}

fn relationship(from: &str, kind: &str, to: &str) -> Value {
    json!({"spdxElementId": from, "relationshipType": kind, "relatedSpdxElement": to})
}
