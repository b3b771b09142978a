//! The thread that tells receivers of alerts after each evaluation, and a task for each that delivers.
//!
//! The thread that ticks only rings a bell, and never waits. Whoever is slow or gone holds up nobody else: each has
//! a queue of its own. Nothing is told before the first evaluation, so that what is replayed at a start is not news.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::Context;
use parking_lot::Mutex;
use tokio::{sync::Notify, task::AbortHandle, time::sleep};

use super::{Shared, throttle::Throttle};
use crate::{
    notifier::{BATCH_MAX, Config, Discovery, Ledger, Outbox, Outcome, Receiver, Round, Target},
    time::Clock,
};

/// The running thread and tasks.
#[derive(Debug)]
pub(super) struct Notifying {
    thread: JoinHandle<()>,
    office: Arc<Office>,
    discovering: Option<AbortHandle>,
}

/// What the thread that ticks rings.
#[derive(Debug)]
pub(super) struct Bell(mpsc::SyncSender<()>);

/// Everybody who is told.
#[derive(Debug)]
struct Office {
    config: Config,
    interval: Duration,
    shared: Arc<Shared>,
    desks: Mutex<BTreeMap<String, Desk>>,
}

/// One of them.
#[derive(Debug)]
struct Desk {
    mailbox: Arc<Mailbox>,
    delivering: AbortHandle,
    /// Whether the configuration names it, so that discovery does not take it away.
    is_fixed: bool,
}

#[derive(Debug)]
struct Mailbox {
    receiver: Receiver,
    /// Only the thread that tells uses it, and whoever delivers when it may have to be told again.
    ledger: Mutex<Ledger>,
    outbox: Mutex<Outbox>,
    /// Rung when there is something to deliver.
    filled: Notify,
    /// Rung when all is delivered.
    emptied: Notify,
    is_failing: AtomicBool,
    log: Throttle,
}

// A receiver that restarts is back after a second or so; one that is gone is asked four times a minute.
const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(15);
// How often files of targets are looked at for a change.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
// Half of what systemd and Kubernetes wait beyond their usual terms for the rest of a stop.
const DRAIN_MAX: Duration = Duration::from_secs(5);

// === impl Notifying ===

impl Notifying {
    /// Starts on the present runtime. The thread ends when the bell is dropped.
    pub(super) fn start(
        config: Config,
        interval: Duration,
        shared: Arc<Shared>,
    ) -> anyhow::Result<(Self, Bell)> {
        shared.telemetry.notifications.queue_capacity.set(config.queue_capacity as i64);
        let mut discovery = Discovery::new(config.alertmanagers.clone());
        let office = Arc::new(Office { config, interval, shared, desks: Mutex::default() });
        for webhook in &office.config.webhooks {
            let receiver = Receiver::webhook(webhook, &office.config.external_url);
            office.add(receiver.with_context(|| format!("cannot tell {}", webhook.name))?, true);
        }
        let (targets, complaints) = discovery.look(office.shared.clock.elapsed());
        complaints.iter().for_each(|complaint| tracing::warn!("cannot find all Alertmanagers: {complaint}"));
        for target in &targets {
            office.add(office.alertmanager(target)?, false);
        }
        office.shared.telemetry.notifications.discovered.set(targets.len() as i64);
        let discovering = (!discovery.is_fixed())
            .then(|| tokio::spawn(discover(discovery, Arc::clone(&office))).abort_handle());
        let (bell, rung) = mpsc::sync_channel(1);
        let thread =
            tell_when_rung(rung, Arc::clone(&office)).context("cannot start the notifying thread")?;
        Ok((Self { thread, office, discovering }, Bell(bell)))
    }

