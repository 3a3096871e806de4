//! What edges learn.

use super::message::{Message, News};
use super::state::State;
use super::words::EdgeId;
use super::{Bug, Cluster};

impl State {
    /// Every edge is told, some day.
    pub(super) fn tell_edges(&mut self, news: &News) {
        let edges = u8::try_from(self.edges.len()).unwrap_or(u8::MAX);
        let told = (0..edges).map(|edge| Message::News(edge, news.clone()));
        self.network.extend(told);
    }
}

impl Cluster {
    pub(super) fn hear_news(&self, state: &mut State, edge: EdgeId, news: News) {
        let route = &mut state.edges[usize::from(edge)].route;
        let before = route.epoch();
        let _ = match (news, self.bug) {
            (News::Owner(owner, epoch), _) => route.learn(owner, epoch),
            (News::Moving(_, to, next), Some(Bug::EdgeRaisesOnMoving)) => route.learn(to, next),
            (News::Moving(epoch, ..), _) => route.moving(epoch),
            (News::Resumed(epoch), _) => route.resumed(epoch),
        };
        state.seen.went_back |= route.epoch() < before;
    }
}
