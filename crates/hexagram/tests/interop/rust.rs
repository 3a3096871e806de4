//! rmcp's own client, in each of its lifecycles.

use rmcp::model::{CallToolRequestParams, ProtocolVersion, ReadResourceRequestParams};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::{ClientLifecycleMode, ClientServiceExt};
use serde_json::{Value, json};

use crate::cluster::wait;

/// Lists, a call and a resource, with every lifecycle, at each edge.
pub(crate) async fn tour(urls: &[String]) {
    let preferred_versions = vec![ProtocolVersion::V_2026_07_28];
    let lifecycles = [
        (
            ClientLifecycleMode::Initialize,
            ProtocolVersion::V_2025_11_25,
        ),
        (
            ClientLifecycleMode::Discover {
                preferred_versions: preferred_versions.clone(),
            },
            ProtocolVersion::V_2026_07_28,
        ),
        (
            ClientLifecycleMode::Auto {
                preferred_versions,
                legacy_version: None,
            },
            ProtocolVersion::V_2026_07_28,
        ),
    ];
    for url in urls {
        for (lifecycle, version) in lifecycles.clone() {
            let what = format!("{lifecycle:?}");
            wait::within(what, look_around(url, lifecycle, version)).await;
        }
    }
}

async fn look_around(url: &str, lifecycle: ClientLifecycleMode, version: ProtocolVersion) {
    let transport = StreamableHttpClientTransport::from_uri(url);
    let client = ().serve_with_lifecycle(transport, lifecycle).await.unwrap();
    let info = client.peer_info().unwrap();
    assert_eq!(info.protocol_version, version);

    let tools = client.list_all_tools().await.unwrap();
    assert!(tools.iter().any(|tool| tool.name == "echo"));
    let arguments = json!({"message": "hi"}).as_object().cloned().unwrap();
    let call = CallToolRequestParams::new("echo").with_arguments(arguments);
    let said: Value = json!(client.call_tool(call).await.unwrap());
    assert_eq!(said["content"][0]["text"], "Echo: hi", "{said}");
    let resources = client.list_all_resources().await.unwrap();
    let uri = &resources[0].uri;
    let read = client
        .read_resource(ReadResourceRequestParams::new(uri))
        .await;
    assert!(!json!(read.unwrap())["contents"].is_null());
    assert!(!client.list_all_prompts().await.unwrap().is_empty());
    client.cancel().await.unwrap();
}
