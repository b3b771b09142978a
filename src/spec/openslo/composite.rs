//! Composite SLOs: one promise of several indicators, each in an objective of its own.
//!
//! Counted in events, and with one target, a composite is a single SLO: its bad events are the weighted sum of
//! its members' bad events, and all events that of all theirs, so that its budget burns when any member's does.
//! Whatever else it is, no sum says whether a slice is bad for any member, or what the members' different
//! budgets add up to. Then each member is an SLO by itself, and a warning says so.

use super::slo::Member;
use crate::{
    slo::{Budgeting, Counted, Indicator, Term},
    spec::reader::{Place, Reader},
};

/// Combines members into one where that is possible.
pub(super) fn combine(reader: &mut Reader<'_>, at: Place, members: Vec<Member>) -> Vec<Member> {
    match combined(&members) {
        Ok(Some(indicator)) => {
            let first = members.into_iter().next();
            first
                .into_iter()
                .map(|first| Member { indicator: indicator.clone(), suffix: None, ..first })
                .collect()
        }
        Ok(None) => members,
        Err(why) => {
            let message =
                format!("the composite is not combined, because {why}; each objective is an SLO by itself");
            reader.warn(at, message);
            members
        }
    }
}

/// The weighted sum of the members, if there are several; or why there is none.
fn combined(members: &[Member]) -> Result<Option<Indicator>, &'static str> {
    let [first, others @ ..] = members else { return Ok(None) };
    if others.is_empty() {
        return Ok(None);
    }
    if first.objective.budgeting != Budgeting::Occurrences {
        return Err("it counts slices of time, and slod keeps no slices of several indicators");
    }
    if others.iter().any(|other| other.objective.target != first.objective.target) {
        return Err("its objectives have different targets, and one budget has one target");
    }
    let counted: Option<Vec<(f64, &Counted)>> = members.iter().map(Member::counted).collect();
    let Some(counted) = counted else {
        return Err("not all of its indicators count events with every sample");
    };
    let group_by = &counted[0].1.group_by;
    if counted.iter().any(|(_, other)| other.group_by != *group_by) {
        return Err("its indicators are grouped differently");
    }
    let mut sum = Counted { bad: Vec::new(), total: Vec::new(), group_by: group_by.clone() };
    for (weight, member) in counted {
        sum.bad.extend(member.bad.iter().map(|term| weighted(term, weight)));
        sum.total.extend(member.total.iter().map(|term| weighted(term, weight)));
    }
    Ok(Some(Indicator::Counted(sum)))
}

fn weighted(term: &Term, weight: f64) -> Term {
    Term { coefficient: term.coefficient * weight, ..term.clone() }
}
