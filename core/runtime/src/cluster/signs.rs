//! Signs of life that no worker gives: datagrams between process 0 and each of the others.
//!
//! The post is a dataflow, so a worker that is busy for long, with a user's function or starved by others on its
//! machine, says nothing by it. The process lives nevertheless: this task says so as long as the process is neither
//! paused nor gone. The datagrams go between the addresses that the processes have anyway. Where they do not come
//! through, the letters of the post remain, as if this were not here; a worker that never comes back is a
//! matter of the checkpoint's timeout.

use std::net::SocketAddr;
use std::sync::Arc;

use tidelock::JobId;
use tokio::net::{UdpSocket, lookup_host};

use super::ALIVE_INTERVAL;
use super::post::Post;

/// What a datagram begins with. The job and the number of the process follow.
const WORD: &str = "tidelock alive";

/// More than a sign takes: names of jobs are short.
const SIGN_BYTES_MAX: usize = 512;

/// Gives signs, and notes those of others, as long as it is polled.
pub(super) async fn give_and_take_signs(post: Arc<Post>, job: JobId) {
    if let Err(error) = exchange(&post, &job).await {
        tracing::debug!(%error, "signs of life go by post alone");
    }
}

async fn exchange(post: &Post, job: &JobId) -> std::io::Result<()> {
    let process = post.place.process;
    let socket = UdpSocket::bind(first_of(&post.addresses[process])).await?;
    // Process 0 hears all, and all hear it.
    let others: Vec<usize> = if process == 0 { (1..post.place.processes).collect() } else { vec![0] };
    let mut addresses: Vec<SocketAddr> = Vec::with_capacity(others.len());
    for other in &others {
        addresses.extend(lookup_host(first_of(&post.addresses[*other])).await?.next());
    }
    let own = sign(job, process);
    let mut alive = tokio::time::interval(ALIVE_INTERVAL);
    let mut buffer = [0; SIGN_BYTES_MAX];
    loop {
        tokio::select! {
            _ = alive.tick() => {
                for address in &addresses {
                    // Nobody may listen there yet, or any more: that says nothing.
                    let _ = socket.send_to(own.as_bytes(), address).await;
                }
            }
            came = socket.recv_from(&mut buffer) => {
                // On some systems a refused datagram of ours comes back as an error here.
                let Ok((length, _)) = came else { continue };
                let of = others.iter().find(|other| sign(job, **other).as_bytes() == &buffer[..length]);
                if let Some(other) = of {
                    post.note_sign_of(*other);
                }
            }
        }
    }
}

fn sign(job: &JobId, process: usize) -> String {
    format!("{WORD} {job} {process}")
}

/// An address may be several, parted by spaces.
fn first_of(address: &str) -> &str {
    address.split_whitespace().next().unwrap_or(address)
}
