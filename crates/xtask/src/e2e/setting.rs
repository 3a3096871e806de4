//! Where the tests run, as the variables that tell them.

use super::*;

use crate::cluster::{self, IMAGE, Kind, METRICS, NEXT, STORE};

/// Where everything is installed; deleted as a whole.
const NAMESPACE: &str = "hexagram-e2e";
/// What the tests call it.
const RELEASE: &str = "hexagram";
/// Of each era, by default, where breaking things is the point.
const FEW: u32 = 50;
/// Of each era, for figures.
const MANY: u32 = 300;

/// A cluster, and what is done to it.
pub(super) struct Setting<'a> {
    selection: &'a Selection,
    kubeconfig: PathBuf,
    folder: PathBuf,
    variables: Vec<(&'static str, String)>,
}

impl<'a> Setting<'a> {
    pub(super) fn new(
        workspace: &Workspace,
        cache: &Cache,
        selection: &'a Selection,
    ) -> Result<Self> {
        let kind = Kind::new(workspace, cache);
        let kubeconfig = match &selection.kubeconfig {
            Some(file) => {
                fs::canonicalize(file).with_context(|| format!("find {}", file.display()))?
            }
            None => kind.kubeconfig().to_owned(),
        };
        let folder = workspace.target.join("e2e");
        let binary = selection.binary.clone();
        let binary = binary.unwrap_or_else(|| workspace.release_binary());
        let paths = [
            ("HEXAGRAM_E2E_KUBECONFIG", &kubeconfig),
            ("HEXAGRAM_E2E_FOLDER", &folder),
            ("HEXAGRAM_BIN", &binary),
        ];
        let paths = paths.map(|(name, path)| (name, path.display().to_string()));
        let variables = paths.into_iter().chain(selection.variables());
        let variables = variables.chain(selection.images()).collect();
        Ok(Self {
            selection,
            kubeconfig,
            folder,
            variables,
        })
    }

    /// Runs the tests, from an empty namespace, and prints their report.
    pub(super) fn run(&self, workspace: &Workspace, cache: &Cache) -> Result<Tally> {
        self.remove().context("remove what an earlier run left")?;
        if self.folder.exists() {
            fs::remove_dir_all(&self.folder).context("remove the report of the last run")?;
        }
        fs::create_dir_all(&self.folder).context("make the folder of the report")?;
        let mut tally = Tally::default();
        for form in self.selection.forms() {
            tally += self.run_form(form, workspace, cache)?;
        }
        self.print_report()?;
        Ok(tally)
    }

    fn run_form(&self, form: &str, workspace: &Workspace, cache: &Cache) -> Result<Tally> {
        let mut task = Task::start(form);
        let finished = process::run(self.tests(form, workspace, cache)?, &mut task)?;
        let tally = Tally::of(finished.lines.iter().map(String::as_str));
        let ended = finished.require_success(&task).map(|_| ());
        task.end(if ended.is_ok() { "ok" } else { "FAILED" });
        // Cargo fails as well when a test does: that one is counted.
        if tally.failed == 0 {
            ended?;
        }
        Ok(tally)
    }

    fn tests(&self, form: &str, workspace: &Workspace, cache: &Cache) -> Result<Command> {
        let mut tests = workspace.cargo(&["test", "--package", "hexagram-e2e", "--test", form]);
        tests
            .args(["--", "--nocapture", "--test-threads=1"])
            .args(&self.selection.only)
            .envs(self.variables.iter().cloned())
            .envs(tools::env(cache)?);
        Ok(tests)
    }

    fn print_report(&self) -> Result<()> {
        let file = self.folder.join("report.md");
        let report = fs::read_to_string(&file)
            .with_context(|| format!("no scenario came to an end: read {}", file.display()))?;
        writeln!(stdout(), "{report}\nreport: {}", file.display())?;
        Ok(())
    }

