//! Clients: each does one thing after another, as its own chance decides.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::draw::Draw;
use super::mcp;
use super::speaker::{Question, Session, Speaker};
use super::stage::Here;
use super::upstream::{AGAIN, ONCE};
use crate::history::{Asked, Outcome};

/// Between two things that a client does.
const THINK: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(250));
const LEVELS: [&str; 3] = ["info", "warning", "error"];
/// Longest work of a call, in ms.
const WORK: usize = 400;
/// Longest work of a call beside which its client does other things, in ms.
const LONG_WORK: usize = 2_500;

/// One client.
pub(super) struct Client {
    here: Here,
    number: usize,
    is_legacy: bool,
    draw: Draw,
    speaker: Speaker,
    /// Who makes the long calls.
    aside: Option<Speaker>,
    /// The long call under way; it gives back who makes it.
    long: Option<JoinHandle<Speaker>>,
    sessions: u64,
    session: Option<Session>,
    /// A session that was ended, and is to be asked once more.
    ended: Option<Session>,
    serial: u64,
}

impl Client {
    pub(super) fn new(here: &Here, number: usize) -> Self {
        let scenario = here.stage.scenario();
        // Each has chances of its own, whatever the others do.
        let seed = |of: u64| scenario.seed.wrapping_add((number as u64 * 4 + of) << 40);
        Self {
            here: here.clone(),
            number,
            is_legacy: number < scenario.legacy,
            draw: Draw::new(seed(1)),
            speaker: Speaker::new(here, number, seed(2)),
            aside: Some(Speaker::new(here, number, seed(3))),
            long: None,
            sessions: 0,
            session: None,
            ended: None,
            serial: 0,
        }
    }

    /// Works until the scene is over.
    pub(super) async fn run(mut self) {
        while !self.here.stage.is_closing() {
            sleep(self.draw.between(THINK.0, THINK.1)).await;
            match self.is_legacy {
                true => self.legacy_turn().await,
                false => self.modern_turn().await,
            }
        }
    }

    async fn legacy_turn(&mut self) {
        let Some(session) = self.session.clone() else {
            return self.open().await;
        };
        if let Some(ended) = self.ended.take() {
            let once_more = self.call(ONCE, Some(ended));
            return self.ask(once_more).await;
        }
        match self.draw.below(100) {
            0..50 => self.short_call(Some(session)).await,
            50..60 => self.long_call(Some(session)).await,
            60..80 => self.read(session).await,
            80..92 => self.set_level(session).await,
            _ => self.end(session).await,
        }
    }

    async fn modern_turn(&mut self) {
        match self.draw.below(100) {
            0..70 => self.short_call(None).await,
            70..80 => self.long_call(None).await,
            _ => {
                let question = self.question(None, Asked::Read, "tools/list", &json!({}));
                self.ask(question).await;
            }
        }
    }

    async fn open(&mut self) {
        let session = Session {
            number: self.sessions + 1,
            id: String::new(),
        };
        let id = self.id();
        let question = Question {
            ask: mcp::legacy(None, &id, "initialize", &mcp::hello()),
            id,
            asked: Asked::Open,
            session: Some(session.clone()),
        };
        let answered = self.speaker.ask(question).await;
        let reply = answered.and_then(|(_, reply)| reply);
        let Some(id) = reply.and_then(|reply| reply.session) else {
            return;
        };
        self.sessions += 1;
        let ask = mcp::notification(&id, "notifications/initialized");
        self.session = Some(Session { id, ..session });
        self.speaker.tell(ask).await;
    }

    async fn short_call(&mut self, session: Option<Session>) {
        let tool = *self.draw.one(&[ONCE, ONCE, ONCE, AGAIN]);
        let question = self.call(tool, session);
        self.ask(question).await;
    }

    /// Begins a call, if none runs, and goes on without waiting for it.
    async fn long_call(&mut self, session: Option<Session>) {
        if let Some(long) = self.long.take_if(|long| long.is_finished()) {
            self.aside = long.await.ok();
        }
        let Some(mut speaker) = self.aside.take() else {
            return;
        };
        let ms = self.draw.below(LONG_WORK);
        let question = self.call_for(ONCE, session, ms);
        self.long = Some(tokio::spawn(async move {
            speaker.ask(question).await;
            speaker
        }));
    }

    async fn read(&mut self, session: Session) {
        let method = *self.draw.one(&["ping", "tools/list"]);
        let question = self.question(Some(session), Asked::Read, method, &json!({}));
        self.ask(question).await;
    }

    async fn set_level(&mut self, session: Session) {
        let level = *self.draw.one(&LEVELS);
        let asked = Asked::SetLevel(level.to_owned());
        let params = json!({ "level": level });
        let question = self.question(Some(session), asked, "logging/setLevel", &params);
        self.ask(question).await;
    }

    async fn end(&mut self, session: Session) {
        let question = Question {
            ask: mcp::delete(&session.id),
            id: self.id(),
            asked: Asked::Delete,
            session: Some(session.clone()),
        };
        let answered = self.speaker.ask(question).await;
        if let Some((Outcome::Answered(_), _)) = answered {
            self.session = None;
            self.ended = Some(session);
        }
    }

    /// A short call of a tool.
    fn call(&mut self, tool: &str, session: Option<Session>) -> Question {
        let ms = match self.draw.chance(50) {
            true => 0,
            false => self.draw.below(WORK),
        };
        self.call_for(tool, session, ms)
    }

    fn call_for(&mut self, tool: &str, session: Option<Session>, ms: usize) -> Question {
        let asked = match tool {
            ONCE => Asked::Call,
            _ => Asked::Read,
        };
        let id = format!("c{}.{}", self.number, self.serial + 1);
        let params = json!({"name": tool, "arguments": {"id": id, "ms": ms}});
        self.question(session, asked, "tools/call", &params)
    }

    fn question(
        &mut self,
        session: Option<Session>,
        asked: Asked,
        method: &str,
        params: &Value,
    ) -> Question {
        let id = self.id();
        let ask = match &session {
            Some(session) => mcp::legacy(Some(&session.id), &id, method, params),
            None => mcp::modern(&id, method, params),
        };
        Question {
            session,
            id,
            asked,
            ask,
        }
    }

    fn id(&mut self) -> String {
        self.serial += 1;
        format!("c{}.{}", self.number, self.serial)
    }

    /// Asks, and forgets a session that nobody knows.
    async fn ask(&mut self, question: Question) {
        let number = question.session.as_ref().map(|session| session.number);
        let answered = self.speaker.ask(question).await;
        let current = self.session.as_ref().map(|session| session.number);
        if let Some((Outcome::Gone, _)) = answered
            && number == current
        {
            self.session = None;
        }
    }
}
