//! A shard whose own code failed: this worker admits nothing to it any more and tells
//! its controller, who has it begin anew in the next epoch (DESIGN 8).

use std::sync::Arc;

use tokio::sync::watch;

use crate::shard::Shard;

/// Watches a shard for as long as it is served here; `changed` has the controller
/// told.
pub(super) async fn watch(shard: Arc<Shard>, changed: watch::Sender<u64>) {
    tokio::select! {
        () = shard.moved.cancelled() => return,
        () = shard.failed() => {}
    }
    tracing::error!(
        shard = shard.id.get(),
        epoch = shard.epoch.get(),
        "the shard's own code failed: it is to begin anew"
    );
    changed.send_modify(|change| *change += 1);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::future::ready;
    use std::time::Duration;

    use clap::Parser;
    use hexagram_core::{
        Entry, Epoch, Incarnation, KeyRing, Owner, RegisterMap, Sealer, Setup, ShardCount, ShardId,
    };
    use hexagram_runtime::drain::DrainArgs;
    use hexagram_runtime::metrics::Metrics;

    use rmcp::ServerHandler;

    use crate::handler;
    use crate::{Changes, Kept, Membership, Upstream, Worker, WorkerContext, WorkerMetrics};

    use super::*;

    #[derive(Parser)]
    struct Drain {
        #[command(flatten)]
        args: DrainArgs,
    }

    struct Nothing;

    impl ServerHandler for Nothing {}

    fn me() -> Owner {
        Owner {
            worker: "w".parse().unwrap(),
            incarnation: Incarnation::new(1).unwrap(),
        }
    }

    fn shard() -> ShardId {
        ShardCount::try_from(1).unwrap().shard(0).unwrap()
    }

    fn map(version: u64, entry: Entry<Owner>) -> Option<Arc<RegisterMap>> {
        let count = ShardCount::try_from(1).unwrap();
        RegisterMap::new(version, count, vec![entry], BTreeMap::new()).map(Arc::new)
    }

    fn worker(register: &watch::Sender<Option<Arc<RegisterMap>>>) -> Worker {
        let followed = register.subscribe();
        let membership = Membership {
            read: Arc::new(move || Box::pin(ready(followed.borrow().clone()))),
            register: register.subscribe(),
            reached: watch::Sender::new(true).subscribe(),
            dial: Arc::new(|address| hexagram_proto::WorkerAddress::Tcp(address.to_owned())),
            hands_over: false,
            setup: Setup::default(),
        };
        let context = WorkerContext {
            cluster: "c".to_owned(),
            name: me().worker,
            incarnation: me().incarnation,
            shards: ShardCount::try_from(1).unwrap(),
            owned: Vec::new(),
            membership: Some(membership),
            kept: Kept::new(),
            map_fingerprint: None,
            sealer: Arc::new(Sealer::new(&KeyRing::generate(1, [7; 32]), "c")),
            changes: Changes::new(),
            metrics: WorkerMetrics::register(&Metrics::new()),
            session_idle: Duration::from_secs(60),
            drain: Drain::parse_from(["test"]).args,
            store: None,
            session_lifetime: Duration::from_secs(60),
            link_version: hexagram_proto::LINK_VERSION_MAX,
        };
        let upstream = Upstream::from_handler("nothing".parse().unwrap(), handler(|| Nothing));
        Worker::new(vec![Arc::new(upstream)], context).unwrap()
    }

    #[tokio::test]
    async fn a_shard_that_failed_is_told_begins_anew_and_can_be_withheld() {
        let epoch = |number| Epoch::new(number).unwrap();
        let first = Entry::new(me(), epoch(3));
        let register = watch::Sender::new(map(1, first.clone()));
        let worker = worker(&register);
        let handoffs = worker.handoffs.clone().unwrap();
        tokio::spawn(crate::handoff::follow(Arc::clone(&handoffs)));
        let mut changes = handoffs.changes();
        let told = || handoffs.held()[0];
        let serves = |number| told().epoch == number && told().failed == 0;
        while !serves(3) {
            changes.changed().await.unwrap();
        }
        let served = handoffs.host.place_of(shard()).shard().unwrap();
        let broken = Arc::clone(&served);
        let panicked = tokio::spawn(async move { broken.read(|_| panic!("half way")) }).await;
        assert!(panicked.is_err());
        while told().failed != 3 {
            changes.changed().await.unwrap();
        }
        let again = first.fail_over(me()).unwrap();
        register.send_replace(map(2, again.clone()));
        while !serves(4) {
            changes.changed().await.unwrap();
        }
        assert!(
            handoffs
                .host
                .place_of(shard())
                .shard()
                .unwrap()
                .enter()
                .is_ok()
        );
        assert!(served.moved.is_cancelled());
        register.send_replace(map(3, again.quarantine().unwrap()));
        while told().epoch != 0 {
            changes.changed().await.unwrap();
        }
        assert!(handoffs.host.place_of(shard()).shard().is_none());
    }
}
