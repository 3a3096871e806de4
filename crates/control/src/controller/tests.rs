use std::sync::Arc;
use std::time::Duration;

use hexagram_core::RegisterMap;
use tokio::time::timeout;

use super::*;
use crate::register::{Maps, MemoryRegister, RegisterError};
use crate::testing::settings;

/// By then all is over that is to end.
const DEADLINE: Duration = Duration::from_secs(60);

/// A register that whoever reads it dies of.
#[derive(Clone)]
struct Deadly;

impl Register for Deadly {
    async fn read(&self) -> Result<Option<Arc<RegisterMap>>, RegisterError> {
        panic!("a mistake in the code")
    }

    async fn compare_and_swap(&self, _: Arc<RegisterMap>) -> Result<(), RegisterError> {
        Ok(())
    }

    fn watch(&self) -> Maps {
        watch::channel(None).1
    }
}

fn start(register: impl Register, end: &CancellationToken) -> Controller {
    Controller::start(register, settings(1), end.clone())
}

#[tokio::test(start_paused = true)]
async fn one_that_panicked_has_ended() {
    let controller = start(Deadly, &CancellationToken::new());
    timeout(DEADLINE, controller.ended()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn one_that_controls_has_not_ended_before_it_is_told_to() {
    let end = CancellationToken::new();
    let controller = start(MemoryRegister::default(), &end);
    assert!(timeout(DEADLINE, controller.ended()).await.is_err());
    end.cancel();
    timeout(DEADLINE, controller.ended()).await.unwrap();
}
