//! One connection, made anew when it is lost, and checked each time: another server may
//! answer there.

use std::time::Duration;

use futures_util::TryFutureExt;
use hexagram_core::ShardCount;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, FromRedisValue, Pipeline, RedisError, RedisResult};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::checks::{About, SCHEMA, refuse_server};
use super::random;
use super::scripts::Scripts;
use super::settings::{RedisSettings, SettingsError};
use super::trouble::{Remedy, explain, remedy};
use crate::store::StoreError;

/// Time to connect, log in and check, and for each answer after that.
const PATIENCE: Duration = Duration::from_secs(1);
/// After a vain attempt to connect the next call fails at once.
const PAUSE: Duration = Duration::from_millis(100);

pub(super) struct Connection {
    client: Client,
    address: String,
    cluster: String,
    shards: ShardCount,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    line: Option<Line>,
    dialled: u64,
    failed: Option<(Instant, StoreError)>,
    /// Of the store that was there last.
    incarnation: Option<String>,
}

/// One life of the connection.
#[derive(Clone)]
struct Line {
    number: u64,
    connection: MultiplexedConnection,
    scripts: Scripts,
}

impl Connection {
    /// Connects nowhere yet.
    pub(super) fn new(settings: &RedisSettings) -> Result<Self, SettingsError> {
        Ok(Self {
            client: settings.client()?,
            address: settings.address(),
            cluster: settings.cluster.clone(),
            shards: settings.shards,
            state: Mutex::default(),
        })
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Sends commands in one go and gives their answers. If the connection turns out to be
    /// lost they are sent once more over a new one.
    pub(super) async fn run<T: FromRedisValue>(
        &self,
        commands: impl Fn(&Scripts) -> Pipeline,
    ) -> Result<T, StoreError> {
        self.run_unless(commands, |_| None).await
    }

    /// As [`run()`](Self::run), for commands that are refused each for itself.
    pub(super) async fn run_each<T: FromRedisValue>(
        &self,
        commands: impl Fn(&Scripts) -> Pipeline,
    ) -> Result<Vec<Result<T, StoreError>>, StoreError> {
        let each = |scripts: &Scripts| {
            let mut commands = commands(scripts);
            commands.ignore_errors();
            commands
        };
        let answers = self
            .run_unless(each, |answers: &Vec<_>| of_the_connection(answers))
            .await?;
        let answers = answers.into_iter();
        let explained = answers.map(|answer| answer.map_err(|error| self.explain(&error)));
        Ok(explained.collect())
    }

    /// Sends commands, again where the connection is lost or `trouble` says so.
    async fn run_unless<T: FromRedisValue>(
        &self,
        commands: impl Fn(&Scripts) -> Pipeline,
        trouble: impl Fn(&T) -> Option<RedisError>,
    ) -> Result<T, StoreError> {
        match self.attempt(&commands, &trouble).await? {
            Ok(answer) => return Ok(answer),
            Err(error) if remedy(&error) == Remedy::Again => {}
            Err(error) => return Err(self.explain(&error)),
        }
        let again = self.attempt(&commands, &trouble).await?;
        again.map_err(|error| self.explain(&error))
    }

    /// Asks whose store it is, for it may have been wiped and taken since we connected.
    pub(super) async fn check_about(&self) -> Result<(), StoreError> {
        let incarnation = format!("{:016x}", random());
        let answer = self
            .run(|scripts| self.about(scripts, &incarnation))
            .await?;
        let mut state = self.state.lock().await;
        self.take_note(&mut state, answer)
    }

    /// An answer that no script of ours gives.
    pub(super) fn nonsense(&self, of: &str) -> StoreError {
        let address = &self.address;
        StoreError::Unusable(format!(
            "{address} holds in {of} what no release of ours writes"
        ))
    }

    async fn attempt<T: FromRedisValue>(
        &self,
        commands: impl Fn(&Scripts) -> Pipeline,
        trouble: impl Fn(&T) -> Option<RedisError>,
    ) -> Result<RedisResult<T>, StoreError> {
        let mut line = self.line().await?;
        let pipeline = commands(&line.scripts);
        let answer = pipeline.query_async(&mut line.connection).await;
        let answer = answer.and_then(|answer| trouble(&answer).map_or(Ok(answer), Err));
        if let Err(error) = &answer
            && remedy(error) != Remedy::None
        {
            self.hang_up(line.number).await;
        }
        Ok(answer)
    }

    /// The connection, which is made if there is none.
    async fn line(&self) -> Result<Line, StoreError> {
        let mut state = self.state.lock().await;
        if let Some(line) = &state.line {
            return Ok(line.clone());
        }
        if let Some((when, error)) = &state.failed
            && when.elapsed() < PAUSE
        {
            return Err(error.clone());
        }
        let dialled = timeout(PATIENCE, self.dial(&mut state)).await;
        let dialled = dialled.unwrap_or_else(|_| {
            let address = &self.address;
            Err(StoreError::Lost(format!("{address} takes too long")))
        });
        state.failed = dialled
            .as_ref()
            .err()
            .map(|error| (Instant::now(), error.clone()));
        state.line = dialled.as_ref().ok().cloned();
        dialled
    }

    /// The next call connects anew, unless another one has already.
    async fn hang_up(&self, number: u64) {
        let mut state = self.state.lock().await;
        if state
            .line
            .as_ref()
            .is_some_and(|line| line.number == number)
        {
            state.line = None;
        }
    }

    /// Connects and checks.
    async fn dial(&self, state: &mut State) -> Result<Line, StoreError> {
        let mut connection = self.connect().map_err(|error| self.explain(&error)).await?;
        let info: String = redis::cmd("INFO")
            .query_async(&mut connection)
            .map_err(|error| self.explain(&error))
            .await?;
        self.refuse(refuse_server(&info))?;
        let scripts = Scripts::load(&mut connection)
            .map_err(|error| self.explain(&error))
            .await?;
        let incarnation = format!("{:016x}", random());
        let about = self.about(&scripts, &incarnation);
        let answer = about
            .query_async(&mut connection)
            .map_err(|error| self.explain(&error))
            .await?;
        self.take_note(state, answer)?;
        state.dialled += 1;
        tracing::debug!(
            address = self.address,
            times = state.dialled,
            "connected to the store"
        );
        Ok(Line {
            number: state.dialled,
            connection,
            scripts,
        })
    }

    async fn connect(&self) -> RedisResult<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE));
        let client = &self.client;
        client
            .get_multiplexed_async_connection_with_config(&config)
            .await
    }

    fn about(&self, scripts: &Scripts, incarnation: &str) -> Pipeline {
        let (shards, schema) = (self.shards.to_string(), SCHEMA.to_string());
        let facts = [&self.cluster, shards.as_str(), schema.as_str(), incarnation];
        let mut pipeline = Pipeline::new();
        pipeline.add_command(scripts.about(facts));
        pipeline
    }

    /// Refuses a store that is not ours, and tells if it is another one than before.
    fn take_note(
        &self,
        state: &mut State,
        (answer,): ([Option<String>; 4],),
    ) -> Result<(), StoreError> {
        let about = About::read(answer);
        self.refuse(about.refuse(&self.cluster, self.shards))?;
        let incarnation = Some(about.incarnation);
        if state.incarnation.is_some() && state.incarnation != incarnation {
            let address = &self.address;
            tracing::warn!(address, "the store lost all it held, or it is another one");
        }
        state.incarnation = incarnation;
        Ok(())
    }

    fn refuse(&self, refusal: Option<String>) -> Result<(), StoreError> {
        let address = &self.address;
        refusal.map_or(Ok(()), |why| {
            Err(StoreError::Unusable(format!("{address} {why}")))
        })
    }

    fn explain(&self, error: &RedisError) -> StoreError {
        explain(error, &self.address)
    }
}

/// The first error among answers that is the connection's, and so of all commands.
fn of_the_connection<T>(answers: &[RedisResult<T>]) -> Option<RedisError> {
    let mut errors = answers.iter().filter_map(|answer| answer.as_ref().err());
    errors.find(|error| remedy(error) != Remedy::None).cloned()
}
