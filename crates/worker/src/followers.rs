//! Following every upstream for as long as it is served.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::watch;

use crate::federation::Federation;
use crate::upstream::Upstream;

/// Runs `follow` for every upstream, also for those that come later, until it
/// ends by itself or the upstream is served no more. Ends with the last, but not
/// while none is served: then one may come.
pub(crate) async fn each<F>(
    mut federations: watch::Receiver<Arc<Federation>>,
    follow: impl Fn(Arc<Upstream>) -> F,
) where
    F: Future<Output = ()>,
{
    let mut known = HashSet::new();
    let mut running = FuturesUnordered::new();
    loop {
        let federation = Arc::clone(&federations.borrow_and_update());
        let new = federation.all().iter();
        let new = new.filter(|upstream| known.insert(upstream.id()));
        running.extend(new.map(|upstream| while_served(Arc::clone(upstream), &follow)));
        let waits = federation.all().is_empty() && running.is_empty();
        drop(federation);
        tokio::select! {
            biased;
            Ok(()) = federations.changed() => {}
            ended = running.next(), if !waits => if ended.is_none() {
                return;
            },
            else => return,
        }
    }
}

async fn while_served<F>(upstream: Arc<Upstream>, follow: &impl Fn(Arc<Upstream>) -> F)
where
    F: Future<Output = ()>,
{
    tokio::select! {
        () = follow(Arc::clone(&upstream)) => {}
        () = upstream.retired() => {}
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hexagram_runtime::metrics::Metrics;
    use parking_lot::Mutex;

    use super::*;
    use crate::metrics::WorkerMetrics;
    use crate::upstream::{ChildLimit, UpstreamLimits};

    const LIMITS: UpstreamLimits = UpstreamLimits {
        connect: Duration::from_secs(1),
        handshake: Duration::from_secs(1),
        silence: Duration::from_secs(1),
        max_message: 1 << 20,
    };

    fn upstream(name: &str) -> Arc<Upstream> {
        let spec = format!("{name}=cat").parse().expect("a spec");
        let upstream = Upstream::from_spec(spec, LIMITS, &ChildLimit::new(0));
        Arc::new(upstream.expect("an upstream"))
    }

    fn federation(upstreams: &[&Arc<Upstream>]) -> Arc<Federation> {
        let upstreams = upstreams.iter().map(|upstream| Arc::clone(upstream));
        let metrics = WorkerMetrics::register(&Metrics::new());
        Arc::new(Federation::new(upstreams.collect(), &metrics).expect("a federation"))
    }

    /// Who is followed; out again when that ends.
    #[derive(Default)]
    struct Followed(Mutex<Vec<String>>);

    struct Follower<'a>(&'a Followed, String);

    impl Drop for Follower<'_> {
        fn drop(&mut self) {
            self.0.0.lock().retain(|name| *name != self.1);
        }
    }

    impl Followed {
        async fn follow(&self, upstream: Arc<Upstream>) {
            let name = upstream.name().to_owned();
            self.0.lock().push(name.clone());
            let _follower = Follower(self, name);
            std::future::pending::<()>().await;
        }

        fn names(&self) -> Vec<String> {
            self.0.lock().clone()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn those_that_come_later_are_followed_until_they_are_retired() {
        let (a, b) = (upstream("a"), upstream("b"));
        let source = watch::Sender::new(federation(&[&a]));
        let followed = Followed::default();
        let following = each(source.subscribe(), |upstream| followed.follow(upstream));
        tokio::pin!(following);
        // All that can happen has happened when only the clock is left.
        let mut settled = async |expected: &[&str]| {
            let over = tokio::time::timeout(Duration::from_secs(1), &mut following).await;
            assert_eq!(followed.names(), expected);
            over.is_ok()
        };
        assert!(!settled(&["a"]).await);
        source.send_replace(federation(&[&a, &b]));
        assert!(!settled(&["a", "b"]).await);
        source.send_replace(federation(&[&b]));
        a.retire();
        assert!(!settled(&["b"]).await);
        b.retire();
        assert!(settled(&[]).await, "it ends with the last");
    }

    #[tokio::test(start_paused = true)]
    async fn where_none_is_served_the_first_is_waited_for() {
        let a = upstream("a");
        let source = watch::Sender::new(federation(&[]));
        let followed = Followed::default();
        let following = each(source.subscribe(), |upstream| followed.follow(upstream));
        tokio::pin!(following);
        let mut settled = async |expected: &[&str]| {
            let over = tokio::time::timeout(Duration::from_secs(1), &mut following).await;
            assert_eq!(followed.names(), expected);
            over.is_ok()
        };
        assert!(!settled(&[]).await);
        source.send_replace(federation(&[&a]));
        assert!(!settled(&["a"]).await);
        source.send_replace(federation(&[]));
        a.retire();
        assert!(!settled(&[]).await, "another may come");
    }
}
