//! A relay in front of the embedded broker, so that a broker that cannot be stopped can be away.
//!
//! While the broker of the bus is down, every connection is closed and none is taken. What the broker
//! behind has kept stays kept, and it tells the wills of those who were cut off; the broker in memory
//! (see [`crate::hub`]) forgets, as one without persistence.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

use crate::world::Shared;

/// How often it is looked whether the broker is down. Chosen: far below a client's back-off.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Relays to the broker, for ever.
pub async fn run(listener: TcpListener, broker: SocketAddr, world: Shared, bus: Arc<str>) {
    let mut clients = tokio::task::JoinSet::new();
    loop {
        while clients.try_join_next().is_some() {}
        let Ok((client, _)) = listener.accept().await else {
            // Out of descriptors, for instance: try again rather than end.
            tokio::time::sleep(LOOK_EVERY).await;
            continue;
        };
        if world.lock().broker_is_down(&bus) {
            continue;
        }
        let (world, bus) = (world.clone(), Arc::clone(&bus));
        clients.spawn(async move {
            let down = async {
                while !world.lock().broker_is_down(&bus) {
                    tokio::time::sleep(LOOK_EVERY).await;
                }
            };
            tokio::select! {
                () = join(client, broker) => {}
                () = down => {}
            }
        });
    }
}

async fn join(mut client: TcpStream, broker: SocketAddr) {
    let Ok(mut server) = TcpStream::connect(broker).await else {
        return;
    };
    // Small messages must not wait for acknowledgements; a refusal costs only time.
    client.set_nodelay(true).ok();
    server.set_nodelay(true).ok();
    tokio::io::copy_bidirectional(&mut client, &mut server)
        .await
        .ok();
}
