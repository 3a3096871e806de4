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
    use std::pin::Pin;
    use std::time::Duration;

    use hexagram_runtime::metrics::Metrics;
    use parking_lot::Mutex;
    use tokio::time::timeout;

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
    }

    /// What is served, and who follows it.
    struct Scene {
        source: watch::Sender<Arc<Federation>>,
        followed: Arc<Followed>,
        following: Pin<Box<dyn Future<Output = ()>>>,
    }

    impl Scene {
        fn of(upstreams: &[&Arc<Upstream>]) -> Self {
            let source = watch::Sender::new(federation(upstreams));
            let followed = Arc::new(Followed::default());
            let (federations, by) = (source.subscribe(), Arc::clone(&followed));
            let following = async move { each(federations, |upstream| by.follow(upstream)).await };
            Self {
                source,
                followed,
                following: Box::pin(following),
            }
        }

        fn serves(&self, upstreams: &[&Arc<Upstream>]) {
            self.source.send_replace(federation(upstreams));
        }

        /// Whether following is over once these are followed: all that can happen has
        /// happened when only the clock is left.
        async fn settled(&mut self, expected: &[&str]) -> bool {
            let over = timeout(Duration::from_secs(1), &mut self.following).await;
            assert_eq!(*self.followed.0.lock(), expected);
            over.is_ok()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn those_that_come_later_are_followed_until_they_are_retired() {
        let (a, b) = (upstream("a"), upstream("b"));
        let mut scene = Scene::of(&[&a]);
        assert!(!scene.settled(&["a"]).await);
        scene.serves(&[&a, &b]);
        assert!(!scene.settled(&["a", "b"]).await);
        scene.serves(&[&b]);
        a.retire();
        assert!(!scene.settled(&["b"]).await);
        b.retire();
        assert!(scene.settled(&[]).await, "it ends with the last");
    }

    #[tokio::test(start_paused = true)]
    async fn where_none_is_served_the_first_is_waited_for() {
        let a = upstream("a");
        let mut scene = Scene::of(&[]);
        assert!(!scene.settled(&[]).await);
        scene.serves(&[&a]);
        assert!(!scene.settled(&["a"]).await);
        scene.serves(&[]);
        a.retire();
        assert!(!scene.settled(&[]).await, "another may come");
    }
}
