//! Networks in the database.

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use crate::{DEFAULT_NETWORK, Network, NetworkError};

/// A network as `network ls` sees it: also those that are no bridges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkInfo {
    /// 64 hexadecimal digits.
    pub id: String,
    /// What users call it.
    pub name: String,
    /// `bridge`, `host` or `null`.
    pub driver: String,
    /// When it was made, in unix nanoseconds.
    pub created: i64,
    /// What it is made of; none for host and none, and for the default bridge before its first use.
    pub network: Option<Network>,
}

impl NetworkInfo {
    /// Whether it is always there.
    pub fn is_predefined(&self) -> bool {
        is_predefined(&self.name)
    }
}

/// Whether a network of this name is always there.
pub(crate) fn is_predefined(name: &str) -> bool {
    matches!(name, DEFAULT_NETWORK | "host" | "none")
}

const COLUMNS: &str = "SELECT id, name, driver, created, detail FROM network";

pub(crate) fn all(connection: &Connection) -> Result<Vec<NetworkInfo>, NetworkError> {
    let mut statement = connection.prepare_cached(&format!("{COLUMNS} ORDER BY name"))?;
    let rows = statement.query_map([], read)?.collect::<Result<_, _>>()?;
    Ok(rows)
}

/// Every bridge that has been made, the oldest first.
pub(crate) fn bridges(connection: &Connection) -> Result<Vec<Network>, NetworkError> {
    let mut statement = connection.prepare_cached(&format!("{COLUMNS} ORDER BY created, id"))?;
    let rows = statement.query_map([], read)?;
    let networks = rows.map(|row| Ok(row?.network));
    networks.filter_map(Result::transpose).collect()
}

pub(crate) fn by_name(connection: &Connection, name: &str) -> Result<Option<NetworkInfo>, NetworkError> {
    let mut statement = connection.prepare_cached(&format!("{COLUMNS} WHERE name = ?1"))?;
    Ok(statement.query_row([name], read).optional()?)
}

pub(crate) fn by_id(connection: &Connection, id: &str) -> Result<Option<NetworkInfo>, NetworkError> {
    let mut statement = connection.prepare_cached(&format!("{COLUMNS} WHERE id = ?1"))?;
    Ok(statement.query_row([id], read).optional()?)
}

/// A new row; the name must be free.
pub(crate) fn insert(transaction: &Transaction<'_>, network: &Network) -> Result<(), NetworkError> {
    if by_name(transaction, &network.name)?.is_some() {
        return Err(NetworkError::Exists(network.name.clone()));
    }
    transaction.execute(
        "INSERT INTO network (id, name, driver, created) VALUES (?1, ?2, 'bridge', ?3)",
        params![network.id, network.name, plimsoll_store::now()],
    )?;
    update(transaction, network)
}

pub(crate) fn update(transaction: &Transaction<'_>, network: &Network) -> Result<(), NetworkError> {
    let detail = serde_json::to_string(network).expect("maps have text for keys");
    transaction.execute(
        "UPDATE network SET bridge = ?2, subnet = ?3, gateway = ?4, internal = ?5, detail = ?6 WHERE id = ?1",
        params![
            network.id,
            network.bridge,
            network.main_pool().subnet.to_string(),
            network.gateway().to_string(),
            network.internal,
            detail
        ],
    )?;
    Ok(())
}

fn read(row: &Row<'_>) -> rusqlite::Result<NetworkInfo> {
    let detail: String = row.get(4)?;
    let network = match detail.as_str() {
        "{}" => None,
        detail => Some(from_json(4, detail)?),
    };
    Ok(NetworkInfo {
        id: row.get(0)?,
        name: row.get(1)?,
        driver: row.get(2)?,
        created: row.get(3)?,
        network,
    })
}

/// A column of JSON.
pub(crate) fn from_json<T: serde::de::DeserializeOwned>(column: usize, text: &str) -> rusqlite::Result<T> {
    let text_type = rusqlite::types::Type::Text;
    serde_json::from_str(text)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, text_type, Box::new(error)))
}

/// A column that some type reads.
pub(crate) fn parsed<T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>>(
    column: usize,
    text: Option<String>,
) -> rusqlite::Result<Option<T>> {
    let text_type = rusqlite::types::Type::Text;
    text.map(|text| text.parse())
        .transpose()
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, text_type, Box::new(error)))
}
