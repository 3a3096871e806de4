//! The frames of a link, alike in both directions: a Hello, then messages.

use futures_util::stream::once;
use futures_util::{Stream, StreamExt};

use crate::Drained;
use crate::link::{EdgeFrame, EdgeMessage, Hello, WorkerFrame, WorkerMessage};

/// What one side of a link sends.
pub trait Frame: Sized {
    /// What it carries.
    type Message;

    /// The first frame: the Hello alone.
    fn greeting(hello: Hello) -> Self;

    /// Every later frame. `received` is how many frames have come.
    fn batch(messages: Vec<Self::Message>, received: u64) -> Self;

    /// Its messages, and how many frames its sender has got.
    fn content(&self) -> (&[Self::Message], u64);
}

impl Frame for EdgeFrame {
    type Message = EdgeMessage;

    fn greeting(hello: Hello) -> Self {
        Self {
            hello: Some(hello),
            messages: Vec::new(),
            received: 0,
        }
    }

    fn batch(messages: Vec<EdgeMessage>, received: u64) -> Self {
        Self {
            hello: None,
            messages,
            received,
        }
    }

    fn content(&self) -> (&[EdgeMessage], u64) {
        (&self.messages, self.received)
    }
}

impl Frame for WorkerFrame {
    type Message = WorkerMessage;

    fn greeting(hello: Hello) -> Self {
        Self {
            hello: Some(hello),
            messages: Vec::new(),
            received: 0,
        }
    }

    fn batch(messages: Vec<WorkerMessage>, received: u64) -> Self {
        Self {
            hello: None,
            messages,
            received,
        }
    }

    fn content(&self) -> (&[WorkerMessage], u64) {
        (&self.messages, self.received)
    }
}

/// All that one side sends on a link that ends with its connection: its Hello, then
/// what its outbox holds, batch by batch.
pub fn frames<F: Frame>(
    hello: Hello,
    drained: Drained<F::Message>,
) -> impl Stream<Item = F> + use<F>
where
    Drained<F::Message>: Stream<Item = Vec<F::Message>>,
{
    let batches = drained.map(|messages| F::batch(messages, 0));
    once(std::future::ready(F::greeting(hello))).chain(batches)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbox;

    #[tokio::test]
    async fn the_hello_stands_alone_and_comes_first() {
        let (outbox, drained) = outbox();
        outbox.push(EdgeMessage::default()).expect("it is open");
        outbox.close();
        let hello = Hello {
            name: "edge-0".to_owned(),
            ..Hello::default()
        };
        let sent: Vec<EdgeFrame> = frames(hello, drained).collect().await;
        let shape = |frame: &EdgeFrame| (frame.hello.is_some(), frame.messages.len());
        assert_eq!(
            sent.iter().map(shape).collect::<Vec<_>>(),
            [(true, 0), (false, 1)]
        );
    }
}
