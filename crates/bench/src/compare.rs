//! `bench compare`: target and bare server in turn, in short rounds.

use std::sync::Arc;
use std::time::Duration;

use crate::args::CompareArgs;
use crate::compare_report::{CompareReport, Round};
use crate::failure::Failure;
use crate::fleet::{Fleet, GRACE, Pace, Plan};
use crate::measure::measure;
use crate::reference::Reference;
use crate::report::LoadReport;
use crate::target::Target;

/// Run unmeasured before the rounds, so that caches and buffers are warm.
const WARM_UP: Plan = Plan {
    length: Duration::from_millis(500),
    pace: Pace::Closed,
    grace: GRACE,
};

/// One of the two servers: its processes, and the connections held to it.
struct Side {
    name: &'static str,
    fleet: Fleet,
    pids: Vec<u32>,
}

/// Both servers, ready to be loaded in turn.
struct Pairing {
    bare: Side,
    target: Side,
}

/// Compares as `args` say.
pub(crate) async fn run(args: &CompareArgs) -> anyhow::Result<CompareReport> {
    let reference = Reference::start(&args.reference).await?;
    let bare = args.target.target(&reference.url)?;
    let other = args.target.target(&args.target.url)?;
    let count = args.connections as usize;
    let mut pairing = Pairing {
        bare: Side::open("bare", &bare, &reference.pids, count).await?,
        target: Side::open("target", &other, &args.pids, count).await?,
    };
    let mut report = pairing.measure(args).await?;
    report.unended = pairing.close().await;
    reference.stop().await?;
    Ok(report)
}

impl Side {
    async fn open(
        name: &'static str,
        target: &Arc<Target>,
        pids: &[u32],
        connections: usize,
    ) -> Result<Self, Failure> {
        Ok(Self {
            name,
            fleet: Fleet::open(target, connections).await?,
            pids: pids.to_vec(),
        })
    }

    async fn run(&mut self, round: &str, plan: Plan) -> anyhow::Result<LoadReport> {
        let label = format!("{round} {}", self.name);
        let measured = measure(&label, &mut self.fleet, plan, &self.pids).await?;
        Ok(LoadReport::new(&measured, None))
    }
}

impl Pairing {
    async fn measure(&mut self, args: &CompareArgs) -> anyhow::Result<CompareReport> {
        self.bare.run("warm-up", WARM_UP).await?;
        self.target.run("warm-up", WARM_UP).await?;
        let closed = self.rounds("closed loop", args, Pace::Closed).await?;
        let open = self
            .rounds("open loop", args, Pace::Open(args.rate))
            .await?;
        Ok(CompareReport::new(args.rate, closed, open))
    }

    /// The rounds of one loop, interleaved: bare, target, bare, target.
    async fn rounds(
        &mut self,
        name: &str,
        args: &CompareArgs,
        pace: Pace,
    ) -> anyhow::Result<Vec<Round>> {
        let plan = Plan {
            length: args.seconds,
            pace,
            grace: GRACE,
        };
        let mut rounds = Vec::new();
        for number in 1..=args.rounds {
            let label = format!("{name} {number}/{}", args.rounds);
            rounds.push(Round {
                bare: self.bare.run(&label, plan).await?,
                target: self.target.run(&label, plan).await?,
            });
        }
        Ok(rounds)
    }

    /// Ends the sessions; what went wrong with them.
    async fn close(self) -> Vec<String> {
        let mut unended = Vec::new();
        for side in [self.bare, self.target] {
            if let Err(failure) = side.fleet.close().await {
                unended.push(format!("{}: session not ended: {failure}", side.name));
            }
        }
        unended
    }
}
