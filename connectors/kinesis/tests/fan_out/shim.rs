//! A server in front of a server of Kinesis that has no enhanced fan-out, or another one than the service's. What is subscribed to is read with
//! GetRecords there, and goes wrong as it is told to. Everything else is passed on.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tidelock_aws::AwsConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep};

use crate::frames::{event, exception};
use crate::script::{Asked, Script, Trouble};

type Body = StreamBody<BoxStream<'static, io::Result<Frame<Bytes>>>>;

/// How the number of a place begins that is no record's: the service names such places, and the server behind does not know them.
const PLACE: &str = "place:";

/// The shim. It ends when it is dropped.
pub(crate) struct Shim {
    address: SocketAddr,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

struct Shared {
    server: SocketAddr,
    script: Mutex<Script>,
}

impl Drop for Shim {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Shim {
    pub(crate) async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared { server, script: Mutex::new(Script::new()) });
        let serving = tokio::spawn(serve(listener, Arc::clone(&shared)));
        Self { address, shared, serving }
    }

    pub(crate) fn script(&self) -> MutexGuard<'_, Script> {
        self.shared.script()
    }

    /// How it is reached.
    pub(crate) fn config(&self) -> AwsConfig {
        let mut config = AwsConfig::new().with_credentials("key", "secret");
        config.region = Some("eu-central-1".into());
        config.endpoint = Some(format!("http://{}", self.address));
        config
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut clients = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        while clients.try_join_next().is_some() {}
        let shared = Arc::clone(&shared);
        clients.spawn(async move {
            let answer = service_fn(move |request| answer(request, Arc::clone(&shared)));
            let client = TokioIo::new(client);
            // A connection that was cut is an error here.
            hyper::server::conn::http1::Builder::new().serve_connection(client, answer).await.ok();
        });
    }
}

async fn answer(request: Request<Incoming>, shared: Arc<Shared>) -> Result<Response<Body>, io::Error> {
    let (head, body) = request.into_parts();
    let target = head.headers["x-amz-target"].to_str().unwrap().to_owned();
    let call = target.rsplit('.').next().unwrap().to_owned();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let mut asked: Value = serde_json::from_slice(&body).unwrap();
    *shared.script().calls.entry(call.clone()).or_default() += 1;
    let said = match call.as_str() {
        "SubscribeToShard" => return subscribe(&asked, shared).await,
        "RegisterStreamConsumer" => shared.register(&asked),
        "DescribeStreamConsumer" => shared.describe(&asked),
        "DeregisterStreamConsumer" => shared.deregister(&asked),
        _ => {
            if call == "GetShardIterator" {
                name_place(&mut asked);
            }
            shared.ask(&call, &asked).await?
        }
    };
    Ok(whole(said))
}

fn whole((status, said): (u16, Value)) -> Response<Body> {
    let said = Frame::data(Bytes::from(said.to_string()));
    let body = StreamBody::new(futures::stream::iter([Ok(said)]).boxed());
    let response = Response::builder().status(status).header("content-type", "application/x-amz-json-1.1");
    response.body(body).unwrap()
}

fn refuse(code: &str) -> (u16, Value) {
    let status = if code == "InternalFailureException" { 500 } else { 400 };
    (status, json!({ "__type": code, "message": "as it was told to" }))
}

/// A place that we named, in the words of the server behind: it has none after the beginning of a shard, or after a moment.
fn name_place(asked: &mut Value) {
    let Some(place) = asked["StartingSequenceNumber"].as_str().and_then(|number| number.strip_prefix(PLACE))
    else {
        return;
    };
    let place: Value = serde_json::from_str(place).unwrap();
    let asked = asked.as_object_mut().unwrap();
    asked.remove("StartingSequenceNumber");
    asked.extend(place.as_object().unwrap().clone());
}

