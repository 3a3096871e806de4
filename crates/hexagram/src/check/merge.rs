//! One report from what the probes of the eras and of the oldest transport found.

use super::http_sse::HttpSse;
use super::legacy::Legacy;
use super::modern::ModernEra;
use super::report::Report;

/// Takes in what the probes found.
pub(super) fn merge(report: &mut Report, legacy: Legacy, http_sse: HttpSse, modern: ModernEra) {
    let oldest_first = legacy.revisions.into_iter().rev();
    report.revisions = oldest_first.chain([modern.revision]).collect();
    report.http_sse = http_sse.spoken;
    if let Some(oldest) = report.revisions.first_mut()
        && !http_sse.how.is_empty()
    {
        oldest.add(http_sse.spoken, &http_sse.how);
    }
    report.server = modern.server.or(legacy.server).or(http_sse.server);
    report.legacy = legacy.facts.or(http_sse.facts);
    report.modern = modern.facts;
    report.findings = legacy.findings;
    report.findings.extend(modern.findings);
}