    /// Waits until everything is delivered that the last evaluation told, but not for long. The bell must be gone.
    pub(super) async fn finish(self) {
        let joined = tokio::task::spawn_blocking(|| self.thread.join()).await;
        if !matches!(joined, Ok(Ok(()))) {
            tracing::error!("BUG: the notifying thread panicked");
        }
        if let Some(discovering) = self.discovering {
            discovering.abort();
        }
        let mailboxes = self.office.mailboxes();
        let drained = async {
            for mailbox in &mailboxes {
                mailbox.drained().await;
            }
        };
        let _ = tokio::time::timeout(DRAIN_MAX, drained).await;
        self.office.desks.lock().values().for_each(|desk| desk.delivering.abort());
        for mailbox in mailboxes {
            let left = mailbox.outbox.lock().len();
            if left > 0 {
                let receiver = mailbox.receiver.name();
                tracing::warn!(receiver, alerts = left, "not all alerts were delivered before the end");
            }
        }
    }
}

// === impl Bell ===

impl Bell {
    /// There is a new report. One that was not looked at yet is skipped: the newer one has the newer state.
    pub(super) fn ring(&self) {
        // Full: it is rung already. Closed: only by a bug of ours, which joining the thread tells.
        let _ = self.0.try_send(());
    }
}

fn tell_when_rung(rung: mpsc::Receiver<()>, office: Arc<Office>) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name("slod-notify".to_owned()).spawn(move || {
        let mut round = Round::new(&office.config);
        while rung.recv().is_ok() {
            let Some(report) = office.shared.report().filter(|_| !office.desks.lock().is_empty()) else {
                continue;
            };
            round.begin(report.alerts(), office.shared.clock.now());
            // Held through the round it would keep the memory of the next ticks apart.
            drop(report);
            office.tell(&mut round);
        }
    })
}

async fn discover(mut discovery: Discovery, office: Arc<Office>) {
    loop {
        sleep(LOOK_INTERVAL).await;
        let elapsed = office.shared.clock.elapsed();
        let looked = tokio::task::spawn_blocking(move || {
            let found = discovery.look(elapsed);
            (discovery, found)
        });
        let Ok((returned, (targets, complaints))) = looked.await else {
            return tracing::error!("BUG: looking for Alertmanagers panicked");
        };
        discovery = returned;
        complaints.iter().for_each(|complaint| tracing::warn!("cannot find all Alertmanagers: {complaint}"));
        office.settle(&targets);
    }
}

// === impl Office ===

impl Office {
    fn alertmanager(&self, target: &Target) -> anyhow::Result<Receiver> {
        let group = &self.config.alertmanagers[target.group];
        let receiver = Receiver::alertmanager(group, &target.address);
        receiver.with_context(|| format!("cannot tell {}", target.url))
    }

    fn add(self: &Arc<Self>, receiver: Receiver, is_fixed: bool) {
        let name = receiver.name().to_owned();
        let pace = receiver.pace(self.config.resend_delay, self.interval);
        self.shared.telemetry.notifications.add(&name);
        let mailbox = Arc::new(Mailbox {
            receiver,
            ledger: Mutex::new(Ledger::new(pace)),
            outbox: Mutex::new(Outbox::new(self.config.queue_capacity)),
            filled: Notify::new(),
            emptied: Notify::new(),
            is_failing: AtomicBool::new(false),
            log: Throttle::default(),
        });
        let delivering = tokio::spawn(deliver(Arc::clone(&mailbox), Arc::clone(&self.shared))).abort_handle();
        self.desks.lock().insert(name, Desk { mailbox, delivering, is_fixed });
    }

    /// Adds Alertmanagers that were found, and forgets those that were not found any more.
    fn settle(self: &Arc<Self>, targets: &[Target]) {
        let is_gone = |(name, desk): &(&String, &Desk)| {
            !desk.is_fixed && targets.iter().all(|target| target.url != **name)
        };
        let gone: Vec<String> =
            self.desks.lock().iter().filter(is_gone).map(|(name, _)| name.clone()).collect();
        for name in gone {
            if let Some(desk) = self.desks.lock().remove(&name) {
                desk.delivering.abort();
            }
            self.shared.telemetry.notifications.remove(&name);
            tracing::info!(alertmanager = name, "an Alertmanager is gone");
        }
        for target in targets {
            if self.desks.lock().contains_key(&target.url) {
                continue;
            }
            match self.alertmanager(target) {
                Ok(receiver) => {
                    tracing::info!(alertmanager = target.url, "an Alertmanager was found");
                    self.add(receiver, false);
                }
                Err(error) => tracing::error!("{error:#}"),
            }
        }
        self.shared.telemetry.notifications.discovered.set(targets.len() as i64);
    }

