//! The consumer of a stream: found or registered, waited for, removed.

use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::types::ConsumerStatus;
use tidelock::{Error, ErrorKind, Patience, Result, Retry};
use tidelock_aws::{failed, says_nothing};
use tokio::sync::Mutex;

use super::config::{ConsumerLifecycle, FanOutConfig};
use crate::client::CALLS_AGAIN;

const LOOK: &str = "look at a consumer";
const REGISTER: &str = "register a consumer";
const REMOVE: &str = "remove a consumer";

/// A consumer is there within a minute or so after it was registered: nothing says within which time for certain.
const READY_FOR_MIN: Duration = Duration::from_secs(300);

/// The consumer of one stream, for all readers of it.
#[derive(Debug)]
pub(crate) struct Consumer {
    client: Client,
    stream_arn: String,
    name: String,
    lifecycle: ConsumerLifecycle,
    again_for: Duration,
    /// Its ARN, which has the moment in it when it was registered: `None` until it was seen to be active.
    arn: Mutex<Option<String>>,
}

/// What there is.
enum Seen {
    Active(String),
    /// It will be there, or be gone, before long.
    Soon(ConsumerStatus),
    Nothing,
}

impl Consumer {
    pub(crate) fn new(client: Client, stream_arn: &str, config: &FanOutConfig, again_for: Duration) -> Self {
        Self {
            client,
            stream_arn: stream_arn.to_owned(),
            name: config.consumer.clone(),
            lifecycle: config.lifecycle,
            again_for,
            arn: Mutex::default(),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn stream_arn(&self) -> &str {
        &self.stream_arn
    }

    /// Its ARN. It is registered where it is missing and the settings say so, and waited for until it can be used.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] with what to do, where there is none and it is not for us to register it.
    pub(crate) async fn arn(&self) -> Result<String> {
        // One reader looks, and the others wait for it.
        let mut known = self.arn.lock().await;
        if let Some(arn) = &*known {
            return Ok(arn.clone());
        }
        let arn = self.make_ready().await?;
        *known = Some(arn.clone());
        Ok(arn)
    }

    /// There is none with this ARN: the next one who asks looks again.
    pub(super) async fn forget(&self, gone: &str) {
        let mut known = self.arn.lock().await;
        // Another reader may have looked meanwhile.
        if known.as_deref() == Some(gone) {
            *known = None;
        }
    }

    /// Removes it, where the settings say so.
    ///
    /// # Errors
    /// Where the service refuses, or is away for too long.
    pub(crate) async fn remove(&self) -> Result<()> {
        if self.lifecycle != ConsumerLifecycle::RegisterAndRemove {
            return Ok(());
        }
        *self.arn.lock().await = None;
        let mut patience = Patience::new(CALLS_AGAIN, self.again_for);
        loop {
            let call = self.client.deregister_stream_consumer().stream_arn(&self.stream_arn);
            let Err(answer) = call.consumer_name(&self.name).send().await else { return Ok(()) };
            let error = failed(REMOVE, answer);
            if error.kind() == ErrorKind::NotFound {
                return Ok(());
            }
            patience.after(self.with(error), &self.stream_arn).await?;
        }
    }

    async fn make_ready(&self) -> Result<String> {
        let mut patience = Patience::new(CALLS_AGAIN, self.again_for.max(READY_FOR_MIN));
        loop {
            let error = match self.look().await {
                Ok(Seen::Active(arn)) => return Ok(arn),
                Ok(Seen::Soon(status)) => self.soon().with("status", status),
                Ok(Seen::Nothing) if self.lifecycle == ConsumerLifecycle::Registered => {
                    let why = "there is no such consumer, and it is not for this job to register it: \
                               `aws kinesis register-stream-consumer` does, or another `lifecycle`";
                    return Err(self.with(Error::new(ErrorKind::NotFound, LOOK, why)));
                }
                Ok(Seen::Nothing) => match self.register().await {
                    Ok(()) => self.soon(),
                    Err(error) => error,
                },
                Err(error) => error,
            };
            patience.after(self.with(error), &self.stream_arn).await?;
        }
    }

    async fn look(&self) -> Result<Seen> {
        let call = self.client.describe_stream_consumer().stream_arn(&self.stream_arn);
        let answer = match call.consumer_name(&self.name).send().await {
            Ok(answer) => answer,
            Err(answer) => {
                let error = failed(LOOK, answer);
                return if error.kind() == ErrorKind::NotFound { Ok(Seen::Nothing) } else { Err(error) };
            }
        };
        let consumer = answer.consumer_description.ok_or_else(|| says_nothing(LOOK))?;
        // The SDK puts an empty text where there is none.
        if consumer.consumer_arn.is_empty() {
            return Err(says_nothing(LOOK));
        }
        Ok(match consumer.consumer_status {
            ConsumerStatus::Active => Seen::Active(consumer.consumer_arn),
            other => Seen::Soon(other),
        })
    }

    async fn register(&self) -> Result<()> {
        let call = self.client.register_stream_consumer().stream_arn(&self.stream_arn);
        // That another process was faster is an error that passes: it is there the next time.
        call.consumer_name(&self.name).send().await.map_err(|answer| failed(REGISTER, answer))?;
        Ok(())
    }

    fn soon(&self) -> Error {
        let why = "the consumer is not active yet, or is being removed";
        Error::new(ErrorKind::Unavailable, LOOK, why).with_retry(Retry::Retry)
    }

    fn with(&self, error: Error) -> Error {
        error.with("consumer", &self.name).with("stream", &self.stream_arn)
    }
}
