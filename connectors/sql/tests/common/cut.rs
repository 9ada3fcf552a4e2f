//! A way to the server that is cut at some moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::Place;

/// Passes on what clients and the server say, until clients have spoken so often; once. Later connections go through.
pub(crate) struct Cut {
    pub(crate) place: Place,
    left: Arc<AtomicUsize>,
}

impl Cut {
    /// A way to the database of `place` that is cut when its clients speak for the nth time. What they say then has reached the
    /// server, which answers nobody, or has not.
    pub(crate) async fn at(place: &Place, nth: usize, arrives: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let left = Arc::new(AtomicUsize::new(nth));
        let mut through = place.again();
        through.config.port = Some(listener.local_addr().unwrap().port());
        let (server, known) = (format!("127.0.0.1:{}", place.config.port.unwrap()), Arc::clone(&left));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass_on(client, server.clone(), Arc::clone(&known), arrives));
            }
        });
        Self { place: through, left }
    }

    /// Whether it was.
    pub(crate) fn is_done(&self) -> bool {
        self.left.load(Ordering::SeqCst) == 0
    }
}

/// Ends where either side ends, or at the cut; both connections end with it.
async fn pass_on(client: TcpStream, server: String, left: Arc<AtomicUsize>, arrives: bool) {
    let Ok(server) = TcpStream::connect(server).await else { return };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let asking = async {
        let mut said = vec![0; 64 << 10];
        loop {
            let Ok(length) = from_client.read(&mut said).await else { return };
            let before = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
            let is_cut = before == Ok(1);
            if length == 0 || is_cut && !arrives {
                return;
            }
            if to_server.write_all(&said[..length]).await.is_err() || is_cut {
                return;
            }
        }
    };
    tokio::select! {
        () = asking => {}
        _ = tokio::io::copy(&mut from_server, &mut to_client) => {}
    }
}
