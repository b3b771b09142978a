//! The SLOs that were in force, their instances, the scrapes of targets and elections.

use prost::Message;

use super::{
    DecodeError,
    generated::{self, Role as RoleMessage},
};
use crate::{
    ingest::{Scrapes, TargetMemory},
    labels::Labels,
    matching::{Beginning, Role},
    slo::SloId,
    time::Timestamp,
};

/// An SLO that was in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SloState {
    /// Which one.
    pub id: SloId,
    /// What it asks; see [`Slo::identity`](crate::slo::Slo::identity).
    pub identity: String,
    /// From when on its events count as they come.
    pub beginning: Beginning,
}

/// One of its instances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceState {
    /// The key of the SLO.
    pub slo: u32,
    /// Which part of it.
    pub role: Role,
    /// The labels of its group.
    pub group: Labels,
}

/// The bytes of an SLO.
pub fn encode_slo(slo: &SloState) -> Vec<u8> {
    let SloId { service, name } = slo.id.clone();
    let some = |at: Timestamp| (at != Beginning::EVER.at).then_some(at.0);
    let Beginning { since, from, at, is_filled } = slo.beginning;
    let (since_ms, counted_to_ms, begins_ms, is_unfilled) = (some(since), some(from), some(at), !is_filled);
    let identity = slo.identity.clone();
    generated::Slo { service, name, identity, counted_to_ms, begins_ms, is_unfilled, since_ms }
        .encode_to_vec()
}

/// The SLO of these bytes.
///
/// # Errors
/// When they are none.
pub fn decode_slo(bytes: &[u8]) -> Result<SloState, DecodeError> {
    let message = generated::Slo::decode(bytes)?;
    let generated::Slo { service, name, identity, counted_to_ms, begins_ms, is_unfilled, since_ms } = message;
    let time = |ms: Option<i64>| ms.map_or(Beginning::EVER.at, Timestamp);
    let (since, from, at) = (time(since_ms), time(counted_to_ms), time(begins_ms));
    let beginning = Beginning { since, from, at, is_filled: !is_unfilled };
    Ok(SloState { id: SloId { service, name }, identity, beginning })
}

/// The bytes of an instance.
pub fn encode_instance(slo: u32, role: Role, group: &Labels) -> Vec<u8> {
    let role = match role {
        Role::Whole => RoleMessage::Whole,
        Role::RollUp => RoleMessage::RollUp,
        Role::Group => RoleMessage::Group,
    };
    generated::Instance { slo, role: role.into(), group: texts(group).collect() }.encode_to_vec()
}

/// The instance of these bytes.
///
/// # Errors
/// When they are none.
pub fn decode_instance(bytes: &[u8]) -> Result<InstanceState, DecodeError> {
    let message = generated::Instance::decode(bytes)?;
    let role = match message.role() {
        RoleMessage::Whole => Role::Whole,
        RoleMessage::RollUp => Role::RollUp,
        RoleMessage::Group => Role::Group,
    };
    Ok(InstanceState { slo: message.slo, role, group: labels(&message.group)? })
}

/// The bytes of targets, given the keys of their SLOs.
pub fn encode_targets<'a>(targets: impl IntoIterator<Item = (u32, &'a TargetMemory)>) -> Vec<u8> {
    let mut message = generated::Targets::default();
    for (slo, TargetMemory { labels, scrapes, .. }) in targets {
        message.slo.push(slo);
        message.labels.push(labels.iter().len() as u32);
        message.text.extend(texts(labels));
        message.first_ms.push(scrapes.first.0);
        message.previous_ms.push(scrapes.previous.0);
        message.latest_ms.push(scrapes.latest.0);
    }
    message.encode_to_vec()
}