    /// Uninstalls, and deletes what stays after that for people who install again.
    pub(super) fn remove(&self) -> Result<()> {
        let orders: [(&str, &[&str]); 3] = [
            ("helm", &["uninstall", RELEASE, "--ignore-not-found"]),
            // Workers would wait for an operator to take their shards: it is gone as well.
            (
                "kubectl",
                &["delete", "pods", "--all", "--grace-period=0", "--force"],
            ),
            (
                "kubectl",
                &["delete", "namespace", NAMESPACE, "--ignore-not-found"],
            ),
        ];
        let mut task = Task::start("uninstall");
        let mut order = |(program, args)| process::require(self.client(program, args), &mut task);
        let removed = orders.into_iter().try_for_each(|it| order(it).map(|_| ()));
        let removed = removed.and_then(|()| {
            let kubectl = |args: &[&str]| self.client("kubectl", args);
            kinds::remove(RELEASE, NAMESPACE, kubectl, &mut task)
        });
        task.end(if removed.is_ok() { "ok" } else { "FAILED" });
        removed
    }

    fn client(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.arg("--kubeconfig").arg(&self.kubeconfig);
        command.args(["--namespace", NAMESPACE]).args(args);
        command
    }
}

impl Selection {
    /// The files of tests to run, in this order.
    fn forms(&self) -> &'static [&'static str] {
        match (self.load, self.all) {
            (true, _) => &["load"],
            (_, true) => &["short", "all"],
            _ => &["short"],
        }
    }

    /// The images that [`cluster::load_more`] puts into kind's cluster.
    fn images(&self) -> impl Iterator<Item = (&'static str, String)> {
        let images = [
            ("HEXAGRAM_E2E_NEXT_IMAGE", NEXT),
            ("HEXAGRAM_E2E_STORE_IMAGE", STORE),
            ("HEXAGRAM_E2E_METRICS_IMAGE", METRICS),
        ];
        let loaded = self.all && self.kubeconfig.is_none();
        // The first one is made from what is here.
        let here = move |image: &str| loaded && (image == NEXT || cluster::is_here(image));
        let images = images.into_iter().filter(move |(_, image)| here(image));
        images.map(|(name, image)| (name, image.to_owned()))
    }

    /// What the tests are told besides where files are.
    fn variables(&self) -> Vec<(&'static str, String)> {
        let many = self.all || self.load;
        let clients = self.clients.unwrap_or(if many { MANY } else { FEW });
        let image = self.image.clone().unwrap_or_else(|| IMAGE.to_owned());
        vec![
            ("HEXAGRAM_E2E_NAMESPACE", NAMESPACE.to_owned()),
            ("HEXAGRAM_E2E_IMAGE", image),
            (
                "HEXAGRAM_E2E_URL",
                self.url.clone().unwrap_or_else(Kind::url),
            ),
            ("HEXAGRAM_E2E_CLIENTS", clients.to_string()),
            ("HEXAGRAM_E2E_RATE", self.rate.unwrap_or(1.0).to_string()),
            (
                "HEXAGRAM_E2E_SECONDS",
                self.seconds.unwrap_or(60).to_string(),
            ),
            (
                "HEXAGRAM_E2E_OUTAGE",
                if self.long { 600 } else { 60 }.to_string(),
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(selection: &Selection, name: &str) -> String {
        let mut variables = selection.variables().into_iter();
        variables.find(|(known, _)| *known == name).unwrap().1
    }

    #[test]
    fn figures_are_taken_with_many_clients() {
        let clients = |all, load| {
            let selection = Selection {
                all,
                load,
                ..Selection::default()
            };
            told(&selection, "HEXAGRAM_E2E_CLIENTS")
        };
        assert_eq!(clients(false, false), "50");
        assert_eq!(clients(true, false), "300");
        assert_eq!(clients(false, true), "300");
    }

    #[test]
    fn the_long_form_comes_after_the_short_one() {
        let mut selection = Selection::default();
        assert_eq!(selection.forms(), ["short"]);
        selection.all = true;
        assert_eq!(selection.forms(), ["short", "all"]);
    }

    #[test]
    fn a_cluster_of_others_is_where_they_say() {
        let own = Selection::default();
        assert_eq!(told(&own, "HEXAGRAM_E2E_URL"), "http://127.0.0.1:30080/mcp");
        assert_eq!(told(&own, "HEXAGRAM_E2E_IMAGE"), "hexagram:e2e");
        let others = Selection {
            url: Some("http://node:30080/mcp".into()),
            ..Selection::default()
        };
        assert_eq!(told(&others, "HEXAGRAM_E2E_URL"), "http://node:30080/mcp");
    }
}
