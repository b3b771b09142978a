//! What each of the public plugins asks for and makes, as of sloth-common-sli-plugins of 2023.

use super::{Choice, Plugin, Sli};
use crate::spec::query::Pair;

use Choice::{Bucket, Default, Filter, Flag, Required, RequiredFilter};
use Pair::{BadOfTotal, GoodOfTotal};

const NO_SERIES: &str = "its error ratio is made up, not of series: slod has nothing to count";

pub(super) const PLUGINS: [Plugin; 23] = [
    Plugin {
        name: "coredns/availability",
        options: &[("filter", Filter), ("custom_rcode_regex", Default("SERVFAIL"))],
        sli: Sli::Events(
            BadOfTotal,
            r#"sum(rate(coredns_dns_responses_total{<filter>rcode=~"<custom_rcode_regex>"}[{{.window}}]))"#,
            "sum(rate(coredns_dns_responses_total{<filter>}[{{.window}}]))",
        ),
    },
    Plugin {
        name: "coredns/latency",
        options: &[("filter", Filter), ("bucket", Bucket)],
        sli: Sli::Events(
            GoodOfTotal,
            r#"sum(rate(coredns_dns_request_duration_seconds_bucket{<filter>le="<bucket>"}[{{.window}}]))"#,
            "sum(rate(coredns_dns_request_duration_seconds_count{<filter>}[{{.window}}]))",
        ),
    },
    Plugin {
        name: "fake",
        options: &[("burn_rate", Required), ("jitter_percent", Default("0"))],
        sli: Sli::Nothing(NO_SERIES),
    },
    Plugin {
        name: "haproxy/frontend/availability",
        options: &[("filter", Filter)],
        sli: Sli::Events(
            BadOfTotal,
            r#"sum(rate(haproxy_frontend_http_responses_total{<filter>code="5xx"}[{{.window}}]))"#,
            "sum(rate(haproxy_frontend_http_responses_total{<filter>}[{{.window}}]))",
        ),
    },
    Plugin {
        name: "istio/v1/availability",
        options: &[("filter", Filter), ("service", Required), ("namespace", Required)],
        sli: Sli::Events(
            BadOfTotal,
            concat!(
                r#"sum(rate(istio_requests_total{<filter>destination_service_name="<service>","#,
                r#"destination_service_namespace="<namespace>",response_code=~"(5..|429)"}[{{.window}}]))"#
            ),
            concat!(
                r#"sum(rate(istio_requests_total{<filter>destination_service_name="<service>","#,
                r#"destination_service_namespace="<namespace>"}[{{.window}}]))"#
            ),
        ),
    },
    Plugin {
        name: "istio/v1/latency",
        options: &[
            ("filter", Filter),
            ("service", Required),
            ("namespace", Required),
            ("bucket", Bucket),
            // The plugin says `code`, a label that Istio does not have.
            ("exclude_errors", Flag(r#"response_code!~"5..""#)),
        ],
        sli: Sli::Events(
            GoodOfTotal,
            concat!(
                "sum(rate(istio_request_duration_milliseconds_bucket{<filter><exclude_errors>",
                r#"destination_service_name="<service>",destination_service_namespace="<namespace>","#,
                r#"le="<bucket>"}[{{.window}}]))"#
            ),
            concat!(
                "sum(rate(istio_request_duration_milliseconds_count{<filter><exclude_errors>",
                r#"destination_service_name="<service>",destination_service_namespace="<namespace>""#,
                "}[{{.window}}]))"
            ),
        ),
    },
    Plugin {
        name: "kubernetes/apiserver/availability",
        options: &[("filter", Filter)],
        sli: Sli::Events(
            BadOfTotal,
            r#"sum(rate(apiserver_request_total{<filter>code=~"(5..|429)"}[{{.window}}]))"#,
            "sum(rate(apiserver_request_total{<filter>}[{{.window}}]))",
        ),
    },
    Plugin {
        name: "kubernetes/apiserver/latency",
        options: &[("filter", Filter), ("bucket", Bucket)],
        sli: Sli::Events(
            GoodOfTotal,
            concat!(
                r#"sum(rate(apiserver_request_duration_seconds_bucket{<filter>le="<bucket>",verb!="WATCH"}"#,
                "[{{.window}}]))"
            ),
            r#"sum(rate(apiserver_request_duration_seconds_count{<filter>verb!="WATCH"}[{{.window}}]))"#,
        ),
    },
    Plugin {
        name: "kubernetes/kooper/availability",
        options: &[("filter", Filter), ("controller", Required)],
        // An event that is queued again is not yet an answer.
        sli: Sli::Events(
            BadOfTotal,
            concat!(
                "sum(rate(kooper_controller_processed_event_duration_seconds_count{<filter>",
                r#"controller="<controller>",success="false"}[{{.window}}]))"#
            ),
            concat!(
                "sum(rate(kooper_controller_processed_event_duration_seconds_count{<filter>",
                r#"controller="<controller>"}[{{.window}}])) - sum(rate(kooper_controller_queued_events_total{"#,
                r#"<filter>controller="<controller>",requeue="true"}[{{.window}}]))"#
            ),
        ),
    },
    Plugin {
        name: "kubernetes/kooper/latency",
        options: &[("filter", Filter), ("controller", Required), ("bucket", Bucket)],
        sli: Sli::Events(
            GoodOfTotal,
            concat!(
                "sum(rate(kooper_controller_processed_event_duration_seconds_bucket{<filter>",
                r#"controller="<controller>",le="<bucket>"}[{{.window}}]))"#
            ),
            concat!(
                "sum(rate(kooper_controller_processed_event_duration_seconds_count{<filter>",
                r#"controller="<controller>"}[{{.window}}]))"#
            ),
        ),
    },
    Plugin {
        name: "kubernetes/kooper/queue-congestion",
        options: &[("filter", Filter), ("controller", Required), ("bucket", Bucket)],
        sli: Sli::Events(
            GoodOfTotal,
            concat!(
                "sum(rate(kooper_controller_event_in_queue_duration_seconds_bucket{<filter>",
                r#"controller="<controller>",le="<bucket>"}[{{.window}}]))"#
            ),
            concat!(
                "sum(rate(kooper_controller_event_in_queue_duration_seconds_count{<filter>",
                r#"controller="<controller>"}[{{.window}}]))"#
            ),
        ),
    },
    Plugin {
        name: "kubernetes/nginx-ingress/availability",
        options: &[("filter", Filter)],
        sli: Sli::Events(
            BadOfTotal,
            r#"sum(rate(nginx_ingress_controller_requests{<filter>status=~"(5..|429)"}[{{.window}}]))"#,
            "sum(rate(nginx_ingress_controller_requests{<filter>}[{{.window}}]))",
        ),
    },
    Plugin {
        name: "linkerd/v2/availability",
        options: &[("filter", RequiredFilter)],
        sli: Sli::Events(
            BadOfTotal,
            concat!(
                r#"sum(increase(response_total{<filter>classification="failure",direction="inbound"}"#,
                "[{{.window}}]))"
            ),
            r#"sum(increase(response_total{<filter>direction="inbound"}[{{.window}}]))"#,
        ),
    },
    Plugin {
        name: "linkerd/v2/latency",
        options: &[("filter", RequiredFilter), ("bucket", Bucket)],
        sli: Sli::Nothing(
            "its query is no PromQL, and Sloth refuses it, too: write events of response_latency_ms_bucket and \
             response_latency_ms_count",
        ),
    },
    Plugin { name: "noop", options: &[], sli: Sli::Nothing(NO_SERIES) },
    Plugin {
        name: "prometheus/rules/eval-availability",
        options: &[("filter", Filter)],
        sli: Sli::Events(
            BadOfTotal,
            "sum(rate(prometheus_rule_evaluation_failures_total{<filter>}[{{.window}}]))",
            "sum(rate(prometheus_rule_evaluations_total{<filter>}[{{.window}}]))",
        ),
    },
    Plugin {
        name: "prometheus/targets/availability",
        options: &[("filter", Filter)],
        // What the plugin is for. Some versions of its query put an `or` before the division.
        sli: Sli::Up("up{<filter>}"),
    },
    Plugin {
        name: "slok-go-http-metrics/availability",
        options: &[("filter", RequiredFilter)],
        sli: Sli::Events(
            BadOfTotal,
            r#"sum(rate(http_request_duration_seconds_count{<filter>code=~"(5..|429)"}[{{.window}}]))"#,
            "sum(rate(http_request_duration_seconds_count{<filter>}[{{.window}}]))",
        ),
    },
    Plugin {
        name: "slok-go-http-metrics/latency",
        options: &[
            ("filter", RequiredFilter),
            ("bucket", Bucket),
            ("exclude_errors", Flag(r#"code!~"5..""#)),
        ],
        sli: Sli::Events(
            GoodOfTotal,
            concat!(
                r#"sum(rate(http_request_duration_seconds_bucket{<filter><exclude_errors>le="<bucket>"}"#,
                "[{{.window}}]))"
            ),
            "sum(rate(http_request_duration_seconds_count{<filter><exclude_errors>}[{{.window}}]))",
        ),
    },
    Plugin {
        name: "traefik/v1/availability",
        options: &[("filter", Filter), ("backend_regex", Required)],
        sli: Sli::Events(
            BadOfTotal,
            concat!(
                r#"sum(rate(traefik_backend_requests_total{<filter>backend=~"<backend_regex>","#,
                r#"code=~"(5..|429)"}[{{.window}}]))"#
            ),
            r#"sum(rate(traefik_backend_requests_total{<filter>backend=~"<backend_regex>"}[{{.window}}]))"#,
        ),
    },
    Plugin {
        name: "traefik/v1/latency",
        options: &[
            ("filter", Filter),
            ("backend_regex", Required),
            ("bucket", Bucket),
            ("exclude_errors", Flag(r#"code!~"5..""#)),
        ],
        sli: Sli::Events(
            GoodOfTotal,
            concat!(
                "sum(rate(traefik_backend_request_duration_seconds_bucket{<filter><exclude_errors>",
                r#"backend=~"<backend_regex>",le="<bucket>"}[{{.window}}]))"#
            ),
            concat!(
                "sum(rate(traefik_backend_request_duration_seconds_count{<filter><exclude_errors>",
                r#"backend=~"<backend_regex>"}[{{.window}}]))"#
            ),
        ),
    },
    Plugin {
        name: "traefik/v2/availability",
        options: &[("filter", Filter), ("service_name_regex", Required)],
        sli: Sli::Events(
            BadOfTotal,
            concat!(
                r#"sum(rate(traefik_service_requests_total{<filter>service=~"<service_name_regex>","#,
                r#"code=~"(5..)"}[{{.window}}]))"#
            ),
            r#"sum(rate(traefik_service_requests_total{<filter>service=~"<service_name_regex>"}[{{.window}}]))"#,
        ),
    },
    Plugin {
        name: "traefik/v2/latency",
        options: &[
            ("filter", Filter),
            ("service_name_regex", Required),
            ("bucket", Bucket),
            ("exclude_errors", Flag(r#"code!~"5..""#)),
        ],
        sli: Sli::Events(
            GoodOfTotal,
            concat!(
                "sum(rate(traefik_service_request_duration_seconds_bucket{<filter><exclude_errors>",
                r#"service=~"<service_name_regex>",le="<bucket>"}[{{.window}}]))"#
            ),
            concat!(
                "sum(rate(traefik_service_request_duration_seconds_count{<filter><exclude_errors>",
                r#"service=~"<service_name_regex>"}[{{.window}}]))"#
            ),
        ),
    },
];