    fn mailboxes(&self) -> Vec<Arc<Mailbox>> {
        self.desks.lock().values().map(|desk| Arc::clone(&desk.mailbox)).collect()
    }

    fn tell(&self, round: &mut Round) {
        for mailbox in self.mailboxes() {
            let dropped = mailbox.fill(round);
            let (metrics, name) = (&self.shared.telemetry.notifications, mailbox.receiver.name());
            metrics.dropped.with_label_values(&[name]).inc_by(dropped);
            metrics.queue_length.with_label_values(&[name]).set(mailbox.outbox.lock().len() as i64);
        }
    }
}

// === impl Mailbox ===

impl Mailbox {
    /// Puts in what is due. Returns how many alerts had no room.
    fn fill(&self, round: &mut Round) -> u64 {
        let now = round.now();
        let due = self.ledger.lock().due(round.alerts(), now);
        let mut dropped = 0;
        for due in &due {
            if self.outbox.lock().push(round.notification(due)) {
                self.ledger.lock().note(due, now);
            } else {
                dropped += 1;
            }
        }
        if !due.is_empty() {
            self.filled.notify_one();
        }
        dropped
    }

    async fn drained(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.outbox.lock().is_empty() {
                return;
            }
            emptied.await;
        }
    }

    async fn next(&self) -> Vec<Arc<crate::notifier::Notification>> {
        loop {
            let filled = self.filled.notified();
            let batch = self.outbox.lock().take(BATCH_MAX);
            if !batch.is_empty() {
                return batch;
            }
            self.emptied.notify_one();
            filled.await;
        }
    }

    /// Notes that a batch has arrived.
    fn note_delivered(&self) {
        self.outbox.lock().done();
        if self.is_failing.swap(false, Ordering::Relaxed) {
            // It may have been started anew, without what it knew.
            self.ledger.lock().tell_again();
            tracing::info!(receiver = self.receiver.name(), "alerts are delivered again");
        }
    }
}

/// Delivers for ever.
async fn deliver(mailbox: Arc<Mailbox>, shared: Arc<Shared>) {
    let (metrics, name) = (&shared.telemetry.notifications, mailbox.receiver.name());
    let mut pause = PAUSE_MIN;
    loop {
        let batch = mailbox.next().await;
        let (count, start) = (batch.len(), shared.clock.elapsed());
        let outcome = mailbox.receiver.send(&batch, shared.clock.now()).await;
        let now = shared.clock.elapsed();
        metrics.latency.record(name, now.saturating_sub(start));
        if outcome != Outcome::Delivered {
            metrics.errors.with_label_values(&[name]).inc_by(count as u64);
        }
        match outcome {
            Outcome::Delivered => {
                metrics.sent.with_label_values(&[name]).inc_by(count as u64);
                mailbox.note_delivered();
                pause = PAUSE_MIN;
            }
            Outcome::Refused(reason) => {
                metrics.dropped.with_label_values(&[name]).inc_by(count as u64);
                mailbox.outbox.lock().done();
                if let Some(held_back) = mailbox.log.admit(now) {
                    tracing::error!(
                        receiver = name,
                        alerts = count,
                        held_back,
                        "alerts are refused: {reason}"
                    );
                }
            }
            Outcome::Later(reason) => {
                mailbox.is_failing.store(true, Ordering::Relaxed);
                mailbox.outbox.lock().put_back(batch);
                if let Some(held_back) = mailbox.log.admit(now) {
                    tracing::warn!(receiver = name, alerts = count, held_back, "alerts wait: {reason}");
                }
                sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
        metrics.queue_length.with_label_values(&[name]).set(mailbox.outbox.lock().len() as i64);
    }
}
