//! Hears the steps of the protocol in the product's log events. In the simulation a
//! log event belongs to the host that runs at the time: turmoil says which in a span.

use std::fmt;

use hexagram_proto::STEPS;
use parking_lot::Mutex;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use super::stage::Stage;
use crate::history::Told;

/// turmoil's span around a host's turn.
const TURN: &str = "node";

/// A log that is read by machine. One host runs at a time, so there is one span.
pub(super) struct Recorder {
    stage: Stage,
    host: Mutex<String>,
    /// Whether all of the product's log is printed.
    loud: bool,
}

impl Recorder {
    pub(super) fn new(stage: Stage, loud: bool) -> Self {
        let host = Mutex::default();
        Self { stage, host, loud }
    }

    fn say(&self, event: &Event<'_>) {
        let mut words = Words::default();
        event.record(&mut words);
        let at = self.stage.now().as_secs_f64();
        let (host, of) = (self.host.lock(), event.metadata().target());
        eprintln!("{at:10.6} {host} {of}: {}", words.0);
    }
}

impl Subscriber for Recorder {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        match metadata.is_span() {
            true => metadata.name() == TURN,
            false => metadata.target() == STEPS || (self.loud && is_ours(metadata)),
        }
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut name = Name::default();
        span.record(&mut name);
        *self.host.lock() = name.0;
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        if event.metadata().target() != STEPS {
            return self.say(event);
        }
        let mut told = Told::default();
        event.record(&mut told);
        if let Some(step) = told.step() {
            let host = self.host.lock().clone();
            self.stage.record(&host, step);
        }
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {
        self.host.lock().clear();
    }
}

fn is_ours(metadata: &Metadata<'_>) -> bool {
    metadata.target().starts_with("hexagram") && *metadata.level() <= tracing::Level::DEBUG
}

#[derive(Default)]
struct Name(String);

impl Visit for Name {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "name" {
            value.clone_into(&mut self.0);
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}

impl Visit for Told {
    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name() {
            "shard" => self.shard = u16::try_from(value).unwrap_or(u16::MAX),
            "epoch" => self.epoch = value,
            _ => {}
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "step" => value.clone_into(&mut self.step),
            "id" => value.clone_into(&mut self.id),
            "owner" => value.clone_into(&mut self.owner),
            _ => {}
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}

/// All that a log event says.
#[derive(Default)]
struct Words(String);

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        use fmt::Write;
        // A String takes everything.
        let _ = match field.name() {
            "message" => write!(self.0, "{value:?} "),
            name => write!(self.0, "{name}={value:?} "),
        };
    }
}
