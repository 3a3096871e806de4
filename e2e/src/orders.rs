//! Orders to the operator that leads, by way of a forwarded port: as a person has it who does
//! more than one thing.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use tokio::process::Command;

use crate::command::output;
use crate::forward::Forward;
use crate::scene::Scene;

/// An order waits for its move's end.
const LIMIT: Duration = Duration::from_secs(60);
const ADMIN: u16 = 9090;

/// A way to the operator, until it is dropped.
#[derive(Debug)]
pub struct Orders {
    forward: Forward,
    binary: PathBuf,
}

impl Scene {
    /// A way to give orders to the operator that leads.
    ///
    /// # Errors
    /// When none leads, or no port is forwarded to it.
    pub async fn orders(&self) -> Result<Orders> {
        let leading = self.leading().await?;
        Ok(Orders {
            forward: Forward::to(&self.kubectl, &leading, ADMIN).await?,
            binary: self.setting.binary.clone(),
        })
    }
}

impl Orders {
    /// Gives one, as `hexagram` has it, and waits until it is done.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn give(&self, order: &[&str]) -> Result<()> {
        let admin = format!("http://{}", self.forward.authority);
        let mut command = Command::new(&self.binary);
        command.args(order).args(["--admin", &admin]);
        output(&mut command, LIMIT).await.map(|_| ())
    }
}
