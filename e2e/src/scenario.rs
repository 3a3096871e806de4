//! One scenario: its name, its bar, what is done and what came out.

use anyhow::Result;
use tokio::time::Instant;

use crate::evidence;
use crate::logs::Logs;
use crate::report::{self, Row, Verdict};
use crate::scene::Scene;
use crate::setting::Setting;

/// Does `work` and adds what came out to the report; what can be seen of a failure, and
/// what all pods said until then, is kept beside it.
///
/// # Panics
/// When the bar does not hold or the work cannot be done: it is a test.
pub async fn scenario(name: &str, bar: &str, work: impl AsyncFnOnce(&Scene) -> Result<Verdict>) {
    let setting = Setting::read().unwrap_or_else(|error| panic!("{error:#}"));
    let scene = Scene::new(setting, slug(name));
    let start = Instant::now();
    let verdict = verdict(&scene, work).await;
    let row = Row {
        name: name.to_owned(),
        bar: bar.to_owned(),
        figure: verdict.line(),
        passed: verdict.broken.is_empty(),
        seconds: start.elapsed().as_secs(),
    };
    eprintln!("{name}: {}", row.figure);
    let written = report::add(&scene.setting.folder, &head(&scene.setting), row);
    assert!(
        verdict.broken.is_empty(),
        "{name}: {}\nevidence: {}",
        verdict.broken.join("; "),
        evidence::folder(&scene).display()
    );
    written.unwrap_or_else(|error| panic!("{error:#}"));
}

/// What came out of `work`; where the bar does not hold the evidence stays.
async fn verdict(scene: &Scene, work: impl AsyncFnOnce(&Scene) -> Result<Verdict>) -> Verdict {
    let folder = evidence::folder(scene);
    let made = std::fs::create_dir_all(&folder);
    made.unwrap_or_else(|error| panic!("create {}: {error}", folder.display()));
    let logs = Logs::follow(scene.kubectl.clone(), folder.clone());
    let came_out = work(scene).await;
    drop(logs);
    let verdict = came_out.unwrap_or_else(|error| Verdict {
        figure: Vec::new(),
        broken: vec![format!("{error:#}")],
    });
    if verdict.broken.is_empty() {
        // Nobody asks for it; what cannot be removed may stay.
        let _ = std::fs::remove_dir_all(&folder);
    } else {
        evidence::gather(scene).await;
    }
    verdict
}

/// What the figures were taken with.
fn head(setting: &Setting) -> String {
    let Setting {
        clients,
        rate,
        image,
        ..
    } = setting;
    format!(
        "# Hexagram in Kubernetes\n\nImage `{image}`. Load: {clients} legacy and {clients} \
         modern clients, {rate} calls a second each, open loop, every client with a stream. A \
         request whose connection was refused, or closed before anything of the reply came, is \
         sent once more (\"retried\"); every other request without a result failed."
    )
}

/// A name for files: `scale workers 2 -> 4` is `scale-workers-2-4`.
fn slug(name: &str) -> String {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric());
    let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
    words.join("-").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_after_their_scenario() {
        assert_eq!(slug("Scale workers 2 -> 4 -> 2"), "scale-workers-2-4-2");
        assert_eq!(slug("kill -9"), "kill-9");
    }
}
