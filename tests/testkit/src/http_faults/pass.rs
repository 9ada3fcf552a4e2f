//! Passes requests on to the server, and answers back to the client.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http1::SendRequest;
use hyper::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use super::{Fault, Rewrite, Shared};

/// An answer that comes in pieces, and perhaps not whole.
type Body = StreamBody<BoxStream<'static, io::Result<Frame<Bytes>>>>;

/// A connection to the server, while it lasts.
type Connection = Mutex<Option<SendRequest<Full<Bytes>>>>;

/// The pieces of a slow answer: single bytes at first, and the rest in a few.
const SLOW_BYTES: usize = 16;
const SLOW_PIECES: usize = 8;
const SLOW_PAUSE: Duration = Duration::from_millis(5);

/// Serves until it is dropped, and its connections with it.
pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut clients = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        // Those that have ended meanwhile are forgotten.
        while clients.try_join_next().is_some() {}
        let shared = Arc::clone(&shared);
        clients.spawn(async move {
            let server = Arc::<Connection>::default();
            let answer = service_fn(move |request| {
                let (shared, server) = (Arc::clone(&shared), Arc::clone(&server));
                async move { answer(request, &shared, &server).await }
            });
            // A fault is an error here, and has cut the connection.
            hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(client), answer)
                .await
                .ok();
        });
    }
}

/// Sends one request on a connection of its own.
pub(super) async fn once(server: SocketAddr, request: Request<Bytes>) -> io::Result<Response<Bytes>> {
    send(server, &Connection::default(), request).await
}

async fn answer(
    request: Request<Incoming>,
    shared: &Shared,
    server: &Connection,
) -> io::Result<Response<Body>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let mut request = Request::from_parts(head, body);
    let (fault, hook) = shared.decide(&request);
    let cut = || Err(io::Error::from(io::ErrorKind::ConnectionReset));
    match fault {
        Some(Fault::Cut) => return cut(),
        Some(Fault::Late(after)) => {
            shared.keep(request, after.max(1));
            return cut();
        }
        Some(Fault::Refused { status, body }) => {
            let refused = Response::builder().status(status).body(body).map_err(io::Error::other)?;
            return Ok(whole(refused));
        }
        _ => {}
    }
    let rewrite = hook(&mut request);
    if fault == Some(Fault::Doubled) {
        once(shared.server, request.clone()).await?;
    }
    let mut answer = send(shared.server, server, request).await?;
    for late in shared.done() {
        once(shared.server, late).await?;
    }
    if let Some(rewrite) = rewrite {
        change(&mut answer, rewrite);
    }
    match fault {
        Some(Fault::Lost) => cut(),
        Some(Fault::Half) => Ok(half(answer)),
        Some(Fault::Slow) => Ok(slow(answer)),
        _ => Ok(whole(answer)),
    }
}

async fn send(
    server: SocketAddr,
    connection: &Connection,
    mut request: Request<Bytes>,
) -> io::Result<Response<Bytes>> {
    // A hook may have changed the body.
    let length = request.body().len();
    request.headers_mut().remove(TRANSFER_ENCODING);
    request.headers_mut().insert(CONTENT_LENGTH, length.into());
    let mut connection = connection.lock().await;
    // Taken out: what fails in the middle is not used again.
    let kept = match connection.take() {
        Some(mut sender) => sender.ready().await.is_ok().then_some(sender),
        None => None,
    };
    let mut sender = match kept {
        Some(sender) => sender,
        None => connect(server).await?,
    };
    let answer = sender.send_request(request.map(Full::new)).await.map_err(io::Error::other)?;
    let (head, body) = answer.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    *connection = Some(sender);
    Ok(Response::from_parts(head, body))
}

async fn connect(server: SocketAddr) -> io::Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(server).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    tokio::spawn(connection);
    Ok(sender)
}

/// Its length may be another one afterwards, and so may be what a service says of its sum.
fn change(answer: &mut Response<Bytes>, rewrite: Rewrite) {
    rewrite(answer);
    answer.headers_mut().remove(TRANSFER_ENCODING);
    answer.headers_mut().remove("x-amz-crc32");
    let length = answer.body().len();
    answer.headers_mut().insert(CONTENT_LENGTH, length.into());
}

fn whole(answer: Response<Bytes>) -> Response<Body> {
    pieces(answer, |body| stream::iter([Ok(body)]).boxed())
}

fn half(answer: Response<Bytes>) -> Response<Body> {
    pieces(answer, |body| {
        let half = body.slice(..body.len() / 2);
        stream::iter([Ok(half), Err(io::ErrorKind::ConnectionReset.into())]).boxed()
    })
}

fn slow(answer: Response<Bytes>) -> Response<Body> {
    pieces(answer, |body| {
        let single = body.len().min(SLOW_BYTES);
        let rest = (body.len() - single).div_ceil(SLOW_PIECES).max(1);
        let sizes = (0..single).map(|_| 1).chain(std::iter::repeat(rest));
        let pieces = stream::iter(sizes).scan(body, |left, size| {
            let piece = left.split_to(size.min(left.len()));
            std::future::ready((!piece.is_empty()).then_some(piece))
        });
        let paced = pieces.then(|piece| async {
            tokio::time::sleep(SLOW_PAUSE).await;
            Ok(piece)
        });
        paced.boxed()
    })
}

fn pieces(
    answer: Response<Bytes>,
    cut_up: impl FnOnce(Bytes) -> BoxStream<'static, io::Result<Bytes>>,
) -> Response<Body> {
    answer.map(|body| StreamBody::new(cut_up(body).map(|piece| piece.map(Frame::data)).boxed()))
}
