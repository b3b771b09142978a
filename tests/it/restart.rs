//! What goes on after a restart as if there had been none, whether slod was killed or ended.
//!
//! Counts are those of `crash`; here is the rest: alerts and since when they fire, elections, and SLIs that are asked at
//! steps of time.

use std::{
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use slod::{
    labels::Labels,
    testing::{Sent, encode},
    time::Timestamp,
};

use crate::{
    shop::{PAGE, SPEC, Shop},
    support::{Slod, http, seconds_since_epoch, wait_until, write_headers},
};

const CONFIG: &str = "evaluation_delay: 1s\nstorage: {checkpoint_interval: 200ms}\n";
const CHECKPOINT: &str = "slod_storage_state_last_checkpoint_timestamp_seconds";
const RECOVERED: &str = "slod_storage_log_recovered_records_total";

#[test]
fn an_alert_fires_on_since_when_it_did() {
    let mut slod = Slod::start(SPEC, CONFIG);
    let mut shop = Shop::new(slod.address);
    shop.deliver();
    shop.fail_until_paged(&slod);
    slod.stop();
    let since = firing_since(&slod);
    for end in [Slod::kill, Slod::stop, Slod::kill] {
        slod.start_again();
        slod.wait_until_ready();
        assert_eq!(slod.sum(PAGE), 2.0, "{}", slod.log());
        wait_for_checkpoint(&slod);
        end(&mut slod);
        assert_eq!(firing_since(&slod), since);
    }
    slod.start_again();
    slod.wait_until_ready();
    shop.check_counted(&slod);
    wait_until("it is resolved once all is well", || {
        shop.serve(100.0, 0.0);
        shop.deliver();
        slod.sum(PAGE) == 0.0
    });
}

#[test]
fn an_end_under_load_leaves_nothing_to_replay() {
    let mut slod = Slod::start(SPEC, CONFIG);
    let done = Arc::new(AtomicBool::new(false));
    let mut shop = Shop::new(slod.address);
    shop.deliver();
    let sending = {
        let done = Arc::clone(&done);
        thread::spawn(move || {
            let mut failures = 0;
            while !done.load(Ordering::SeqCst) {
                shop.serve(3.0, 1.0);
                failures += u32::from(shop.try_deliver().status != 204);
                thread::sleep(Duration::from_millis(1));
            }
            (shop, failures)
        })
    };
    thread::sleep(Duration::from_millis(500));
    slod.stop();
    slod.start_again();
    slod.wait_until_ready();
    assert_eq!(slod.sum(RECOVERED), 0.0, "{}", slod.log());
    thread::sleep(Duration::from_millis(200));
    done.store(true, Ordering::SeqCst);
    let (mut shop, failures) = sending.join().unwrap();
    assert!(failures > 0, "the end met a sender");
    shop.deliver();
    shop.check_counted(&slod);
}

#[test]
fn the_elected_replica_stays() {
    let mut slod = Slod::start(SPEC, CONFIG);
    let replica = |name| Shop::with_labels(slod.address, &[("cluster", "shops"), ("__replica__", name)]);
    let (mut first, mut second) = (replica("first"), replica("second"));
    let is_first = |slod: &Slod| {
        slod.sum("slod_ha_elected_replica{cluster=\"shops\",replica=\"first\"}") == 1.0
            && slod.sum("slod_ha_elected_replica{cluster=\"shops\",replica=\"second\"}") == 0.0
    };
    first.deliver();
    assert_eq!(second.try_deliver().status, 202);
    for end in [Slod::kill, Slod::stop] {
        end(&mut slod);
        slod.start_again();
        slod.wait_until_ready();
        assert!(is_first(&slod), "{}", slod.log());
        // The other one is the first to be heard.
        assert_eq!(second.try_deliver().status, 202);
        first.serve(100.0, 3.0);
        first.deliver();
        assert!(is_first(&slod));
        first.check_counted(&slod);
    }
}

#[test]
fn steps_go_on() {
    const STEPWISE: &str = r#"
apiVersion: slod.dev/v1
kind: ServiceLevelObjective
metadata: {name: queue, service: shop}
spec:
  sli: {step: 1s, bad_ratio: 'max(max_over_time(queue_length[3s])) / 100'}
  objective: {target: 99, window: 1h}
"#;
    const STEPS: &str = "slo_events_total{service=\"shop\",slo=\"queue\"";
    let mut slod = Slod::start(STEPWISE, CONFIG);
    let address = slod.address;
    let deliver = || {
        let at = Timestamp((seconds_since_epoch() * 1_000.0) as i64);
        let labels = Labels::new([("__name__", "queue_length"), ("job", "shop")]).unwrap();
        let body = encode(&[Sent { labels, at, value: 50.0 }]);
        let answer = http(address, "POST /api/v1/write HTTP/1.1", &write_headers(), &body);
        assert_eq!(answer.status, 204, "{}", answer.body);
        thread::sleep(Duration::from_millis(100));
    };
    let begin = seconds_since_epoch();
    let mut steps = 0.0;
    for end in [Slod::kill, Slod::stop, Slod::kill] {
        let enough = steps + 3.0;
        wait_until("steps are counted", || {
            deliver();
            slod.sum(STEPS) >= enough
        });
        wait_for_checkpoint(&slod);
        steps = slod.sum(STEPS);
        end(&mut slod);
        slod.start_again();
        slod.wait_until_ready();
        let now = slod.sum(STEPS);
        assert!(now >= steps, "{now} of {steps} steps are there\n{}", slod.log());
        let elapsed = seconds_since_epoch() - begin;
        assert!(now <= elapsed + 1.0, "{now} steps in {elapsed} s: one counted twice\n{}", slod.log());
    }
    let bad = slod.sum("slo_bad_events_total{service=\"shop\",slo=\"queue\"");
    assert_eq!(bad * 2.0, slod.sum(STEPS), "half of each step is bad");
}

/// What happened before this is in the state.
#[track_caller]
fn wait_for_checkpoint(slod: &Slod) {
    let now = seconds_since_epoch();
    wait_until("a checkpoint is written", || slod.sum(CHECKPOINT) > now);
}

/// Since when the page fires, by the state of a slod that does not run.
#[track_caller]
fn firing_since(slod: &Slod) -> String {
    let mut inspect = Command::new(env!("CARGO_BIN_EXE_slod"));
    inspect.args(["storage", "inspect", "--format", "json", "--storage.path"]);
    let output = inspect.arg(slod.directory.path().join("data")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let alert = &document["state"]["slos"][0]["alerts"][0];
    assert_eq!(alert["state"], "firing", "{document:#}");
    alert["since"].as_str().unwrap().to_owned()
}
