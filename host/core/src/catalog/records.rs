//! What fragments say of DNS: `dns.records`, each with a whole name, and `dns.datacenters`.

use serde_json::Value;

use crate::{declare::Flaw, name::nearest, problem::Severity};

/// A record as a fragment has it, and where it stands there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Recorded {
    /// Whole, with or without the dot at its end.
    pub name: String,
    /// `A`, `CNAME`, ...
    pub rtype: String,
    /// In presentation form.
    pub data: String,
    /// Seconds; `None`: as other answers.
    pub ttl: Option<u32>,
    /// JSON Pointer.
    pub path: String,
}

/// What a fragment says of DNS.
#[derive(Debug, Default)]
pub(super) struct Named {
    pub(super) records: Vec<Recorded>,
    /// Datacenters that the source knows of, in lower case; what is in them it may not report.
    pub(super) datacenters: Vec<String>,
}

const KEYS: [&str; 4] = ["name", "type", "data", "ttl"];

/// Reads the key `dns` of a fragment. What is wrong costs itself.
pub(super) fn read(dns: &Value, flaws: &mut Vec<Flaw>) -> Named {
    let Some(map) = dns.as_object() else {
        flaws.push(flaw("/dns", "`dns` must be a table, with `records`", None));
        return Named::default();
    };
    for key in map.keys().filter(|key| !["records", "datacenters"].contains(&key.as_str())) {
        let message = format!("`{key}` is not supported here and has no effect");
        let hint = Some("a file holds `dns.records`".to_owned());
        let flaw = flaw(&format!("/dns/{key}"), &message, hint);
        flaws.push(Flaw { severity: Severity::Warning, ..flaw });
    }
    let mut list = |key: &str, of: &str| match map.get(key) {
        // A key with nothing behind it says nothing: its records are commented out.
        None | Some(Value::Null) => &[][..],
        Some(Value::Array(list)) => list.as_slice(),
        Some(_) => {
            let message = format!("`{key}` must be a list of {of}");
            flaws.push(flaw(&format!("/dns/{key}"), &message, None));
            &[]
        }
    };
    let (records, datacenters) = (list("records", "tables"), list("datacenters", "names"));
    let records = records.iter().enumerate();
    let records =
        records.filter_map(|(number, it)| record(it, format!("/dns/records/{number}"), flaws));
    let records = records.collect();
    let names = datacenters.iter().filter_map(Value::as_str);
    Named { records, datacenters: names.map(str::to_ascii_lowercase).collect() }
}

fn record(record: &Value, path: String, flaws: &mut Vec<Flaw>) -> Option<Recorded> {
    let Some(map) = record.as_object() else {
        let message = "a record is `{ name, type, data, ttl }`";
        flaws.push(flaw(&path, message, None));
        return None;
    };
    for key in map.keys().filter(|key| !KEYS.contains(&key.as_str())) {
        let hint = nearest(key, KEYS).map(|near| format!("did you mean `{near}`?"));
        flaws.push(flaw(&format!("{path}/{key}"), &format!("a record has no `{key}`"), hint));
    }
    let mut text = |key: &str| match map.get(key) {
        Some(Value::String(text)) => Some(text.clone()),
        Some(_) => {
            flaws.push(flaw(&format!("{path}/{key}"), &format!("`{key}` must be a string"), None));
            None
        }
        None => {
            flaws.push(flaw(&path, &format!("the record has no `{key}`"), None));
            None
        }
    };
    let (name, rtype, data) = (text("name"), text("type"), text("data"));
    let ttl = match map.get("ttl") {
        None | Some(Value::Null) => None,
        Some(ttl) => match ttl.as_u64().and_then(|ttl| i32::try_from(ttl).ok()) {
            Some(ttl) => u32::try_from(ttl).ok(),
            None => {
                let message = "`ttl` must be a whole number of seconds, below 2^31";
                flaws.push(flaw(&format!("{path}/ttl"), message, None));
                return None;
            }
        },
    };
    Some(Recorded { name: name?, rtype: rtype?, data: data?, ttl, path })
}

fn flaw(pointer: &str, message: &str, hint: Option<String>) -> Flaw {
    let (pointer, message) = (pointer.to_owned(), message.to_owned());
    Flaw { severity: Severity::Error, pointer, message, hint }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(dns: &Value) -> (Vec<Recorded>, Vec<String>) {
        let mut flaws = Vec::new();
        let records = read(dns, &mut flaws).records;
        let told = flaws.iter().map(|flaw| format!("{} {}", flaw.pointer, flaw.message)).collect();
        (records, told)
    }

    #[test]
    fn a_record_that_is_wrong_costs_itself() {
        let (records, told) = check(&json!({ "records": [
            { "name": "nas.lan", "type": "A", "data": "10.0.0.5", "ttl": 60 },
            { "name": "www.lan", "type": "CNAME", "data": "nas.lan." },
            { "name": "x.lan", "type": "A" },
            { "name": 1, "type": "A", "data": "10.0.0.5" },
            { "name": "y.lan", "type": "A", "data": "10.0.0.5", "ttl": -1 },
            { "name": "z.lan", "type": "A", "date": "10.0.0.5" },
            "w.lan",
        ], "zones": {} }));
        assert_eq!(records.len(), 2);
        assert_eq!((records[0].ttl, records[1].path.as_str()), (Some(60), "/dns/records/1"));
        assert_eq!(
            told,
            [
                "/dns/zones `zones` is not supported here and has no effect",
                "/dns/records/2 the record has no `data`",
                "/dns/records/3/name `name` must be a string",
                "/dns/records/4/ttl `ttl` must be a whole number of seconds, below 2^31",
                "/dns/records/5/date a record has no `date`",
                "/dns/records/5 the record has no `data`",
                "/dns/records/6 a record is `{ name, type, data, ttl }`",
            ]
        );
        for wrong in [json!([]), json!({ "records": {} }), json!({ "datacenters": "dc2" })] {
            assert_eq!(check(&wrong).1.len(), 1);
        }
    }
}
