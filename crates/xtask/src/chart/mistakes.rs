//! Values that must be refused, each with a reason that helps.

use anyhow::{Result, bail, ensure};

use super::helm::Helm;
use crate::progress::Task;

/// What is set, as with `--set`, and what the refusal has to name.
type Mistake = (&'static str, &'static str);

/// Refused by the schema. Helm's releases say it differently; all name the key.
const TYPOS: [Mistake; 25] = [
    ("shard=32", "shard"),
    ("shards=65", "shards"),
    ("demo=tuor", "demo"),
    ("edge.replica=3", "replica"),
    ("edge.auth.kind=token", "kind"),
    ("edge.trustedProxies={10.0.0.1}", "trustedProxies"),
    ("edge.threads=1025", "threads"),
    ("worker.threads=0", "threads"),
    ("worker.drain.graceSeconds=0", "graceSeconds"),
    (
        "worker.podDisruptionBudget.maxUnavailable=0",
        "maxUnavailable",
    ),
    ("upstreams.git.retry=never", "url"),
    ("upstreams.Git.url=http://git/mcp", "Git"),
    (
        "upstreams.git.url=http://git/mcp,upstreams.git.era=both",
        "era",
    ),
    ("image.digest=latest", "digest"),
    ("monitoring.podMonitor.interval=15", "interval"),
    ("httpRoute.timeouts.request=15", "request"),
    ("httpRoute.parentRefs[0].sectionName=https", "name"),
    ("store.wait=-1", "wait"),
    ("valkey.runAsUser=0", "runAsUser"),
    ("ipv6=yes", "ipv6"),
    ("test.podLabel.a=b", "podLabel"),
    ("nameOverride=hex_a", "nameOverride"),
    ("fullnameOverride=1-hexagram", "fullnameOverride"),
    ("edge.routing.spread=65536", "spread"),
    ("service.ipFamilyPolicy=DualStack", "ipFamilyPolicy"),
];

/// Refused by the chart's own checks: each value is right, together they are not.
const CONTRADICTIONS: [Mistake; 17] = [
    ("ingress.enabled=true", "needs ingress.hosts"),
    (
        "ingress.enabled=true,ingress.hosts={*.example.com}",
        "edge.allowedHosts",
    ),
    ("httpRoute.enabled=true", "needs httpRoute.parentRefs"),
    (
        "httpRoute.enabled=true,httpRoute.parentRefs[0].name=public",
        "httpRoute.hostnames is empty",
    ),
    (
        "httpRoute.enabled=true,httpRoute.parentRefs[0].name=public,httpRoute.hostnames={*.example.com}",
        "httpRoute.hostnames has a wildcard",
    ),
    ("service.nodePort=30080", "need service.type NodePort"),
    (
        "service.type=NodePort,service.loadBalancerClass=a",
        "need service.type LoadBalancer",
    ),
    (
        "worker.autoscaling.enabled=true,worker.autoscaling.minReplicas=11",
        "minReplicas is above maxReplicas",
    ),
    (
        "edge.autoscaling.enabled=true,edge.resources.requests.cpu=null",
        "needs edge.resources.requests.cpu",
    ),
    ("edge.auth.kind=api-keys", "needs edge.auth.keysSecret.name"),
    ("edge.auth.kind=trusted-header", "needs edge.trustedProxies"),
    ("edge.routing.header=x-client", "needs edge.trustedProxies"),
    (
        "valkey.enabled=true,store.url=redis://a:6379",
        "more than one store",
    ),
    (
        "valkey.enabled=true,networkPolicy.enabled=false",
        "open to every pod",
    ),
    ("valkey.enabled=true,store.wait=1", "store.wait needs"),
    ("store.caSecret.name=ca", "needs store.url"),
    (
        "store.caSecret.name=ca,store.url=redis://a:6379",
        "rediss://",
    ),
];

/// How many there are, all of which are refused.
///
/// # Errors
/// With the first that is not, or not for its reason.
pub(super) fn check(helm: &Helm, task: &mut Task) -> Result<usize> {
    for (set, key) in TYPOS {
        task.line(set);
        check_one(helm, set, &["schema", key])?;
    }
    for (set, reason) in CONTRADICTIONS {
        task.line(set);
        check_one(helm, set, &[reason])?;
    }
    Ok(TYPOS.len() + CONTRADICTIONS.len())
}

fn check_one(helm: &Helm, set: &str, words: &[&str]) -> Result<()> {
    let Err(refusal) = helm.template(&["--set", set]) else {
        bail!("the chart takes `--set {set}`");
    };
    let refusal = refusal.to_string();
    // The command, with the mistake in it, stands before.
    let said = refusal.split_once(" failed: ").map_or("", |(_, said)| said);
    for word in words {
        ensure!(
            said.contains(word),
            "`--set {set}` is refused without a word of {word:?}: {said}"
        );
    }
    Ok(())
}
