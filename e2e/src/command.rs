//! Child processes that must come to an end.

use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::process::Command;
use tokio::time::timeout;

/// What the command says on stdout.
///
/// # Errors
/// When it cannot be started, fails (with what it said on stderr) or takes longer than
/// `limit`, after which it is killed.
pub(crate) async fn output(command: &mut Command, limit: Duration) -> Result<String> {
    let output = ended(command, limit).await?;
    if !output.status.success() {
        let (what, said) = (describe(command), String::from_utf8_lossy(&output.stderr));
        bail!("`{what}` failed: {}: {}", output.status, said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// How the command ended and what it said, whatever that is.
///
/// # Errors
/// When it cannot be started, or takes longer than `limit`, after which it is killed.
pub(crate) async fn ended(command: &mut Command, limit: Duration) -> Result<Output> {
    let what = describe(command);
    command.stdin(Stdio::null()).kill_on_drop(true);
    timeout(limit, command.output())
        .await
        .with_context(|| format!("`{what}` still runs after {limit:?}"))?
        .with_context(|| format!("start `{what}`"))
}

/// As one would type it, without the flags that say which cluster is meant.
fn describe(command: &Command) -> String {
    let command = command.as_std();
    let program = command.get_program();
    let args = command.get_args().filter(|arg| {
        let arg = arg.to_string_lossy();
        !arg.starts_with("--kubeconfig=") && !arg.starts_with("--namespace=")
    });
    let words = std::iter::once(program).chain(args);
    let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script, "--kubeconfig=file"]);
        command
    }

    #[tokio::test]
    async fn a_failure_names_command_and_reason() {
        let limit = Duration::from_secs(20);
        assert_eq!(output(&mut shell("echo a"), limit).await.unwrap(), "a\n");
        let error = output(&mut shell("echo why >&2; exit 2"), limit).await;
        let text = error.unwrap_err().to_string();
        assert_eq!(
            text,
            "`sh -c echo why >&2; exit 2` failed: exit status: 2: why"
        );
    }

    #[tokio::test]
    async fn a_child_that_hangs_is_given_up() {
        let limit = Duration::from_millis(50);
        let error = output(&mut shell("exec sleep 600"), limit)
            .await
            .unwrap_err();
        assert!(
            error.to_string().contains("still runs after 50ms"),
            "{error}"
        );
    }
}
