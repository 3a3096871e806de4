//! The one pass over a message.
//!
//! A broken rule is noted and the pass goes on: a body that is not JSON is
//! always reported as such, and a refusal can name the id wherever it stands.

use std::borrow::Cow;

use super::member::{Member, Seen};
use super::{Envelope, Kind, Meta, RawId, RpcFault, ScanError};
use crate::scanner::{JsonFault, Raw, Scanner, Text};

type Read = Result<(), JsonFault>;

/// Reads one JSON-RPC message in one pass, without a tree and, unless a member
/// it keeps holds an escape, without allocating.
///
/// Members with an escaped name count like any other; unknown members are passed
/// over, validated only.
///
/// # Errors
/// [`ScanError::NotJson`] when `serde_json` would not read the body as a value
/// (nesting beyond [`MAX_DEPTH`](crate::MAX_DEPTH) included), and
/// [`ScanError::NotJsonRpc`] when it breaks a rule of [`RpcFault`].
pub fn scan(body: &[u8]) -> Result<Envelope<'_>, ScanError> {
    let mut scanner = Scanner::new(body)?;
    let mut draft = Draft::default();
    if scanner.peek() == b'{' {
        scanner.members(|scanner, key| draft.top(scanner, key))?;
    } else {
        scanner.skip()?;
        draft.fault(RpcFault::NotAnObject);
    }
    scanner.end()?;
    draft.finish()
}

/// What the pass has gathered.
#[derive(Default)]
struct Draft<'a> {
    seen: Seen,
    fault: Option<RpcFault>,
    version: bool,
    id: Option<RawId<'a>>,
    id_twice: bool,
    method: Option<Cow<'a, str>>,
    params: Option<Raw<'a>>,
    result: Option<Raw<'a>>,
    error: Option<Raw<'a>>,
    name: Option<Text<'a>>,
    uri: Option<Text<'a>>,
    task_id: Option<Text<'a>>,
    reference: Reference<'a>,
    request_id: Option<RawId<'a>>,
    progress_token: Option<RawId<'a>>,
    cursor: Option<Cow<'a, str>>,
    request_state: Option<Text<'a>>,
    meta: Meta<'a>,
}

/// `params.ref` of completion/complete.
#[derive(Default)]
struct Reference<'a> {
    kind: Option<Cow<'a, str>>,
    name: Option<Text<'a>>,
    uri: Option<Text<'a>>,
}

impl<'a> Draft<'a> {
    fn top(&mut self, scanner: &mut Scanner<'a>, key: &str) -> Read {
        match key {
            "jsonrpc" => self.read_version(scanner)?,
            "id" => self.read_id(scanner)?,
            "method" => {
                self.once(Member::Method);
                self.method = string(scanner)?;
                self.rule(self.method.is_some(), RpcFault::Method);
            }
            "params" => {
                self.once(Member::Params);
                self.params = self.read_object(scanner, Self::param)?;
                self.rule(self.params.is_some(), RpcFault::Params);
            }
            "result" => {
                self.once(Member::Result);
                self.result = Some(scanner.value()?);
            }
            "error" => {
                self.once(Member::Error);
                self.error = object(scanner)?;
                self.rule(self.error.is_some(), RpcFault::Error);
            }
            _ => scanner.skip()?,
        }
        Ok(())
    }

    fn read_version(&mut self, scanner: &mut Scanner<'a>) -> Read {
        self.once(Member::JsonRpc);
        self.version = string(scanner)?.as_deref() == Some("2.0");
        Ok(())
    }

    fn read_id(&mut self, scanner: &mut Scanner<'a>) -> Read {
        self.id_twice |= !self.once(Member::Id);
        let raw = scanner.value()?;
        self.id = if raw.text == "null" {
            Some(RawId { raw })
        } else {
            RawId::new(raw)
        };
        self.rule(self.id.is_some(), RpcFault::Id);
        Ok(())
    }

    fn param(&mut self, scanner: &mut Scanner<'a>, key: &str) -> Read {
        match key {
            "name" => {
                self.once(Member::Name);
                self.name = scanner.text()?;
            }
            "uri" => {
                self.once(Member::Uri);
                self.uri = scanner.text()?;
            }
            "taskId" => {
                self.once(Member::TaskId);
                self.task_id = scanner.text()?;
            }
            "ref" => {
                self.once(Member::Ref);
                self.read_object(scanner, Self::reference)?;
            }
            "requestId" => {
                self.once(Member::RequestId);
                self.request_id = RawId::new(scanner.value()?);
            }
            "progressToken" => {
                self.once(Member::ProgressToken);
                self.progress_token = RawId::new(scanner.value()?);
            }
            "cursor" => {
                self.once(Member::Cursor);
                self.cursor = string(scanner)?;
            }
            "requestState" => {
                self.once(Member::RequestState);
                self.request_state = scanner.text()?;
            }
            "_meta" => {
                self.once(Member::Meta);
                self.read_object(scanner, Self::meta)?;
            }
            _ => scanner.skip()?,
        }
        Ok(())
    }

    fn reference(&mut self, scanner: &mut Scanner<'a>, key: &str) -> Read {
        match key {
            "type" => {
                self.once(Member::RefType);
                self.reference.kind = string(scanner)?;
            }
            "name" => {
                self.once(Member::RefName);
                self.reference.name = scanner.text()?;
            }
            "uri" => {
                self.once(Member::RefUri);
                self.reference.uri = scanner.text()?;
            }
            _ => scanner.skip()?,
        }
        Ok(())
    }

