//! Lists that come in pages.

use super::UpstreamError;

/// Pages of one list that are read.
const MAX_PAGES: usize = 64;

/// A part of a list.
pub(crate) struct Page<T> {
    pub(crate) items: Vec<T>,
    /// The cursor of the next page; `None` on the last one.
    pub(crate) next: Option<String>,
}

/// The items of all pages, the first [`MAX_PAGES`] of them. `page` gives the one
/// at a cursor, or `None` where there is no such list.
///
/// # Errors
/// Those of `page`.
pub(crate) async fn all<T, F>(
    mut page: impl FnMut(Option<String>) -> F,
) -> Result<Vec<T>, UpstreamError>
where
    F: Future<Output = Result<Option<Page<T>>, UpstreamError>>,
{
    let mut items = Vec::new();
    let mut cursor = None;
    for _ in 0..MAX_PAGES {
        let Some(page) = page(cursor.take()).await? else {
            break;
        };
        items.extend(page.items);
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    Ok(items)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn read(pages: usize) -> Vec<usize> {
        let all = all(|cursor| async move {
            let number = cursor.map_or(0, |cursor| cursor.parse().expect("a number"));
            let next = (number + 1 < pages).then(|| (number + 1).to_string());
            let items = vec![number];
            Ok((number < pages).then_some(Page { items, next }))
        });
        let all = all.now_or_never().expect("nothing waits");
        all.expect("nothing fails")
    }

    #[test]
    fn pages_follow_their_cursors_to_an_end() {
        assert_eq!(read(3), [0, 1, 2]);
        assert!(read(0).is_empty(), "no such list");
        assert_eq!(read(2 * MAX_PAGES).len(), MAX_PAGES);
    }
}
