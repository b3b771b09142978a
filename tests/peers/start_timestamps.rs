//! Counters that say when they began, scraped and sent by Prometheus 3 over remote-write 2.0.

use crate::{
    prometheus::{Page, Prometheus},
    support::{Slod, seconds_since_epoch, wait_until},
};

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const SPEC: &str = r#"
apiVersion: slod.dev/v1
kind: ServiceLevelObjective
metadata: {name: availability, service: shop}
spec:
  sli:
    type: availability
    bad: sum(rate(http_requests_total{job="shop",code="500"}[1m]))
    total: sum(rate(http_requests_total{job="shop"}[1m]))
  objective: {target: 99, window: 1h}
"#;

#[test]
fn what_was_served_before_the_first_scrape_counts() {
    let slod = Slod::start(SPEC, "evaluation_delay: 1s\n");
    let page = Page::start();
    let sender = Prometheus::sender(
        slod.directory.path(),
        &page,
        slod.address,
        "",
        &["--enable-feature=st-storage,xor2-encoding"],
    );
    page.show(OPEN_METRICS, counters(50, 7, seconds_since_epoch() - 20.0));
    check(&slod, (7.0, 57.0), "started", &sender);
    page.show(OPEN_METRICS, counters(60, 8, seconds_since_epoch() - 22.0));
    // A new process that has served more than the one before: only its start tells.
    page.show(OPEN_METRICS, counters(80, 9, seconds_since_epoch()));
    check(&slod, (8.0 + 9.0, 68.0 + 89.0), "restart", &sender);
}

/// Both counters, with the time at which they began.
fn counters(ok: u32, failed: u32, created: f64) -> String {
    format!(
        "# TYPE http_requests counter\n\
         http_requests_total{{code=\"200\"}} {ok}\nhttp_requests_created{{code=\"200\"}} {created:.3}\n\
         http_requests_total{{code=\"500\"}} {failed}\nhttp_requests_created{{code=\"500\"}} {created:.3}\n\
         # EOF\n"
    )
}

fn check(slod: &Slod, (bad, total): (f64, f64), outcome: &str, sender: &Prometheus) {
    let counted = || (slod.sum("slo_bad_events_total{"), slod.sum("slo_events_total{"));
    println!("{}", sender.log());
    wait_until(&format!("{bad} of {total} events are bad"), || counted() == (bad, total));
    assert_eq!(slod.sum(&format!("slod_ingest_samples_total{{outcome=\"{outcome}\"")), 2.0);
}
