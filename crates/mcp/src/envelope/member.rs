//! The members the scan reads, and the guard against reading one twice.

/// A member that is read; each may stand only once in a message.
#[derive(Debug, Clone, Copy)]
pub(super) enum Member {
    JsonRpc,
    Id,
    Method,
    Params,
    Result,
    Error,
    Name,
    Uri,
    TaskId,
    Ref,
    RefType,
    RefName,
    RefUri,
    RequestId,
    ProgressToken,
    Cursor,
    RequestState,
    Meta,
    MetaVersion,
    MetaCapabilities,
    MetaInfo,
    MetaLogLevel,
    MetaProgressToken,
}

/// The members seen so far, as bits.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Seen(u32);

impl Seen {
    /// Notes `member`; false when it was there already. Parsers disagree on which
    /// of two equal names counts, so one could be routed by and another executed.
    #[inline]
    pub(super) fn first(&mut self, member: Member) -> bool {
        let bit = 1 << member as u32;
        let first = self.0 & bit == 0;
        self.0 |= bit;
        first
    }

    /// Whether `member` was there.
    pub(super) fn has(self, member: Member) -> bool {
        self.0 & (1 << member as u32) != 0
    }
}