/// The targets of these bytes; the place of the SLO is its key.
///
/// # Errors
/// When they are none.
pub fn decode_targets(bytes: &[u8]) -> Result<Vec<TargetMemory>, DecodeError> {
    let message = generated::Targets::decode(bytes)?;
    let count = message.slo.len();
    let columns = [&message.first_ms, &message.previous_ms, &message.latest_ms];
    if message.labels.len() != count || columns.iter().any(|column| column.len() != count) {
        return Err(DecodeError::Content("columns of targets have different lengths".to_owned()));
    }
    let mut text = message.text.as_slice();
    let target = |n: usize| {
        let (own, rest) = text
            .split_at_checked(message.labels[n] as usize * 2)
            .ok_or_else(|| DecodeError::Content("a target has more labels than there are".to_owned()))?;
        text = rest;
        let [first, previous, latest] = columns.map(|column| Timestamp(column[n]));
        let scrapes = Scrapes { first, previous, latest };
        Ok(TargetMemory { slo: message.slo[n] as usize, labels: labels(own)?, scrapes })
    };
    (0..count).map(target).collect()
}

/// Names and values in turn.
fn texts(labels: &Labels) -> impl Iterator<Item = String> {
    labels.iter().flat_map(|(name, value)| [name.to_owned(), value.to_owned()])
}

fn labels(texts: &[String]) -> Result<Labels, DecodeError> {
    let (pairs, []) = texts.as_chunks::<2>() else {
        return Err(DecodeError::Content("a label has no value".to_owned()));
    };
    Labels::new(pairs.iter().map(|[name, value]| (name, value)))
        .map_err(|error| DecodeError::Content(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn group(pairs: &[(&str, &str)]) -> Labels {
        Labels::new(pairs.iter().copied()).unwrap()
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        let id = SloId { service: "api".to_owned(), name: "latency".to_owned() };
        let (since, from, at) = (Timestamp(-9), Timestamp(-7), Timestamp(0));
        let filled = Beginning { since, from, at, is_filled: true };
        for beginning in [Beginning::EVER, Beginning::after(Timestamp(7)), filled] {
            let slo = SloState { id: id.clone(), identity: "counted/1 …".to_owned(), beginning };
            assert_eq!(decode_slo(&encode_slo(&slo)).unwrap(), slo);
        }
        for role in [Role::Whole, Role::RollUp, Role::Group] {
            let group = group(&[("route", "/pay"), ("zone", "é")]);
            let state = InstanceState { slo: 7, role, group };
            assert_eq!(decode_instance(&encode_instance(7, role, &state.group)).unwrap(), state);
        }
        let scrapes =
            Scrapes { first: Timestamp(-5), previous: Timestamp(1_000), latest: Timestamp(i64::MAX) };
        let target = |slo, pairs: &[(&str, &str)]| TargetMemory { slo, labels: group(pairs), scrapes };
        let targets =
            [target(3, &[]), target(0, &[("instance", "a"), ("job", "b")]), target(9, &[("job", "c")])];
        let encoded = encode_targets(targets.iter().map(|target| (target.slo as u32, target)));
        assert_eq!(decode_targets(&encoded).unwrap(), targets);
    }

    #[test]
    fn what_is_no_state_is_told() {
        let error =
            |message: generated::Targets| decode_targets(&message.encode_to_vec()).unwrap_err().to_string();
        let targets = generated::Targets { slo: vec![1], ..Default::default() };
        assert_eq!(
            error(targets),
            "a message that makes no sense: columns of targets have different lengths"
        );
        let ms = vec![0];
        let columns = generated::Targets {
            slo: vec![1],
            first_ms: ms.clone(),
            previous_ms: ms.clone(),
            latest_ms: ms,
            ..Default::default()
        };
        let targets = generated::Targets { labels: vec![2], text: vec!["job".to_owned()], ..columns };
        assert_eq!(error(targets), "a message that makes no sense: a target has more labels than there are");
        let instance = generated::Instance { group: vec!["zone".to_owned()], ..Default::default() };
        assert_eq!(
            decode_instance(&instance.encode_to_vec()).unwrap_err().to_string(),
            "a message that makes no sense: a label has no value"
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = (decode_slo(&bytes), decode_instance(&bytes), decode_targets(&bytes));
        }
    }
}
