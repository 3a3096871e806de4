//! Files in, arguments or errors out. Variables need a process of their own:
//! `tests/process.rs`.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use tempfile::{TempDir, tempdir};

use super::*;

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    config: ConfigArgs,
    /// A global flag, given before or after the role.
    #[arg(long, global = true, default_value = "info")]
    log: String,
    #[command(subcommand)]
    role: Role,
}

#[derive(Debug, Subcommand)]
enum Role {
    Edge(Edge),
    Worker(Worker),
}

#[derive(Debug, clap::Args)]
struct Edge {
    #[arg(long)]
    listen: SocketAddr,
    #[arg(long, default_value_t = 8)]
    routing_spread: u16,
    #[arg(long)]
    auth_required: bool,
    #[arg(long, value_enum, default_value = "auto")]
    routing_mode: Mode,
    #[arg(long = "trusted-proxy")]
    trusted_proxies: Vec<std::net::IpAddr>,
    #[arg(long, hide_env_values = true)]
    auth_key: Option<String>,
    #[arg(long)]
    name: Option<String>,
}

#[derive(Debug, clap::Args)]
struct Worker {
    #[arg(long, default_value_t = 1)]
    store_replicas: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Mode {
    Auto,
    Header,
}

const LISTEN: &str = "listen = \"127.0.0.1:80\"\n";

struct Scenario {
    folder: TempDir,
}

impl Scenario {
    fn with(file: &str) -> Self {
        let folder = tempdir().expect("a temporary folder");
        fs::write(folder.path().join("hexagram.toml"), file).expect("it is writable");
        Self { folder }
    }

    fn parse(&self, args: &str) -> Result<Parsed<Cli>, ConfigError> {
        let file = self.folder.path().join("hexagram.toml");
        let config = ["hexagram".into(), "--config".into(), file.into_os_string()];
        parse(
            config
                .into_iter()
                .chain(args.split_whitespace().map(Into::into)),
        )
    }

    fn edge(&self, args: &str) -> (Edge, Effective) {
        let parsed = self.parse(&format!("edge {args}")).expect("it is valid");
        match parsed.args.role {
            Role::Edge(edge) => (edge, parsed.effective),
            Role::Worker(_) => panic!("asked for an edge"),
        }
    }

    /// The error of an edge, with the folder's name cut off.
    fn error(&self, args: &str) -> String {
        let error = self
            .parse(&format!("edge {args}"))
            .expect_err("it is wrong");
        assert_eq!(error.exit_code(), EXIT_CONFIG, "{error}");
        let folder = format!("{}/", self.folder.path().display());
        error.to_string().replace(&folder, "")
    }
}

#[test]
fn tables_dotted_keys_and_flat_keys_are_the_same() {
    for spelling in [
        "[routing]\nspread = 16\nmode = \"header\"",
        "routing.spread = 16\nrouting.mode = \"header\"",
        "routing-spread = 16\nrouting-mode = \"header\"",
        "routing = { spread = 16, mode = \"header\" }",
    ] {
        let (edge, _) = Scenario::with(&format!("{LISTEN}{spelling}")).edge("");
        assert_eq!((edge.routing_spread, edge.routing_mode), (16, Mode::Header));
    }
}

#[test]
fn arrays_repeat_a_flag_and_booleans_turn_a_switch() {
    let on = "trusted-proxy = [\"10.0.0.1\", \"::1\"]\n[auth]\nrequired = true\n";
    let (edge, _) = Scenario::with(&format!("{LISTEN}{on}")).edge("");
    assert_eq!(edge.trusted_proxies.len(), 2);
    assert!(edge.auth_required);
    let off = "trusted-proxy = []\nauth.required = false\n";
    let (edge, _) = Scenario::with(&format!("{LISTEN}{off}")).edge("");
    assert!(edge.trusted_proxies.is_empty() && !edge.auth_required);
}

#[test]
fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
    let scenario = Scenario::with(&format!("{LISTEN}log = \"warn\"\nrouting.spread = 16\n"));
    let (edge, effective) = scenario.edge("--routing-spread 32");
    assert_eq!(edge.routing_spread, 32);
    assert_eq!(
        effective.get("routing-spread").and_then(Entry::source),
        Some(&Source::Flag)
    );
    assert_eq!(
        effective.get("routing-mode").and_then(Entry::source),
        Some(&Source::Default)
    );
    let (edge, _) = scenario.edge("");
    assert_eq!(edge.routing_spread, 16);
}

