//! What is asked of a server before it is used.

use hexagram_core::ShardCount;

/// The form of the keys and their contents. A release that changes it raises it.
pub(super) const SCHEMA: u64 = 1;

/// The oldest release with flags of scripts. Valkey calls itself 7.2 here.
const OLDEST_MAJOR: u64 = 7;

/// Says why the server that gave this `INFO` cannot be used.
pub(super) fn refuse_server(info: &str) -> Option<String> {
    let get = |name: &str| field(info, name);
    let major = get("redis_version").and_then(|version| version.split('.').next()?.parse().ok());
    if major.is_none_or(|major: u64| major < OLDEST_MAJOR) {
        let version = get("redis_version").unwrap_or("without a version");
        return Some(format!(
            "is Redis {version}: use Redis 7.0 or later, or Valkey"
        ));
    }
    if get("role").is_some_and(|role| role != "master") {
        return Some("is a read-only replica: give the primary's address".to_owned());
    }
    if get("cluster_enabled").is_some_and(|enabled| enabled != "0") {
        return Some("runs in cluster mode: use a single server".to_owned());
    }
    let policy = get("maxmemory_policy").unwrap_or("unknown");
    let limited = get("maxmemory").is_none_or(|bytes| bytes != "0");
    (limited && policy != "noeviction").then(|| {
        format!(
            "would drop sessions when its memory is full (maxmemory-policy {policy}): \
             set maxmemory-policy noeviction"
        )
    })
}

/// One line's value in what `INFO` gives.
fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = info.lines();
    lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
}

/// What stands in `hexagram:about`.
pub(super) struct About {
    pub(super) cluster: String,
    pub(super) shards: String,
    pub(super) schema: String,
    pub(super) incarnation: String,
}

impl About {
    /// Reads the script's answer.
    pub(super) fn read(answer: [Option<String>; 4]) -> Self {
        let [cluster, shards, schema, incarnation] = answer.map(Option::unwrap_or_default);
        Self {
            cluster,
            shards,
            schema,
            incarnation,
        }
    }

    /// Says why a store with this in it is not ours.
    pub(super) fn refuse(&self, cluster: &str, shards: ShardCount) -> Option<String> {
        let elsewhere = "give each cluster a database of its own";
        if self.cluster != cluster {
            let theirs = &self.cluster;
            return Some(format!(
                "belongs to cluster {theirs:?}, this is {cluster:?}: {elsewhere}"
            ));
        }
        match self.schema.parse::<u64>() {
            Ok(SCHEMA) => {}
            Ok(newer) if newer > SCHEMA => {
                return Some(format!(
                    "was written by a newer release (schema {newer}, here {SCHEMA}): use that one"
                ));
            }
            _ => {
                let schema = &self.schema;
                return Some(format!("has the unknown schema {schema:?}: {elsewhere}"));
            }
        }
        (self.shards != shards.to_string()).then(|| {
            let theirs = &self.shards;
            format!(
                "was made for {theirs} shards, this cluster has {shards}: set --shards {theirs}, \
                 or {elsewhere}"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(lines: &[&str]) -> String {
        let usual = [
            "redis_version:7.0.15",
            "role:master",
            "maxmemory:0",
            "maxmemory_policy:noeviction",
            "cluster_enabled:0",
        ];
        let name = |line: &str| line.split(':').next().map(str::to_owned);
        let rest = usual
            .iter()
            .filter(|line| !lines.iter().any(|other| name(other) == name(line)));
        let all = lines.iter().chain(rest);
        all.map(|line| format!("{line}\r\n")).collect()
    }

    #[test]
    fn a_plain_server_will_do() {
        assert_eq!(refuse_server(&info(&[])), None);
        let unlimited = ["maxmemory_policy:allkeys-lru"];
        assert_eq!(refuse_server(&info(&unlimited)), None);
    }

    #[test]
    fn other_servers_are_refused() {
        for (lines, why) in [
            (&["redis_version:6.2.14"][..], "Redis 6.2.14"),
            (&["role:slave"], "replica"),
            (&["cluster_enabled:1"], "cluster mode"),
            (
                &["maxmemory:1048576", "maxmemory_policy:volatile-ttl"],
                "maxmemory-policy volatile-ttl",
            ),
        ] {
            let refusal = refuse_server(&info(lines)).unwrap();
            assert!(refusal.contains(why), "{refusal}");
        }
        assert!(refuse_server("").is_some());
    }

    #[test]
    fn only_our_own_store_is_used() {
        let shards = ShardCount::default();
        let about = |cluster: &str, shards: &str, schema: &str| {
            About::read([cluster, shards, schema, "1"].map(|fact| Some(fact.to_owned())))
        };
        assert_eq!(about("c", "64", "1").refuse("c", shards), None);
        for (about, why) in [
            (about("d", "64", "1"), "cluster \"d\""),
            (about("c", "32", "1"), "32 shards"),
            (about("c", "64", "2"), "newer release"),
            (about("c", "64", ""), "unknown schema"),
        ] {
            let refusal = about.refuse("c", shards).unwrap();
            assert!(refusal.contains(why), "{refusal}");
        }
    }
}
