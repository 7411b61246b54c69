//! Time, trouble, and the end, when everything due must have come or been told.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tower_revalidate::Epoch;
use tower_revalidate::log::MemoryLog;

use super::super::client::Client;
use super::super::log::{Broker, Fate};
use super::op::With;
use super::setting::LONGEST;
use super::{History, Log, moment};

impl History {
    pub(super) fn broker(&self) -> &Arc<Broker> {
        match &self.log {
            Log::Broker(broker) => broker,
            Log::Memory(_) => panic!("this history has no broker"),
        }
    }

    /// Lets tasks run, without time passing.
    pub(super) async fn travel(&mut self) {
        for _ in 0..self.rng.u8(1..5) {
            tokio::task::yield_now().await;
        }
    }

    pub(super) async fn pass(&mut self, time: Duration) {
        if self.began.elapsed() + time > LONGEST {
            return;
        }
        let slices = if time > Duration::from_secs(1) { 8 } else { 1 };
        for _ in 0..slices {
            tokio::time::sleep(time / slices).await;
            if self.reads_eagerly {
                self.read_all(usize::MAX);
            }
        }
    }

    pub(super) fn restart(&mut self, node: usize) {
        self.had_faults = true;
        self.nodes[node].alive.store(false, Ordering::Relaxed);
        for client in &mut self.clients {
            let Client { stream, next, .. } = client;
            for stream in [stream, next] {
                stream.take_if(|stream| stream.node == node);
            }
        }
        self.subscribers.retain(|subscriber| subscriber.node != node);
        self.receipts.retain(|receipt| receipt.node != node);
        self.truth.lock().forget_said(node);
        if let Log::Memory(log) = &mut self.log {
            *log = Arc::new(MemoryLog::new(Epoch::from_random(self.rng.u64(..))));
        }
        self.serial += 1;
        self.nodes[node] = self.build(node);
    }

    /// Till nothing moves any more, without time passing: whoever sleeps then was not woken.
    pub(super) async fn calm(&mut self) {
        let mut quiet = 0;
        while quiet < 3 {
            for _ in 0..8 {
                tokio::task::yield_now().await;
            }
            let woken = self.clients.iter().any(|client| client.is_reading && client.is_woken())
                || self.subscribers.iter().any(|subscriber| subscriber.flag.is_woken())
                || self.receipts.iter().any(|receipt| receipt.flag.is_woken());
            quiet = if woken { 0 } else { quiet + 1 };
            self.read_all(usize::MAX);
        }
    }

    pub(super) fn settle(&mut self, in_time: bool) {
        let truth = self.truth.lock();
        let (log, nodes, began) = (&self.log, &self.nodes, self.began);
        for (index, client) in self.clients.iter_mut().enumerate().filter(|(_, client)| client.is_reading) {
            if self.trace.is_on {
                self.trace.note(|| format!("       client {index} settles"));
            }
            for stream in client.streams() {
                let now = moment(log, nodes, began, stream.node);
                stream.session.settled(in_time, now, &truth);
            }
            if let Some(stream) = client.stream.as_ref().filter(|_| in_time) {
                client.settled(moment(log, nodes, began, stream.node).known, &truth);
            }
        }
        for subscriber in &mut self.subscribers {
            let now = moment(log, nodes, began, subscriber.node);
            subscriber.session.settled(in_time, now, &truth);
        }
    }

    /// Everything works again, everybody comes back, and then everything due must have come or been told.
    pub(crate) async fn finish(&mut self) {
        self.trace.note(|| "       the end".to_owned());
        for node in 0..self.nodes.len() {
            if let Log::Broker(broker) = &self.log {
                broker.destine(node, Fate::Taken);
                broker.stall(node, false);
            }
        }
        for client in 0..self.clients.len() {
            self.clients[client].is_reading = true;
            let node = self.rng.usize(..self.nodes.len());
            if self.clients[client].stream.is_none() {
                self.connect(client, node, With::Own, false).await;
            }
        }
        self.calm().await;
        self.settle(false);
        for _ in 0..40 {
            tokio::time::sleep(Duration::from_millis(500)).await;
            self.read_all(usize::MAX);
        }
        self.calm().await;
        self.settle(true);
        let unknown: Vec<_> = self.receipts.iter().map(|receipt| &receipt.expected).collect();
        assert!(unknown.is_empty(), "nobody said what became of {unknown:?}");
        self.truth.lock().object_to_unsaid();
        self.clients.clear();
        self.subscribers.clear();
        for node in &self.nodes {
            let stats = node.hub.stats();
            assert_eq!((stats.sessions, stats.subscriptions), (0, 0), "everybody left");
        }
    }
}
