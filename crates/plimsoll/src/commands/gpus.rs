//! What `--gpus` says: Docker's words for devices by what they can do.

use std::collections::BTreeMap;

use plimsoll_container::DeviceRequest;

use super::build::csv;

/// Parses `all`, a number, or fields such as `driver=nvidia,"device=0,1","capabilities=compute,utility"`.
pub(crate) fn parse(text: &str) -> Result<DeviceRequest, String> {
    let mut fields = BTreeMap::new();
    for field in csv::fields(text)? {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key, value),
            None => ("count", field.as_str()),
        };
        if !["driver", "count", "device", "capabilities", "options"].contains(&key) {
            return Err(format!("unexpected key '{key}' in '{field}'"));
        }
        if fields.insert(key.to_owned(), value.to_owned()).is_some() {
            return Err(format!("gpu request key '{key}' can be specified only once"));
        }
    }
    let words = |key: &str| {
        let value = fields.get(key)?;
        Some(value.split(',').map(str::to_owned).collect::<Vec<_>>())
    };
    let device_ids = words("device");
    let count = match fields.get("count").map(String::as_str) {
        Some("all") => -1,
        Some(text) => text
            .parse()
            .map_err(|_| format!("count ({text}) must be value or \"all\""))?,
        None => i64::from(device_ids.is_none()),
    };
    let mut capabilities = words("capabilities").unwrap_or_default();
    capabilities.push("gpu".to_owned());
    let mut options = BTreeMap::new();
    if let Some(text) = fields.get("options") {
        for pair in csv::fields(text)? {
            let (key, value) = pair.split_once('=').unwrap_or((&pair, ""));
            options.insert(key.to_owned(), value.to_owned());
        }
    }
    Ok(DeviceRequest {
        driver: fields.remove("driver").unwrap_or_default(),
        count,
        device_ids,
        capabilities: Some(vec![capabilities]),
        options: Some(options),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_docker_reads_them() {
        let all = parse("all").unwrap();
        assert_eq!((all.count, all.driver.as_str(), &all.device_ids), (-1, "", &None));
        assert_eq!(all.capabilities, Some(vec![vec!["gpu".to_owned()]]));
        assert_eq!(parse("2").unwrap().count, 2);
        let text = "driver=nvidia,\"device=0,GPU-1\",\"capabilities=compute,utility\",\"options=a=b,c=d\"";
        let one = parse(text).unwrap();
        assert_eq!((one.count, one.driver.as_str()), (0, "nvidia"));
        assert_eq!(one.device_ids.unwrap(), ["0", "GPU-1"]);
        assert_eq!(one.capabilities.unwrap()[0], ["compute", "utility", "gpu"]);
        assert_eq!(one.options.unwrap().len(), 2);
        assert_eq!(parse("driver=amd").unwrap().count, 1);
    }

    #[test]
    fn as_docker_refuses_them() {
        for (text, said) in [
            ("foo=1", "unexpected key 'foo' in 'foo=1'"),
            ("some", "count (some) must be value or \"all\""),
            ("count=1,2", "gpu request key 'count' can be specified only once"),
        ] {
            assert_eq!(parse(text).unwrap_err(), said);
        }
    }
}
