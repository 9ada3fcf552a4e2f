//! What a sink's writers and commits share: the client, the stream and what it takes.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use aws_sdk_kinesis::Client;
use tidelock::{Error, ErrorKind, Result, Retry, SinkAttempt};
use tidelock_aws::Limit;
use tokio::sync::{Mutex, OnceCell};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::check::Checks;
use crate::client::client;
use crate::header::Header;
use crate::mark::Mark;
use crate::puts::{Bounds, Puts, Requests, Stamp};
use crate::sink_config::{KinesisSinkConfig, Mode, Order};
use crate::source::api::Api;

/// A service that does not answer for so long is away: that is for the attempt's restart.
const AGAIN_FOR: Duration = Duration::from_secs(120);

/// What a stream takes whose owner says nothing else.
const RECORD_BYTES_MAX: usize = 1_024 * 1_024;

/// What is known of the stream in one attempt.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) mark: Mark,
    pub(crate) checks: Checks,
    pub(crate) requests: Requests,
    pub(crate) bounds: Bounds,
}

/// The stream of a sink.
pub(crate) struct Target {
    pub(crate) config: KinesisSinkConfig,
    client: OnceCell<Client>,
    limit: Limit,
    /// Tasks and requests that go on for a moment when nobody waits for them any more, because an attempt ended: what they put must not come after what the next one
    /// puts.
    under_way: TaskTracker,
    /// Ends what puts records for the attempt that looked last, when another one does. Its host may not have dropped all of its writers yet.
    of_attempt: RwLock<CancellationToken>,
    /// The attempt that looked last in this process. Nobody looks beside it.
    looked: Mutex<Option<SinkAttempt>>,
    /// What it saw.
    ready: RwLock<Option<Arc<Ready>>>,
}

impl Target {
    /// Nothing is connected yet.
    pub(crate) fn new(config: KinesisSinkConfig) -> Result<Self> {
        config.validate()?;
        let limit = Limit::new(config.requests_in_flight_max);
        Ok(Self {
            config,
            client: OnceCell::new(),
            limit,
            under_way: TaskTracker::new(),
            of_attempt: RwLock::default(),
            looked: Mutex::default(),
            ready: RwLock::default(),
        })
    }

    /// Looks at the stream, once in an attempt and process. What the attempt before it left under way is answered then, or was given up.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where it is not there.
    pub(crate) async fn look(&self, attempt: &SinkAttempt) -> Result<Arc<Ready>> {
        let mut looked = self.looked.lock().await;
        if looked.as_ref() == Some(attempt)
            && let Some(ready) = self.ready()
        {
            return Ok(ready);
        }
        let of_next = CancellationToken::new();
        std::mem::replace(&mut *self.of_attempt.write().unwrap_or_else(PoisonError::into_inner), of_next)
            .cancel();
        self.under_way.close();
        self.under_way.wait().await;
        self.under_way.reopen();
        let ready = self.look_now().await?;
        *looked = Some(attempt.clone());
        Ok(ready)
    }

    /// Puts records for the attempt that looked last, until it is dropped or another attempt looks.
    pub(crate) fn puts(&self, ready: &Ready, stamp: impl Stamp) -> Puts {
        let unwanted = self.of_attempt.read().unwrap_or_else(PoisonError::into_inner).child_token();
        Puts::begin(ready.requests.clone(), ready.bounds, stamp, (&self.under_way, unwanted))
    }

    /// What is known of the stream: what was seen last, where somebody looked.
    ///
    /// # Errors
    /// As [`Target::look`].
    pub(crate) async fn seen(&self) -> Result<Arc<Ready>> {
        if let Some(ready) = self.ready() {
            return Ok(ready);
        }
        let _alone = self.looked.lock().await;
        self.look_now().await
    }

    /// The same, where it is known.
    pub(crate) fn ready(&self) -> Option<Arc<Ready>> {
        self.ready.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn look_now(&self) -> Result<Arc<Ready>> {
        let ready = Arc::new(self.look_at_stream().await?);
        *self.ready.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&ready));
        Ok(ready)
    }

    async fn look_at_stream(&self) -> Result<Ready> {
        let config = &self.config;
        let client = self.client.get_or_try_init(|| client(&config.kinesis)).await?;
        let Ok(summary) = Api::new(client.clone(), AGAIN_FOR).summary(&config.stream).await? else {
            let why = "there is no such stream: make it, or name the right one, or its region";
            let error = Error::new(ErrorKind::NotFound, "look at a stream", why).with_retry(Retry::Halt);
            return Err(error.with("stream", &config.stream));
        };
        let own_bytes = match config.mode {
            Mode::Direct => 0,
            Mode::Numbered => Header::BYTES_MAX,
        };
        let record_bytes_max =
            config.record_bytes_max.or(summary.record_bytes_max).unwrap_or(RECORD_BYTES_MAX);
        let bounds = Bounds {
            is_ordered: config.order == Order::Key,
            aggregates: config.aggregates,
            records_max: config.request_records_max,
            bytes_max: config.request_bytes_max,
            // What a run in the mode `numbered` left is put in any mode.
            own_bytes: Header::BYTES_MAX,
            at_once: usize::try_from(config.requests_in_flight_max).unwrap_or(usize::MAX),
        };
        Ok(Ready {
            checks: Checks { stream: summary.name.clone(), record_bytes_max, own_bytes },
            requests: Requests {
                client: client.clone(),
                stream: summary.arn.as_str().into(),
                limit: self.limit.clone(),
            },
            mark: Mark { arn: summary.arn, made_ms: summary.made_ms },
            bounds,
        })
    }
}