#[test]
fn a_global_key_reaches_the_role_and_yields_to_the_flag_on_either_side() {
    let scenario = Scenario::with(&format!("{LISTEN}log = \"warn\"\n"));
    for (args, log) in [
        ("edge", "warn"),
        ("--log debug edge", "debug"),
        ("edge --log debug", "debug"),
    ] {
        let parsed = scenario.parse(args).expect("it is valid");
        assert_eq!(parsed.args.log, log, "{args}");
        let entry = parsed
            .effective
            .get("log")
            .expect("it is a key of every role");
        assert_eq!(
            entry.value().and_then(toml::Value::as_str),
            Some(log),
            "{args}"
        );
    }
}

#[test]
fn one_file_serves_several_roles() {
    let scenario = Scenario::with(&format!("{LISTEN}store.replicas = 3\n"));
    let worker = scenario
        .parse("worker")
        .expect("the edge's key is left alone");
    assert!(matches!(
        worker.args.role,
        Role::Worker(Worker { store_replicas: 3 })
    ));
    scenario.edge("");
}

#[test]
fn a_required_flag_may_come_from_the_file_but_must_come() {
    assert_eq!(Scenario::with(LISTEN).edge("").0.listen.port(), 80);
    let error = Scenario::with("").parse("edge").expect_err("no --listen");
    assert_eq!(error.exit_code(), EXIT_USAGE);
    assert!(error.to_string().contains("--listen"), "{error}");
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_a_suggestion() {
    let scenario = Scenario::with("# limits\n\n[routing]\nsprad = 16\n");
    assert_eq!(
        scenario.error(""),
        "hexagram.toml:4: unknown key `routing-sprad`: did you mean `routing-spread`?"
    );
    let scenario = Scenario::with("\nquux = 1\n");
    assert_eq!(
        scenario.error(""),
        "hexagram.toml:2: unknown key `quux`: keys are the long flags that --help lists"
    );
    let scenario = Scenario::with("config = \"other.toml\"\n");
    assert!(scenario.error("").contains("unknown key `config`"));
}

#[test]
fn a_wrong_value_is_named_with_its_line_even_if_a_flag_replaces_it() {
    for (line, message) in [
        (
            "routing.spread = 70000",
            "`routing-spread`: 70000 is not in 0..=65535",
        ),
        (
            "routing.spread = \"many\"",
            "`routing-spread`: invalid digit found in string; write a whole number in digits",
        ),
        (
            "routing.spread = [1, 2]",
            "`routing-spread`: one value is expected, not an array",
        ),
        (
            "routing.mode = \"best\"",
            "`routing-mode`: possible values are auto, header",
        ),
        (
            "auth.required = 1",
            "`auth-required`: possible values are true, false",
        ),
        (
            "trusted-proxy = [\"::1\", \"me\"]",
            "`trusted-proxy`: invalid IP address syntax; write numbers, as in 127.0.0.1:8080: \
             names are not looked up",
        ),
        (
            "trusted-proxy = [[\"::1\"]]",
            "`trusted-proxy`: an array holds plain values only",
        ),
    ] {
        let error = Scenario::with(&format!("{LISTEN}{line}\n")).error("--routing-spread 1");
        assert_eq!(error, format!("hexagram.toml:2: wrong value for {message}"));
    }
}

#[test]
fn the_first_wrong_line_is_reported() {
    let scenario = Scenario::with("zzz = 1\nrouting.spread = \"many\"\naaa = 1\n");
    assert!(
        scenario
            .error("")
            .starts_with("hexagram.toml:1: unknown key `zzz`")
    );
}

#[test]
fn a_key_set_twice_names_both_lines() {
    let error = Scenario::with("routing-spread = 1\n[routing]\nspread = 2\n").error("");
    assert!(
        error.contains("hexagram.toml:1") && error.contains("hexagram.toml:3"),
        "{error}"
    );
}

#[test]
fn broken_toml_is_named_with_its_line() {
    let error = Scenario::with("listen = \"a\"\n\nrouting = = 1\n").error("");
    assert!(error.starts_with("hexagram.toml:3: "), "{error}");
}

#[test]
fn a_missing_file_is_named() {
    let argv = ["hexagram", "edge", "--config", "/nowhere/hexagram.toml"].map(Into::into);
    let error = parse::<Cli>(argv).expect_err("there is no such file");
    assert!(
        error.to_string().contains("/nowhere/hexagram.toml"),
        "{error}"
    );
    assert_eq!(error.exit_code(), EXIT_CONFIG);
}

#[test]
fn help_and_wrong_flags_are_claps() {
    let scenario = Scenario::with("quux = 1\n");
    let help = scenario
        .parse("edge --help")
        .expect_err("help is asked for");
    assert_eq!(help.exit_code(), 0);
    let text = help.to_string();
    assert!(text.contains("[env: HEXAGRAM_ROUTING_SPREAD=]"), "{text}");
    let error = Scenario::with(LISTEN)
        .parse("edge --sprad 1")
        .expect_err("no such flag");
    assert_eq!(error.exit_code(), EXIT_USAGE);
}

#[test]
fn the_effective_config_is_a_config_with_sources_and_without_secrets() {
    let file =
        format!("{LISTEN}name = \"0x1\"\ntrusted-proxy = [\"::1\"]\n[auth]\nkey = \"hush\"\n");
    let scenario = Scenario::with(&file);
    let (_, effective) = scenario.edge("--routing-mode header");
    let folder = format!("{}/", scenario.folder.path().display());
    let printed = effective.to_string().replace(&folder, "");
    let expected = "\
# auth-key is secret, set by hexagram.toml:5
auth-required = false # default
listen = \"127.0.0.1:80\" # hexagram.toml:1
log = \"info\" # default
name = \"0x1\" # hexagram.toml:2
routing-mode = \"header\" # flag
routing-spread = 8 # default
trusted-proxy = [\"::1\"] # hexagram.toml:3
";
    assert_eq!(printed, expected);
    let (again, _) = Scenario::with(&printed).edge("");
    assert_eq!(
        (again.routing_mode, again.name.as_deref()),
        (Mode::Header, Some("0x1"))
    );
}

#[test]
fn what_is_unset_is_said() {
    let (_, effective) = Scenario::with(LISTEN).edge("");
    assert!(
        effective.to_string().contains("\n# name is unset\n"),
        "{effective}"
    );
    assert!(
        effective.to_string().starts_with("# auth-key is unset\n"),
        "{effective}"
    );
}

#[test]
fn what_the_file_changes_is_told_with_what_wins_over_it() {
    let of = |file: &str, args: &str| Scenario::with(&format!("{LISTEN}{file}")).edge(args).1;
    let before = of("name = \"a\"\nauth-key = \"x\"", "--routing-spread 4");
    let same = of("\nauth-key = \"y\"\nname = \"a\"", "--routing-spread 4");
    assert_eq!(same.changed_in_file(&before).count(), 0);
    let now = of("routing-spread = 5", "--routing-spread 4");
    let changed: Vec<_> = now.changed_in_file(&before).collect();
    assert_eq!(
        changed,
        [("name", None), ("routing-spread", Some(&Source::Flag))]
    );
}

#[tokio::test(start_paused = true)]
async fn what_changes_after_the_file_was_read_is_not_missed() {
    let scenario = Scenario::with(LISTEN);
    let watched = scenario.parse("edge").expect("a configuration").watched;
    let file = scenario.folder.path().join("hexagram.toml");
    fs::write(file, format!("{LISTEN}log = \"debug\"\n")).expect("it is writable");
    let mut watched = watched.expect("there is a file");
    let changed = tokio::time::timeout(Duration::from_secs(10), watched.changed());
    changed.await.expect("the change is seen");
}