impl Shared {
    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap()
    }

    fn register(&self, asked: &Value) -> (u16, Value) {
        let text = |name: &str| asked[name].as_str().unwrap();
        match self.script().register(text("StreamARN"), text("ConsumerName")) {
            Err(code) => refuse(code),
            Ok(new) => {
                let consumer = json!({ "ConsumerARN": new.arn, "ConsumerName": text("ConsumerName"),
                    "ConsumerStatus": "CREATING", "ConsumerCreationTimestamp": 1.0 });
                (200, json!({ "Consumer": consumer }))
            }
        }
    }

    fn describe(&self, asked: &Value) -> (u16, Value) {
        let mut script = self.script();
        let Some(key) = script.key_of(asked) else { return refuse("ResourceNotFoundException") };
        let one = script.consumers.get_mut(&key).unwrap();
        let status = if one.creating > 0 { "CREATING" } else { "ACTIVE" };
        one.creating = one.creating.saturating_sub(1);
        let (stream, name) = key;
        let consumer = json!({ "ConsumerARN": one.arn, "ConsumerName": name, "ConsumerStatus": status,
            "ConsumerCreationTimestamp": 1.0, "StreamARN": stream });
        (200, json!({ "ConsumerDescription": consumer }))
    }

    fn deregister(&self, asked: &Value) -> (u16, Value) {
        let mut script = self.script();
        let Some(key) = script.key_of(asked) else { return refuse("ResourceNotFoundException") };
        let gone = script.consumers.remove(&key).unwrap();
        script.live.retain(|(arn, _), _| *arn != gone.arn);
        (200, json!({}))
    }

    /// Asks the server behind.
    async fn ask(&self, call: &str, asked: &Value) -> Result<(u16, Value), io::Error> {
        let stream = TcpStream::connect(self.server).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        let connection = tokio::spawn(connection);
        let request = Request::post("/")
            .header("host", self.server.to_string())
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-target", format!("Kinesis_20131202.{call}"))
            .header("x-amz-date", "20260101T000000Z")
            .header(
                "authorization",
                "AWS4-HMAC-SHA256 Credential=a/20260101/eu-central-1/kinesis/aws4_request, SignedHeaders=host, Signature=b",
            );
        let request = request.body(Full::new(Bytes::from(asked.to_string()))).unwrap();
        let answer = sender.send_request(request).await.map_err(io::Error::other)?;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.map_err(io::Error::other)?.to_bytes();
        connection.abort();
        Ok((
            status,
            if body.is_empty() {
                json!({})
            } else {
                serde_json::from_slice(&body).map_err(io::Error::other)?
            },
        ))
    }
}

/// Begins a subscription, or refuses one.
async fn subscribe(asked: &Value, shared: Arc<Shared>) -> Result<Response<Body>, io::Error> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let (shard, place) = (text(&asked["ShardId"]).unwrap(), asked["StartingPosition"].clone());
    let begun = {
        let mut script = shared.script();
        let trouble = script.trouble();
        let number = text(&place["SequenceNumber"]);
        let kind = text(&place["Type"]).unwrap();
        let want = Asked { shard: shard.clone(), kind, number, at: Instant::now(), is_taken: false };
        match (script.key_of(asked), trouble) {
            (None, _) => Err("ResourceNotFoundException"),
            (_, Some(Trouble::Refused(code))) => Err(code),
            (Some(key), trouble) => {
                let consumer = script.consumers[&key].arn.clone();
                let begun = script.begin(&consumer, want);
                begun.map(|number| (number, key.0, (consumer, shard.clone()), trouble))
            }
        }
    };
    let (number, stream, key, trouble) = match begun {
        Ok(begun) => begun,
        Err(code) => return Ok(whole(refuse(code))),
    };
    if trouble == Some(Trouble::NoAnswer) {
        std::future::pending::<Infallible>().await;
    }
    let (give, given) = mpsc::channel(1);
    let subscription = Subscription { shared, stream, key, number, place, trouble, give };
    let iterator = match subscription.iterator().await? {
        Ok(iterator) => iterator,
        Err(refusal) => return Ok(whole(refusal)),
    };
    tokio::spawn(subscription.run(iterator));
    let body = futures::stream::unfold(given, |mut given| async {
        let next: Option<io::Result<Bytes>> = given.recv().await;
        next.map(|next| (next.map(Frame::data), given))
    });
    let response = Response::builder().header("content-type", "application/vnd.amazon.eventstream");
    Ok(response.body(StreamBody::new(body.boxed())).unwrap())
}

/// A subscription that is under way.
struct Subscription {
    shared: Arc<Shared>,
    stream: String,
    key: (String, String),
    number: u64,
    place: Value,
    trouble: Option<Trouble>,
    give: mpsc::Sender<io::Result<Bytes>>,
}

impl Subscription {
    /// The place as the server behind calls it.
    fn asked(&self) -> Value {
        let mut asked = json!({ "StreamARN": self.stream, "ShardId": self.key.1, "ShardIteratorType": self.place["Type"] });
        for (from, to) in [("SequenceNumber", "StartingSequenceNumber"), ("Timestamp", "Timestamp")] {
            if !self.place[from].is_null() {
                asked[to] = self.place[from].clone();
            }
        }
        name_place(&mut asked);
        asked
    }

