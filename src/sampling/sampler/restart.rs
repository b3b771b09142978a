//! What a sampler goes on with after a restart, taken from it and given to another.
//!
//! The invariant: what is recorded after the mark is not in the state, and no step in it is evaluated again.

use std::collections::HashMap;

use super::{SampledSlo, Sampler, Series};
use crate::{
    sampling::{
        recent::{NEVER, Recent},
        state::{RecordedState, SampledState, SamplerState},
    },
    slo::SloId,
};

// === impl Sampler ===

impl Sampler {
    /// Takes all that has been recorded, so that what comes from here on is not in the state
    /// [exported](Self::export) next. Cheap: to be called while nobody counts.
    pub fn mark(&mut self) {
        self.take_samples();
    }

    /// Its state, as of the [mark](Self::mark): between the two nothing may be evaluated.
    pub fn export(&self) -> SamplerState {
        SamplerState {
            at: self.at,
            slos: self.slos.iter().map(SampledSlo::state).collect(),
            series: self.series.iter().map(Series::state).collect(),
        }
    }

    /// Goes on where the sampler was whose state this is. To be called before anything is recorded or evaluated.
    /// SLOs that the state does not know, or that ask something else now, begin anew.
    pub fn restore(&mut self, state: SamplerState) {
        let at = state.at;
        self.adopt(state);
        self.at = at;
    }

    /// Goes on where another sampler was with SLOs whose steps have not begun here.
    pub fn adopt(&mut self, SamplerState { slos, series, .. }: SamplerState) {
        let mut slos: HashMap<SloId, SampledState> =
            slos.into_iter().map(|slo| (slo.id.clone(), slo)).collect();
        for slo in self.slos.iter_mut().filter(|slo| slo.next.is_none()) {
            let all = &slo.tally.all.slo;
            let state = slos.remove(&all.id).filter(|state| state.identity == all.identity());
            if let Some(SampledState { next, groups, .. }) = state {
                slo.next = next;
                slo.tally.restore(groups, &self.instances);
            }
        }
        self.series.extend(series.into_iter().filter_map(|state| Series::restored(state, &self.recent)));
    }
}

// === impl Series ===

impl Series {
    fn state(&self) -> RecordedState {
        let (labels, samples) = (self.recorded.labels.clone(), self.samples.clone());
        RecordedState { labels, last_at: (self.last_at != NEVER).then_some(self.last_at), samples }
    }

    fn restored(state: RecordedState, recent: &Recent) -> Option<Self> {
        let RecordedState { labels, last_at, samples } = state;
        let last_at = last_at.max(samples.last().map(|sample| sample.at)).unwrap_or(NEVER);
        Some(Self { recorded: recent.restore(labels, last_at)?, samples, last_at })
    }
}

// === impl SampledSlo ===

impl SampledSlo {
    fn state(&self) -> SampledState {
        let slo = &self.tally.all.slo;
        let (id, identity) = (slo.id.clone(), slo.identity());
        SampledState { id, identity, next: self.next, groups: self.tally.state() }
    }
}
