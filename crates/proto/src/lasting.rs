//! A link over all the connections that carry it, one after another (DESIGN 5a,
//! "Link lost").

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures_util::Stream;
use parking_lot::Mutex;

use crate::journal::{Impossible, Journal};
use crate::link::Hello;
use crate::{Drained, Frame};

/// The oldest link version in which frames are counted and a link can be taken up again.
pub const LASTING_SINCE: u32 = 3;

/// One side's end of a link; cheap to clone.
#[derive(Debug)]
pub struct Lasting<F: Frame>(Arc<Mutex<End<F::Message>>>);

impl<F: Frame> Clone for Lasting<F> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

#[derive(Debug)]
struct End<M> {
    drained: Drained<M>,
    journal: Journal<M>,
    /// Which connection carries the link now; they count from 1.
    connection: u64,
    state: State,
    waker: Option<Waker>,
}

/// How far the connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Greeting: nothing but the Hello leaves.
    Greeting,
    /// Both speak an old version: a lost connection is a lost link.
    Passing,
    /// The next frame to leave.
    Lasting { next: u64 },
}

impl<F: Frame> Lasting<F>
where
    F::Message: Clone + crate::Weight,
{
    /// A link that says what `drained` gives.
    pub fn new(drained: Drained<F::Message>) -> Self {
        Self(Arc::new(Mutex::new(End {
            drained,
            journal: Journal::default(),
            connection: 0,
            state: State::Greeting,
            waker: None,
        })))
    }

    /// The frames for a new connection. The one before carries nothing any more. After
    /// the Hello nothing leaves until [`Self::begin`] or [`Self::go_on`].
    pub fn connect(&self, hello: Hello) -> Sending<F> {
        let mut end = self.0.lock();
        end.connection += 1;
        end.state = State::Greeting;
        end.wake();
        Sending {
            end: Arc::clone(&self.0),
            connection: end.connection,
            hello: Some(hello),
        }
    }

    /// Both sides have greeted, in this link version: the link begins.
    pub fn begin(&self, version: u32) {
        let mut end = self.0.lock();
        end.state = match version >= LASTING_SINCE {
            true => State::Lasting { next: 1 },
            false => State::Passing,
        };
        end.wake();
    }

    /// Both sides have greeted and the link goes on: the peer has so many frames.
    ///
    /// # Errors
    /// [`Impossible`]: the peer speaks of another link.
    pub fn go_on(&self, received: u64) -> Result<(), Impossible> {
        let mut end = self.0.lock();
        end.journal.go_on(received)?;
        end.state = State::Lasting { next: received + 1 };
        end.wake();
        Ok(())
    }

    /// How many frames have come, to be told in a Hello.
    pub fn received(&self) -> u64 {
        self.0.lock().journal.tell()
    }

    /// A frame has come, and what is in it will be heard.
    ///
    /// # Errors
    /// [`Impossible`]: what it confirms was never sent.
    pub fn take<T: Frame>(&self, frame: &T) -> Result<(), Impossible>
    where
        T::Message: crate::Weight,
    {
        let mut end = self.0.lock();
        if end.state == State::Passing {
            return Ok(());
        }
        let (messages, received) = frame.content();
        end.journal.took(messages);
        end.journal.confirm(received)?;
        if end.journal.must_tell() {
            end.wake();
        }
        Ok(())
    }
}

impl<M> End<M> {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl<M: Clone + crate::Weight> End<M> {
    /// The next messages to leave; none where only a confirmation does.
    fn next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Vec<M>>> {
        let State::Lasting { next } = &mut self.state else {
            return match self.state {
                State::Passing => Pin::new(&mut self.drained).poll_next(cx),
                _ => Poll::Pending,
            };
        };
        if let Some(again) = self.journal.kept(*next) {
            *next += 1;
            return Poll::Ready(Some(again));
        }
        match Pin::new(&mut self.drained).poll_next(cx) {
            Poll::Ready(Some(messages)) => {
                self.journal.sent(&messages);
                *next += 1;
                Poll::Ready(Some(messages))
            }
            Poll::Pending if self.journal.must_tell() => Poll::Ready(Some(Vec::new())),
            other => other,
        }
    }
}

/// What leaves over one connection: its Hello, then frames.
#[derive(Debug)]
pub struct Sending<F: Frame> {
    end: Arc<Mutex<End<F::Message>>>,
    connection: u64,
    hello: Option<Hello>,
}

impl<F: Frame> Unpin for Sending<F> {}

impl<F: Frame> Stream for Sending<F>
where
    F::Message: Clone + crate::Weight,
{
    type Item = F;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<F>> {
        if let Some(hello) = self.hello.take() {
            return Poll::Ready(Some(F::greeting(hello)));
        }
        let mut end = self.end.lock();
        if end.connection != self.connection {
            return Poll::Ready(None);
        }
        let next = end.next(cx);
        if next.is_pending() {
            end.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let counts = end.state != State::Passing;
        next.map(|messages| {
            let received = if counts { end.journal.tell() } else { 0 };
            messages.map(|messages| F::batch(messages, received))
        })
    }
}

#[cfg(test)]
mod tests;
