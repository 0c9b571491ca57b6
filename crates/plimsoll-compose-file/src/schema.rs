//! What a compose file may say: every key, the kind of its value, and how files are merged there.
//!
//! One table for all three, so that a key is added in one line. Source: the compose specification's JSON schema.

pub(crate) mod tables;

pub(crate) use tables::PROJECT;

/// A key of a mapping.
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) merge: Merge,
}

/// The kind of a value; short forms become long ones.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// A text.
    Text,
    /// A text, number or truth value, kept as a text; or nothing.
    Scalar,
    /// A whole number.
    Integer,
    /// A whole number that is not below zero.
    Count,
    /// A number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// A time such as `1m30s`.
    Duration,
    /// Bytes, as a number or such as `64m`.
    Size,
    /// One of a few words.
    Word(&'static [&'static str]),
    /// Anything.
    Any,
    /// A path from the folder of the project.
    Path,
    /// A list of such values.
    List(&'static Kind),
    /// A list, or one text that stands for a list of itself.
    TextOrList,
    /// As `TextOrList`, without empty texts.
    Addresses,
    /// A mapping with any keys.
    Map(&'static Kind),
    /// A mapping with these keys, and `x-` ones.
    Object(&'static [Field]),
    /// As `Object`, or one of the first kind.
    Either(&'static Kind, &'static Kind),
    /// `K=V` lines or a mapping: becomes a mapping.
    Pairs,
    /// What only this module's `forms` can read.
    Form(Form),
}

/// Values with a grammar of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Command,
    Ports,
    Expose,
    Mounts,
    Build,
    Context,
    AdditionalContexts,
    DependsOn,
    EnvFile,
    Extends,
    FileReferences,
    Networks,
    Ulimits,
    Hosts,
    Devices,
    Gpus,
    Include,
    Ssh,
    PullPolicy,
    HealthTest,
    Models,
    Requests,
    Count,
    Mode,
    VolumeOptions,
    Paths,
}

/// What a merge does with a value that both files have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Merge {
    /// Mappings key by key, lists one after the other, the rest replaced.
    Natural,
    /// The later one wins whole.
    Replace,
    /// A list, each value once.
    Unique,
    /// A list of mappings: the later one of the same keys wins.
    By(&'static [&'static str]),
    /// A list of files: the later one of the same path wins; without a `target`, that is the `source`.
    ByPath,
    /// `logging`: options merge as long as the driver is the same.
    Logging,
}

const fn field(name: &'static str, kind: Kind) -> Field {
    Field {
        name,
        kind,
        merge: Merge::Natural,
    }
}

impl Field {
    const fn merged(self, merge: Merge) -> Self {
        Self { merge, ..self }
    }
}

impl Kind {
    /// What a value is once it is in its long form.
    pub(crate) fn long(self) -> Self {
        use tables as t;
        match self {
            Self::Form(form) => match form {
                Form::Build => Self::Object(t::BUILD),
                Form::DependsOn => Self::Map(&t::DEPENDENCY_KIND),
                Form::Networks => Self::Map(&t::SERVICE_NETWORK_KIND),
                Form::Models => Self::Map(&t::SERVICE_MODEL_KIND),
                Form::Ulimits => Self::Map(&t::ULIMITS),
                Form::Ports => Self::List(&t::PORT_KIND),
                Form::Mounts => Self::List(&t::MOUNT_KIND),
                Form::FileReferences => Self::List(&t::FILE_REFERENCE_KIND),
                Form::EnvFile => Self::List(&t::ENV_FILE_KIND),
                Form::Devices => Self::List(&t::DEVICE_KIND),
                Form::Gpus | Form::Requests => Self::List(&t::DEVICE_REQUEST_KIND),
                Form::Extends => Self::Object(t::EXTENDS),
                Form::Paths => Self::List(&Self::Path),
                Form::VolumeOptions => Self::Map(&Self::Scalar),
                form => Self::Form(form),
            },
            Self::Either(_, object) => object.long(),
            kind => kind,
        }
    }
}

/// Finds a key.
pub(crate) fn find(fields: &'static [Field], name: &str) -> Option<&'static Field> {
    fields.iter().find(|field| field.name == name)
}

/// The keys that a service may have.
pub fn service_keys() -> impl Iterator<Item = &'static str> {
    tables::SERVICE.iter().map(|field| field.name)
}
