//! The world, second by second: what happens to slod, to the disk and to the network.

use std::{collections::BTreeMap, io::ErrorKind, mem, ops::Range, sync::Arc};

use super::{
    Tally,
    daemon::{Answered, Daemon, Written},
    random::Random,
    senders::{Answer, Request, Senders, ShardId},
    setting::{Setting, specs},
    timeline::{Specs, Timeline},
    transcript::Transcript,
    verdict,
    watch::{Alertmanager, Seen},
};
use crate::{
    ingest::WriteError,
    storage::{
        disk::Disk,
        log::{Entry, Finding, Recovery, Sequence},
        recovery::Findings,
        state::Found,
    },
    testing::{
        Oracle,
        faults::{FaultyDisk, Operation, Times},
    },
    time::Timestamp,
};

/// Everything there is.
#[derive(Debug)]
pub(super) struct World {
    random: Random,
    setting: Setting,
    now: Timestamp,
    disk: FaultyDisk,
    /// Until when operations of the disk fail, or it is full.
    faulty_until: Option<Timestamp>,
    /// `None` while it is down.
    daemon: Option<Daemon>,
    up_at: Timestamp,
    /// What the files of specs say.
    specs: Specs,
    senders: Senders,
    /// Every sample that was made, in its order; but for those of replicas.
    made: Oracle,
    timeline: Timeline,
    alertmanager: Alertmanager,
    tally: Tally,
}

/// How a process ends that is not asked.
#[derive(Clone, Copy, Debug)]
enum End {
    Kill,
    PowerLoss(u64),
}

const START: Timestamp = Timestamp(1_700_006_400_000);
const SECOND_MS: i64 = 1_000;
// The log is tried again within 30 s, senders wait for up to 5 s, and then have their queues to send: minutes of samples
// in requests that may be of one sample each.
const DRAIN_MAX_S: u32 = 1_200;

/// What fails on a disk in trouble. Reading does not: what cannot be read is lost.
const OPERATIONS: [Operation; 8] = [
    Operation::Create,
    Operation::Write,
    Operation::SetLen,
    Operation::Allocate,
    Operation::Sync,
    Operation::SyncDirectory,
    Operation::Rename,
    Operation::Remove,
];

