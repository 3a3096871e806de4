//! How large the image is.

use anyhow::{Context, Result};

use crate::nodes::docker;
use crate::scene::Scene;

impl Scene {
    /// Bytes of the image, unpacked; nothing where this machine's Docker has not got it.
    ///
    /// # Errors
    /// When Docker says something else than a number.
    pub async fn image_size(&self) -> Result<Option<u64>> {
        let inspect = [
            "image",
            "inspect",
            "--format={{.Size}}",
            &self.setting.image,
        ];
        let Ok(size) = docker(&inspect).await else {
            return Ok(None);
        };
        let size = size.trim().parse::<u64>();
        size.context("read the size of the image").map(Some)
    }
}
