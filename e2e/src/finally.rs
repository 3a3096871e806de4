//! What was broken is put right, whatever came of it.

use anyhow::Result;

/// Does `work`, then `mend`, also when the work failed: the next scenario begins where
/// this one did.
///
/// # Errors
/// That of the work, else that of mending.
pub async fn finally<T>(
    work: impl Future<Output = Result<T>>,
    mend: impl Future<Output = Result<()>>,
) -> Result<T> {
    let came_out = work.await;
    let mended = mend.await;
    if let (Err(_), Err(error)) = (&came_out, &mended) {
        eprintln!("not put right either: {error:#}");
    }
    let came_out = came_out?;
    mended.map(|()| came_out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::bail;
    use std::cell::Cell;

    #[tokio::test]
    async fn what_failed_is_put_right_and_told() {
        let mended = Cell::new(false);
        let mend = async {
            mended.set(true);
            Ok(())
        };
        let came_out: Result<()> = finally(async { bail!("no service") }, mend).await;
        assert_eq!(came_out.unwrap_err().to_string(), "no service");
        assert!(mended.get());
    }

    #[tokio::test]
    async fn what_cannot_be_put_right_is_a_failure() {
        let came_out = finally(async { Ok(1) }, async { bail!("still broken") }).await;
        assert_eq!(came_out.unwrap_err().to_string(), "still broken");
        assert_eq!(finally(async { Ok(1) }, async { Ok(()) }).await.unwrap(), 1);
    }
}
