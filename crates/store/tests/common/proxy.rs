//! A network between a store and a member of etcd that can fail.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    Whole,
    /// What the member answers is lost.
    Deaf,
    /// What it is asked is lost.
    Mute,
    /// No connection is made.
    Gone,
}

pub struct Proxy {
    pub url: String,
    /// And how often connections were cut.
    state: Arc<watch::Sender<(Network, u64)>>,
}

impl Proxy {
    pub async fn before(url: &str) -> Proxy {
        let member = url.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(watch::Sender::new((Network::Whole, 0)));
        let proxy = Proxy { url, state: state.clone() };
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if state.borrow().0 != Network::Gone {
                    tokio::spawn(carry(client, member.clone(), state.subscribe()));
                }
            }
        });
        proxy
    }

    /// For connections that there are as well.
    pub fn set(&self, network: Network) {
        self.state.send_modify(|state| state.0 = network);
    }

    /// Breaks the connections that there are; `network` is for the next ones.
    pub fn cut(&self, network: Network) {
        self.state.send_modify(|state| *state = (network, state.1 + 1));
    }
}

async fn carry(mut client: TcpStream, member: String, mut state: watch::Receiver<(Network, u64)>) {
    let mut member = TcpStream::connect(member).await.unwrap();
    let (mut asked, mut answered) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    let cuts = state.borrow().1;
    loop {
        let (from_client, length) = tokio::select! {
            // What a cut overtakes is lost.
            biased;
            _ = state.wait_for(|state| state.1 > cuts) => return,
            read = client.read(&mut asked) => (true, read.unwrap_or(0)),
            read = member.read(&mut answered) => (false, read.unwrap_or(0)),
        };
        let network = state.borrow().0;
        let carried = match from_client {
            _ if length == 0 => return,
            true if network == Network::Mute => Ok(()),
            true => member.write_all(&asked[..length]).await,
            false if network == Network::Deaf => Ok(()),
            false => client.write_all(&answered[..length]).await,
        };
        if carried.is_err() {
            return;
        }
    }
}