    async fn iterator(&self) -> Result<Result<String, (u16, Value)>, io::Error> {
        let (status, said) = self.shared.ask("GetShardIterator", &self.asked()).await?;
        match said["ShardIterator"].as_str() {
            Some(iterator) if status == 200 => Ok(Ok(iterator.to_owned())),
            _ => Ok(Err((status, said))),
        }
    }

    /// Gives events until it is over. Whoever does not take them holds it up, and nobody else.
    async fn run(self, mut iterator: String) {
        let began = Instant::now();
        // Where reading goes on after what has nothing in it.
        let mut place = self.asked();
        for name in ["StreamARN", "ShardId"] {
            place.as_object_mut().unwrap().remove(name);
        }
        let mut next = format!("{PLACE}{place}");
        let mut events = 0;
        self.say(event("initial-response", &json!({}))).await;
        loop {
            if self.is_over(began, events).await {
                return;
            }
            let (most, beat, ends_apart, names_children) = {
                let script = self.script();
                (script.event_records, script.beat, script.ends_apart, script.names_children)
            };
            let asked = json!({ "ShardIterator": iterator, "Limit": most });
            let Ok((200, said)) = self.shared.ask("GetRecords", &asked).await else {
                self.say(exception("InternalFailureException")).await;
                return;
            };
            let records = said["Records"].as_array().unwrap().clone();
            if let Some(last) = records.last() {
                next = last["SequenceNumber"].as_str().unwrap().to_owned();
            }
            let is_empty = records.is_empty();
            let behind = said["MillisBehindLatest"].clone();
            let going_on = said["NextShardIterator"].as_str();
            let ends_apart = ends_apart && !is_empty;
            if going_on.is_some() || ends_apart {
                let told = json!({ "Records": records, "ContinuationSequenceNumber": next, "MillisBehindLatest": behind });
                if !self.say(event("SubscribeToShardEvent", &told)).await {
                    return;
                }
            }
            let Some(going_on) = going_on else {
                let records = if ends_apart { Vec::new() } else { records };
                let mut told = json!({ "Records": records, "MillisBehindLatest": behind });
                if names_children {
                    told["ChildShards"] = said["ChildShards"].clone();
                }
                self.say(event("SubscribeToShardEvent", &told)).await;
                return;
            };
            iterator = going_on.to_owned();
            events += 1;
            if is_empty {
                sleep(beat).await;
            }
        }
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.shared.script()
    }

    /// Whether it ends here, after what is said then.
    async fn is_over(&self, began: Instant, events: usize) -> bool {
        let (life, newest) = {
            let script = self.script();
            (script.life, script.live.get(&self.key).map(|(number, _)| *number))
        };
        match newest {
            None => return self.end(exception("ResourceNotFoundException")).await,
            Some(newest) if newest != self.number => {
                return self.end(exception("ResourceInUseException")).await;
            }
            Some(_) => {}
        }
        match self.trouble {
            Some(Trouble::Exception(after, name)) if events == after => self.end(exception(name)).await,
            Some(Trouble::Empty(after)) if events == after => {
                self.end(event("SubscribeToShardEvent", &json!({}))).await
            }
            Some(Trouble::Ended(after)) if events == after => true,
            Some(Trouble::Cut(after)) if events == after => {
                let whole = event("SubscribeToShardEvent", &json!({ "Records": [] }));
                self.say(whole.slice(..whole.len() / 2)).await;
                self.give.send(Err(io::ErrorKind::ConnectionReset.into())).await.ok();
                true
            }
            Some(Trouble::Silent(after)) if events == after => {
                self.give.closed().await;
                true
            }
            Some(Trouble::Unknown(after)) if events == after => {
                self.say(event("NewEvent", &json!({ "Much": 1 }))).await;
                false
            }
            _ => began.elapsed() > life,
        }
    }

    async fn end(&self, last: Bytes) -> bool {
        self.say(last).await;
        true
    }

    /// Whether there was still somebody who heard it.
    async fn say(&self, said: Bytes) -> bool {
        *self.script().events.entry(self.key.1.clone()).or_default() += 1;
        let is_heard = self.give.send(Ok(said)).await.is_ok();
        self.script().given_up += usize::from(!is_heard);
        is_heard
    }
}

/// How many subscriptions were made, by shard.
pub(crate) fn by_shard(script: &Script) -> BTreeMap<String, usize> {
    let mut shards = BTreeMap::new();
    for asked in script.asked.iter().filter(|asked| asked.is_taken) {
        *shards.entry(asked.shard.clone()).or_default() += 1;
    }
    shards
}

/// What is waited for in tests, and not longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
