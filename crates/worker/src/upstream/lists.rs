//! An upstream's lists, kept for as long as it allows.

use std::time::Duration;

use bytes::Bytes;
use hexagram_core::{Era, PrincipalId};
use hexagram_mcp::envelope::{Envelope, scan};
use serde::Deserialize;
use serde::de::IgnoredAny;
use tokio::time::Instant;

use super::{Kind, Upstream};
use crate::list_cache::Asked;
use crate::raw::Count;

/// Between two lists that are looked at for the number of tools: a list may be long, and
/// the request waits.
const LOOK: Duration = Duration::from_secs(30);

impl Upstream {
    /// The page that a request of a client of `era` asks for, where it may be
    /// kept. A handler's lists are in this process anyway, and a legacy server
    /// says nothing of how long its lists hold.
    pub(crate) fn asked(
        &self,
        era: Era,
        request: &Envelope<'_>,
        cursor: Option<&str>,
        principal: PrincipalId,
    ) -> Option<Asked> {
        let keeps = matches!(self.kind, Kind::Http(_)) && self.is_stateless_in(era);
        let lists = keeps.then(|| self.lists.lock())?;
        lists.asked(request, cursor, principal)
    }

    /// The result kept for this page.
    pub(crate) fn listed(&self, asked: &Asked) -> Option<Bytes> {
        self.lists.lock().get(asked, Instant::now())
    }

    /// Keeps the response to a request for this page, if it may be kept.
    pub(crate) fn keep_list(&self, asked: Asked, response: &[u8]) {
        self.lists.lock().keep(asked, response, Instant::now());
    }

    /// Counts its tools in the response to a request for the list of them, if that is
    /// the whole list, and if none was looked at just now.
    pub(crate) fn heard_tools(&self, response: &[u8]) {
        if self.just_looked_at_tools(LOOK) {
            return;
        }
        match ToolsPage::read(response) {
            Some(ToolsPage {
                tools: Some(Count(count)),
                next_cursor: None,
            }) => self.has_tools(count),
            Some(_) => self.has_looked_at_tools(),
            None => {}
        }
    }

    /// Hears what the upstream says on a subscription: a list that has changed is
    /// kept no longer.
    pub(crate) fn heard(&self, message: &[u8]) {
        let method = scan(message).ok().and_then(|message| message.method);
        if method.is_some_and(|method| method.ends_with("/list_changed")) {
            self.may_have_other_tools();
            self.forget_lists();
        }
    }

    /// Forgets its lists: they may have changed unheard.
    pub(crate) fn forget_lists(&self) {
        self.lists.lock().forget();
        self.forget_tools(Instant::now());
    }
}

/// What of a page of tools is of use here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ToolsPage {
    tools: Option<Count>,
    next_cursor: Option<IgnoredAny>,
}

impl ToolsPage {
    /// The page that a response has; `None` where it has no result.
    fn read(response: &[u8]) -> Option<Self> {
        serde_json::from_slice(scan(response).ok()?.result?).ok()
    }
}

#[cfg(test)]
mod tests {
    use hexagram_upstreams::EraSetting;
    use serde_json::json;

    use super::super::era::Spoken;
    use super::super::tests::upstream;
    use super::super::{ServerInfo, named};
    use super::*;

    const LIST: &[u8] = br#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
    const PAGE: &[u8] = br#"{"jsonrpc":"2.0","id":1,"result":{"tools":[],"ttlMs":60000}}"#;

    fn info() -> ServerInfo {
        ServerInfo {
            capabilities: json!({}),
            server_info: named(&json!(null)),
            instructions: None,
        }
    }

    fn asked(upstream: &Upstream) -> Option<Asked> {
        let request = scan(LIST).expect("a request");
        upstream.asked(Era::Modern, &request, None, PrincipalId::from_u128(1))
    }

    /// Whether a list that is kept outlives what happens then.
    fn outlives(spoken: Spoken, what: impl FnOnce(&Upstream)) -> Option<bool> {
        let upstream = upstream("http://127.0.0.1:1/mcp");
        upstream.describe(EraSetting::Auto, spoken, info());
        let asked = asked(&upstream)?;
        upstream.keep_list(asked.clone(), PAGE);
        what(&upstream);
        Some(upstream.listed(&asked).is_some())
    }

    #[tokio::test]
    async fn a_list_is_kept_until_it_has_changed() {
        let says = |method: &'static str| {
            move |upstream: &Upstream| {
                let message = format!(r#"{{"jsonrpc":"2.0","method":"{method}"}}"#);
                upstream.heard(message.as_bytes());
            }
        };
        let progress = outlives(Spoken::Modern, says("notifications/progress"));
        assert_eq!(progress, Some(true));
        let changed = outlives(Spoken::Both, says("notifications/tools/list_changed"));
        assert_eq!(changed, Some(false));
        let again = outlives(Spoken::Modern, |it| {
            it.describe(EraSetting::Auto, Spoken::Both, info());
        });
        assert_eq!(again, Some(false), "another server may be there");
    }

    /// Its number of tools after it has listed them so.
    fn hear(upstream: &Upstream, result: &str) -> Option<usize> {
        let response = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#);
        upstream.heard_tools(response.as_bytes());
        upstream.health().tools.map(|tools| tools.count)
    }

    #[tokio::test(start_paused = true)]
    async fn tools_are_counted_in_whole_lists() {
        let upstream = upstream("http://127.0.0.1:1/mcp");
        for (result, expected) in [
            (r#"{"tools":[{},{}],"nextCursor":"2"}"#, None),
            ("{}", None),
            ("[]", None),
            (r#"{"tools":[{"a":[1,{}]},{}],"nextCursor":null}"#, Some(2)),
            (r#"{"ttlMs":1,"tools":[]}"#, Some(0)),
        ] {
            assert_eq!(hear(&upstream, result), expected, "{result}");
            tokio::time::advance(LOOK).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn lists_are_looked_at_now_and_then_unless_they_have_changed() {
        let [two, one] = [r#"{"tools":[{},{}]}"#, r#"{"tools":[{}]}"#];
        let upstream = upstream("http://127.0.0.1:1/mcp");
        assert_eq!(hear(&upstream, two), Some(2));
        tokio::time::advance(LOOK / 2).await;
        assert_eq!(hear(&upstream, one), Some(2), "it was just counted");
        tokio::time::advance(LOOK / 2).await;
        assert_eq!(hear(&upstream, one), Some(1));
        let changed = br#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;
        upstream.heard(changed);
        assert_eq!(hear(&upstream, two), Some(2));
        upstream.describe(EraSetting::Auto, Spoken::Legacy, info());
        upstream.describe(EraSetting::Auto, Spoken::Legacy, info());
        assert_eq!(hear(&upstream, one), Some(2), "it is the same server");
        let other = ServerInfo {
            instructions: Some("i".to_owned()),
            ..info()
        };
        upstream.describe(EraSetting::Auto, Spoken::Legacy, other);
        assert_eq!(hear(&upstream, one), Some(1));
    }

    #[tokio::test]
    async fn only_modern_upstreams_lists_are_kept() {
        assert_eq!(outlives(Spoken::Legacy, |_| ()), None);
        let command = upstream("cat");
        command.describe(EraSetting::Auto, Spoken::Both, info());
        assert!(asked(&command).is_none());
    }
}