// === impl World ===

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let setting = Setting::new(&mut random);
        let specs = Specs { number: 0, slos: specs(&mut random) };
        Self {
            senders: Senders::new(&setting, random.fork(), START),
            made: verdict::oracle(&setting),
            timeline: Timeline::new(START, specs.clone()),
            now: START,
            disk: FaultyDisk::new(),
            faulty_until: None,
            daemon: None,
            up_at: START,
            alertmanager: Alertmanager::default(),
            tally: Tally::default(),
            specs,
            setting,
            random,
        }
    }

    /// A second.
    pub(super) fn step(&mut self, transcript: &mut Transcript) -> Result<(), String> {
        self.trouble_disk(transcript);
        self.reload(transcript);
        if self.daemon.is_none() && self.up_at <= self.now {
            self.start(transcript)?;
        }
        let made = self.senders.advance(self.now);
        self.made.record(&made);
        let end = self.end_to_come();
        self.deliver(transcript)?;
        match end {
            Some((end, 0)) => self.die(end, transcript),
            Some((end, _)) => self.die_writing(end, transcript),
            None => self.write_queued(self.now.0 + SECOND_MS - 1, transcript)?,
        }
        self.now = Timestamp(self.now.0 + SECOND_MS);
        self.tick(transcript)?;
        if self.random.per_mille(4) {
            self.shut_down(transcript)?;
        }
        Ok(())
    }

    /// All is well again: what is left is delivered, and everything is judged.
    pub(super) fn end(&mut self, transcript: &mut Transcript) -> Result<Tally, String> {
        transcript.note(format!("{} all is well again", self.now));
        self.disk.heal();
        self.faulty_until = None;
        self.setting.has_faults = false;
        self.senders.end();
        let mut seconds = 0;
        // The time of an evaluation is some seconds behind.
        let mut settled = 0;
        while settled < 10 {
            if self.daemon.is_none() {
                self.start(transcript)?;
            }
            self.deliver(transcript)?;
            self.write_queued(self.now.0 + SECOND_MS - 1, transcript)?;
            self.now = Timestamp(self.now.0 + SECOND_MS);
            self.tick(transcript)?;
            settled = if self.senders.is_drained() { settled + 1 } else { 0 };
            seconds += 1;
            if seconds > DRAIN_MAX_S {
                return Err(format!(
                    "{} samples are not delivered after {seconds} s",
                    self.senders.waiting()
                ));
            }
        }
        self.judge(true)?;
        let timeline = mem::replace(&mut self.timeline, Timeline::new(self.now, self.specs.clone()));
        timeline.compare(&self.setting)?;
        Ok(self.tally)
    }

    // --- trouble ---

    fn trouble_disk(&mut self, transcript: &mut Transcript) {
        if self.faulty_until.is_some_and(|until| until <= self.now) {
            self.faulty_until = None;
            self.disk.heal();
            transcript.note(format!("{} the disk is well again", self.now));
        }
        if !self.setting.has_faults || self.faulty_until.is_some() || !self.random.per_mille(10) {
            return;
        }
        self.faulty_until = Some(self.later(60));
        if self.random.per_mille(250) {
            let more = self.random.below(64 << 10);
            let limit = 1 << 40;
            self.disk.limit(limit);
            let used = limit - self.disk.free_bytes().unwrap_or(limit);
            self.disk.limit(used + more);
            transcript.note(format!("{} the disk has {more} bytes left", self.now));
        } else {
            self.sabotage(6, transcript);
        }
    }

    /// Lets an operation fail that comes soon.
    fn sabotage(&mut self, within: u64, transcript: &mut Transcript) {
        let operation = self.random.pick(&OPERATIONS);
        let nth = self.random.below(within);
        let times = self.random.pick(&[Times::Once, Times::Forever]);
        self.disk.fail(operation, nth, ErrorKind::Other, times);
        transcript.note(format!("{} {operation:?} number {nth} from now fails, {times:?}", self.now));
    }

    fn reload(&mut self, transcript: &mut Transcript) {
        if !self.random.per_mille(6) {
            return;
        }
        self.specs = Specs { number: self.specs.number + 1, slos: specs(&mut self.random) };
        transcript.note(format!("{} reload to {} SLOs", self.now, self.specs.slos.len()));
        // If it is down, it reads them when it is up.
        if let Some(daemon) = &self.daemon {
            daemon.install(self.specs.slos.clone(), self.now);
            self.timeline.install(self.specs.clone());
            self.tally.reloads += 1;
        }
    }

    /// Whether and how it ends in this second: before anything more is written, or in the middle of it.
    fn end_to_come(&mut self) -> Option<(End, u64)> {
        if self.daemon.is_none() || !self.random.per_mille(12) {
            return None;
        }
        Some((self.any_end(), self.random.below(2)))
    }

    fn any_end(&mut self) -> End {
        let seed = self.random.next();
        if self.setting.has_faults && self.random.per_mille(500) { End::PowerLoss(seed) } else { End::Kill }
    }

    fn later(&mut self, most_s: u64) -> Timestamp {
        Timestamp(self.now.0 + SECOND_MS * (1 + self.random.below(most_s) as i64))
    }

    // --- the life of a process ---

    fn start(&mut self, transcript: &mut Transcript) -> Result<(), String> {
        let is_sabotaged = self.setting.has_faults && self.random.per_mille(200);
        if is_sabotaged {
            self.sabotage(12, transcript);
        }
        let is_faulty = is_sabotaged || self.faulty_until.is_some();
        self.flip_bit(transcript);
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let started = Daemon::start(&disk, &self.setting, self.specs.slos.clone(), self.now);
        if is_sabotaged && self.faulty_until.is_none() {
            self.faulty_until = Some(self.later(10));
        }
        let (daemon, findings) = match started {
            Ok(started) => started,
            Err(error) if is_faulty => {
                transcript.note(format!("{} does not start: {error}", self.now));
                self.tally.failed_starts += 1;
                let end = self.any_end();
                self.die(end, transcript);
                return Ok(());
            }
            Err(error) => return Err(format!("at {} it does not start: {error}", self.now)),
        };
        // In the midst of it, or before it has done anything.
        if self.random.per_mille(100) {
            drop(daemon);
            let end = self.any_end();
            self.die(end, transcript);
            return Ok(());
        }
        self.resume(daemon, &findings, transcript)
    }

    fn resume(
        &mut self,
        daemon: Daemon,
        findings: &Findings,
        transcript: &mut Transcript,
    ) -> Result<(), String> {
        let position = daemon.position();
        let lost = findings.log.lost();
        transcript.note(format!("{} up, of {position:?} and {} records", self.now, findings.log.records));
        if !matches!(findings.state, Found::Intact | Found::New) || !findings.damaged.is_empty() {
            return Err(format!("the state is damaged: {findings:?}"));
        }
        if lost > 0 && !self.setting.has_flips {
            return Err(format!("the log is damaged: {findings:?}"));
        }
        let records = self.records(position.map_or(Sequence(0), |(sequence, _)| sequence));
        let named = named(findings);
        let taken_back = self.timeline.restart(position, &records, &named, self.specs.clone(), self.now)?;
        self.tally.taken_back += taken_back.requests as u64;
        self.tally.excused += taken_back.excused as u64;
        self.tally.restarts += 1;
        self.daemon = Some(daemon);
        Ok(())
    }

    /// What the log has from a sequence on.
    fn records(&self, from: Sequence) -> BTreeMap<Sequence, Entry> {
        let recovery = Recovery::open(Arc::new(self.disk.clone()), from);
        let records = recovery.into_iter().flatten();
        records.map(|record| (record.sequence, record.entry)).collect()
    }

    fn die(&mut self, end: End, transcript: &mut Transcript) {
        transcript.note(format!("{} {end:?}", self.now));
        match end {
            End::Kill => self.disk.kill(),
            End::PowerLoss(seed) => {
                self.disk.crash(seed);
                self.tally.power_losses += 1;
            }
        }
        self.faulty_until = None;
        // Its files are of no use any more, whatever it does now.
        if let Some(mut daemon) = self.daemon.take() {
            let died_at = self.now;
            daemon.abandon().into_iter().for_each(|(id, attempt)| {
                self.senders.handle(id, attempt, Answer::Repeat, died_at);
            });
        }
        let most_s = self.random.pick(&[3, 30, 30, 400]);
        self.up_at = self.later(most_s);
    }

    /// Dies in the middle of writing the log or the state.
    fn die_writing(&mut self, end: End, transcript: &mut Transcript) {
        let operation = self.random.pick(&OPERATIONS);
        let nth = self.random.below(4);
        self.disk.fail(operation, nth, ErrorKind::Other, Times::Forever);
        let at = Timestamp(self.now.0 + SECOND_MS - 1);
        let writes_state = self.random.per_mille(500);
        if let Some(daemon) = &mut self.daemon {
            if writes_state && daemon.is_committing() {
                daemon.commit();
            }
            // Nobody is told any more.
            daemon.write_queued_in_vain(at);
        }
        self.die(end, transcript);
    }

    /// As when it is asked to end: requests are answered, and everything is written.
    fn shut_down(&mut self, transcript: &mut Transcript) -> Result<(), String> {
        let Some(mut daemon) = self.daemon.take() else { return Ok(()) };
        transcript.note(format!("{} shut down", self.now));
        self.commit(&mut daemon, transcript);
        // What a log that refuses lacks was not acknowledged.
        let accepts = daemon.accepts();
        let (answered, is_closed, position) = daemon.close(self.now);
        self.answer(answered, self.now);
        self.timeline.take_checkpoint(position);
        let is_committed = self.commit(&mut daemon, transcript);
        if self.faulty_until.is_none() && !(is_committed && (is_closed || !accepts)) {
            return Err(format!("it ends at {} without having written everything", self.now));
        }
        self.daemon = Some(daemon);
        self.die(End::Kill, transcript);
        Ok(())
    }

    /// What happens to old segments in years: a bit in a file that is closed.
    fn flip_bit(&mut self, transcript: &mut Transcript) {
        if !self.setting.has_flips || !self.random.per_mille(300) {
            return;
        }
        let names = self.disk.list("log").unwrap_or_default();
        let Some((_, closed)) = names.split_last().filter(|(_, closed)| !closed.is_empty()) else { return };
        let name = format!("log/{}", self.random.pick(closed));
        let length = self.disk.content(&name).map_or(0, |content| content.len());
        if length > 0 {
            let (at, bit) = (self.random.below(length as u64), self.random.below(8));
            self.disk.flip_bit(&name, at as usize, bit as u32);
            transcript.note(format!("{} bit {bit} of byte {at} of {name} flips", self.now));
        }
    }

    // --- what goes on ---

    fn deliver(&mut self, transcript: &mut Transcript) -> Result<(), String> {
        for (at, id) in self.senders.due(self.now) {
            let request = self.senders.send(id, self.now);
            self.tally.repeated += u64::from(request.attempt > 0);
            self.write(&request, Some(id), at)?;
            if self.random.per_mille(200) {
                self.write_queued(at.0, transcript)?;
            }
        }
        if self.random.per_mille(20)
            && let Some(request) = self.senders.repeat()
        {
            self.write(&request, None, Timestamp(self.now.0 + SECOND_MS - 1))?;
        }
        Ok(())
    }

    fn write(&mut self, request: &Request, from: Option<ShardId>, at: Timestamp) -> Result<(), String> {
        let from = from.map(|id| (id, request.attempt));
        let Some(daemon) = &mut self.daemon else {
            self.tell(from, Answer::Repeat, at);
            return Ok(());
        };
        let Written { counted, answer } = daemon.write(request, from, at);
        if let Some((sequence, entry)) = counted {
            self.timeline.count(sequence, entry, request.samples.clone());
            self.tally.counted += 1;
        }
        match answer {
            None => (),
            Some(Ok(())) => self.tell(from, Answer::Acknowledged, at),
            Some(Err(WriteError::NotKept(_))) => self.tell(from, Answer::Repeat, at),
            Some(Err(error)) => return Err(format!("at {at} a request is refused: {error}")),
        }
        Ok(())
    }

    fn tell(&mut self, from: Option<(ShardId, u64)>, answer: Answer, at: Timestamp) {
        if let Some((id, attempt)) = from {
            self.senders.handle(id, attempt, answer, at);
        }
    }

    /// The disk may be slow: then they wait on.
    fn write_queued(&mut self, at: i64, transcript: &mut Transcript) -> Result<(), String> {
        if self.random.per_mille(100) {
            return Ok(());
        }
        let Some(daemon) = &mut self.daemon else { return Ok(()) };
        let answered = daemon.write_queued(Timestamp(at));
        let failed = answered.iter().filter(|answered| answered.result.is_err()).count();
        if failed > 0 {
            transcript.note(format!("{} {failed} requests are not in the log", Timestamp(at)));
        }
        self.answer(answered, Timestamp(at));
        Ok(())
    }

    fn answer(&mut self, answered: Vec<Answered>, at: Timestamp) {
        for Answered { sequence, result, from } in answered {
            if result.is_ok() {
                self.timeline.acknowledge(sequence);
            }
            // An answer may get lost on its way.
            let is_heard = result.is_ok() && !self.random.per_mille(20);
            self.tell(from, if is_heard { Answer::Acknowledged } else { Answer::Repeat }, at);
        }
    }

    fn tick(&mut self, transcript: &mut Transcript) -> Result<(), String> {
        let Some(mut daemon) = self.daemon.take() else { return Ok(()) };
        let now = self.now;
        let seen = Seen::new(&daemon.tick(now));
        transcript.hash(format!("{seen:?}").as_bytes());
        let changes = self.alertmanager.notify(now, &seen.firing);
        for (name, is_firing) in &changes {
            self.tally.fired += u64::from(*is_firing);
            transcript.note(format!("{now} {name} {}", if *is_firing { "fires" } else { "is resolved" }));
        }
        if let Some(contradiction) = seen.contradiction() {
            return Err(format!("at {now} {contradiction}"));
        }
        self.timeline.tick(now, seen.clone());
        if let Some(position) = daemon.take_checkpoint(now) {
            self.timeline.take_checkpoint(position);
        }
        if self.random.per_mille(700) {
            self.commit(&mut daemon, transcript);
        }
        if daemon.sweep(now) {
            self.timeline.sweep(now);
        }
        self.daemon = Some(daemon);
        if self.random.per_mille(10) { self.judge(false) } else { Ok(()) }
    }

    /// Returns whether there is nothing left to commit.
    fn commit(&mut self, daemon: &mut Daemon, transcript: &mut Transcript) -> bool {
        match daemon.commit() {
            None => return true,
            Some(Ok(position)) => {
                self.timeline.commit(position);
                self.tally.checkpoints += 1;
            }
            Some(Err(error)) => {
                transcript.note(format!("{} a checkpoint is not written: {error}", self.now));
                self.tally.failed_checkpoints += 1;
                return false;
            }
        }
        true
    }

    // --- judgement ---

    /// Asks the oracle. At the end also from what was made, if all of it must have counted.
    fn judge(&mut self, is_end: bool) -> Result<(), String> {
        let Some(report) = self.daemon.as_ref().map(Daemon::report) else { return Ok(()) };
        let snapshot = report.snapshot();
        let mut counted = verdict::oracle(&self.setting);
        self.timeline.samples().for_each(|samples| counted.record(samples));
        verdict::judge(&counted, &snapshot).map_err(|error| format!("at {}: {error}", self.now))?;
        if is_end && !self.setting.has_pair && self.tally.excused == 0 {
            verdict::judge(&self.made, &snapshot).map_err(|error| format!("of what was made: {error}"))?;
        }
        Ok(())
    }
}

/// The sequences that are said to be lost.
fn named(findings: &Findings) -> Vec<Range<u64>> {
    let ranges = findings.log.findings.iter().filter_map(|finding| match finding {
        Finding::Corrupt { sequences, .. } | Finding::Missing { sequences } => Some(sequences.clone()),
        _ => None,
    });
    ranges.collect()
}