    fn meta(&mut self, scanner: &mut Scanner<'a>, key: &str) -> Read {
        match key {
            "progressToken" => {
                self.once(Member::MetaProgressToken);
                self.meta.progress_token = RawId::new(scanner.value()?);
            }
            "io.modelcontextprotocol/protocolVersion" => {
                self.once(Member::MetaVersion);
                self.meta.protocol_version = string(scanner)?;
            }
            "io.modelcontextprotocol/clientCapabilities" => {
                self.once(Member::MetaCapabilities);
                self.meta.client_capabilities = bytes(object(scanner)?);
            }
            "io.modelcontextprotocol/clientInfo" => {
                self.once(Member::MetaInfo);
                self.meta.client_info = bytes(object(scanner)?);
            }
            "io.modelcontextprotocol/logLevel" => {
                self.once(Member::MetaLogLevel);
                self.meta.log_level = string(scanner)?;
            }
            _ => scanner.skip()?,
        }
        Ok(())
    }

    /// Reads an object's members with `each`; passes over any other value.
    #[inline]
    fn read_object(
        &mut self,
        scanner: &mut Scanner<'a>,
        mut each: impl FnMut(&mut Self, &mut Scanner<'a>, &str) -> Read,
    ) -> Result<Option<Raw<'a>>, JsonFault> {
        if scanner.peek() != b'{' {
            scanner.skip()?;
            return Ok(None);
        }
        scanner
            .members(|scanner, key| each(self, scanner, key))
            .map(Some)
    }

    #[inline]
    fn once(&mut self, member: Member) -> bool {
        let first = self.seen.first(member);
        self.rule(first, RpcFault::Duplicate);
        first
    }

    #[inline]
    fn rule(&mut self, holds: bool, fault: RpcFault) {
        if !holds {
            self.fault(fault);
        }
    }

    /// The first fault is the one reported.
    fn fault(&mut self, fault: RpcFault) {
        self.fault.get_or_insert(fault);
    }

    fn finish(&mut self) -> Result<Envelope<'a>, ScanError> {
        match self.fault.map_or_else(|| self.kind(), Err) {
            Ok(kind) => Ok(self.envelope(kind)),
            Err(fault) => {
                let id = self.id.filter(|id| !id.is_null() && !self.id_twice);
                let id = id.map(|id| id.as_str().to_owned());
                Err(ScanError::NotJsonRpc { id, fault })
            }
        }
    }

    fn kind(&self) -> Result<Kind, RpcFault> {
        if !self.version {
            return Err(RpcFault::Version);
        }
        let holds = (
            self.method.is_some(),
            self.result.is_some(),
            self.error.is_some(),
        );
        let kind = match holds {
            (true, false, false) if self.id.is_none() => Kind::Notification,
            (true, false, false) => Kind::Request,
            (false, true, false) => Kind::Response,
            (false, false, true) => return Ok(Kind::ErrorResponse),
            (false, false, false) => return Err(RpcFault::Empty),
            _ => return Err(RpcFault::Mixed),
        };
        match self.id {
            Some(id) if id.is_null() => Err(RpcFault::NullId),
            None if kind == Kind::Response => Err(RpcFault::MissingId),
            _ => Ok(kind),
        }
    }

    /// Takes everything out, field by field: moving the draft costs more.
    fn envelope(&mut self, kind: Kind) -> Envelope<'a> {
        let untyped = self.untyped();
        let target = self.target();
        let state = self.request_state.take();
        Envelope {
            kind,
            method: self.method.take(),
            id: self.id,
            name_span: target.as_ref().map(|target| target.span.clone()),
            name: target.map(|target| target.value),
            params: bytes(self.params),
            result: bytes(self.result),
            error: bytes(self.error),
            meta: std::mem::take(&mut self.meta),
            request_id: self.request_id,
            progress_token: self.progress_token,
            cursor: self.cursor.take(),
            state_span: state.as_ref().map(|state| state.span.clone()),
            request_state: state.map(|state| state.value),
            untyped,
        }
    }

    /// The handle that is there and no string.
    fn untyped(&self) -> Option<&'static str> {
        let of_task = || {
            let method = self.method.as_deref();
            method.is_some_and(|method| method.starts_with("tasks/"))
        };
        if self.seen.has(Member::RequestState) && self.request_state.is_none() {
            return Some("requestState");
        }
        let task = self.seen.has(Member::TaskId) && self.task_id.is_none();
        (task && of_task()).then_some("taskId")
    }

    /// Takes what the method is aimed at.
    fn target(&mut self) -> Option<Text<'a>> {
        match self.method.as_deref()? {
            "tools/call" | "prompts/get" => self.name.take(),
            "resources/read" | "resources/subscribe" | "resources/unsubscribe" => self.uri.take(),
            "completion/complete" => self.reference.target(),
            method if method.starts_with("tasks/") => self.task_id.take(),
            _ => None,
        }
    }
}

impl<'a> Reference<'a> {
    fn target(&mut self) -> Option<Text<'a>> {
        match self.kind.as_deref()? {
            "ref/prompt" => self.name.take(),
            "ref/resource" => self.uri.take(),
            _ => None,
        }
    }
}

/// Reads a value and keeps it when it is a string.
#[inline]
fn string<'a>(scanner: &mut Scanner<'a>) -> Result<Option<Cow<'a, str>>, JsonFault> {
    Ok(scanner.text()?.map(|text| text.value))
}

/// Reads a value and keeps it when it is an object.
fn object<'a>(scanner: &mut Scanner<'a>) -> Result<Option<Raw<'a>>, JsonFault> {
    let is_object = scanner.peek() == b'{';
    Ok(Some(scanner.value()?).filter(|_| is_object))
}

fn bytes(raw: Option<Raw<'_>>) -> Option<&[u8]> {
    raw.map(|raw| raw.text.as_bytes())
}
