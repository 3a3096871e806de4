//! A tower layer that lets a request pass or answers it with a refusal.
//! Host and Origin checks and authentication are such checks.

use std::future::Ready;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::Either;
use hexagram_mcp::error::Problem;
use http::Request;
use tower::{Layer, Service};

use crate::metrics::EdgeMetrics;
use crate::reply::{Response, refusal};

/// Decides over a request by its head alone.
pub(crate) trait Check: Send + Sync + 'static {
    /// Lets the request pass, perhaps with an extension added.
    fn check<B>(&self, request: &mut Request<B>) -> Result<(), Problem>;
}

/// A check whose refusals are counted.
pub(crate) struct Counted<C> {
    check: C,
    metrics: Arc<EdgeMetrics>,
}

impl<C> Counted<C> {
    pub(crate) fn new(check: C, metrics: &Arc<EdgeMetrics>) -> Self {
        Self {
            check,
            metrics: Arc::clone(metrics),
        }
    }
}

/// Applies a [`Check`] to every request.
pub(crate) struct CheckLayer<C>(Arc<Counted<C>>);

impl<C> CheckLayer<C> {
    pub(crate) fn new(check: Arc<Counted<C>>) -> Self {
        Self(check)
    }
}

impl<C, S> Layer<S> for CheckLayer<C> {
    type Service = Checked<C, S>;

    fn layer(&self, inner: S) -> Self::Service {
        Checked {
            check: Arc::clone(&self.0),
            inner,
        }
    }
}

/// A service behind a [`Check`].
pub(crate) struct Checked<C, S> {
    check: Arc<Counted<C>>,
    inner: S,
}

impl<C, S: Clone> Clone for Checked<C, S> {
    fn clone(&self) -> Self {
        Self {
            check: Arc::clone(&self.check),
            inner: self.inner.clone(),
        }
    }
}

impl<C, S, B> Service<Request<B>> for Checked<C, S>
where
    C: Check,
    S: Service<Request<B>, Response = Response>,
{
    type Response = Response;
    type Error = S::Error;
    type Future = Either<Ready<Result<Response, S::Error>>, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        match self.check.check.check(&mut request) {
            Ok(()) => Either::Right(self.inner.call(request)),
            Err(problem) => {
                self.check.metrics.refused(&problem);
                Either::Left(std::future::ready(Ok(refusal(&problem, None))))
            }
        }
    }
}
