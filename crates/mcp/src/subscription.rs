//! The end of a `subscriptions/listen` in its own form (revision 2026-07-28,
//! "Subscriptions").

use bytes::Bytes;

/// The member of `_meta` that names the subscription which a message belongs to.
pub const SUBSCRIPTION_ID: &str = "io.modelcontextprotocol/subscriptionId";

/// The response that completes the subscription of the request with this raw id: its
/// client listens again.
#[must_use]
pub fn completion(id: &str) -> Bytes {
    let meta = format!(r#"{{"{SUBSCRIPTION_ID}":{id}}}"#);
    let result = format!(r#"{{"resultType":"complete","_meta":{meta}}}"#);
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#).into()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn it_answers_the_request_and_names_the_subscription() {
        let message: Value = serde_json::from_slice(&completion("\"a\"")).expect("JSON");
        assert_eq!(message["id"], "a");
        assert_eq!(message["result"]["resultType"], "complete");
        assert_eq!(message["result"]["_meta"][SUBSCRIPTION_ID], "a");
    }
}
