//! Grafana dashboards of the series that slod publishes: all SLOs at a glance, and one SLO in detail.
//!
//! They know no SLO, only names: what is shown is chosen by variables. Each query works on a Prometheus that scrapes
//! slod; most of them, those without a range of time, on slod's own API, too.
//!
//! Invariant: what is printed is the same for every installation, so that the files can be checked in.

mod detail;
mod model;
mod overview;

pub use model::Dashboard;

/// Both of them.
pub fn all() -> Vec<Dashboard> {
    vec![overview::overview(), detail::detail()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLISHED: [&str; 2] = [
        include_str!("../config/grafana/slod-overview.json"),
        include_str!("../config/grafana/slod-slo.json"),
    ];
    const NAMES: [&str; 2] = [include_str!("exposition/conventions.rs"), include_str!("telemetry.rs")];

    #[test]
    fn the_published_files_are_fresh() {
        for (dashboard, published) in all().iter().zip(PUBLISHED) {
            assert!(dashboard.json() == published, "{}: run `make dashboards`", dashboard.file_name());
        }
    }

    #[test]
    fn they_show_only_series_that_slod_publishes() {
        let mut queries = all().iter().flat_map(Dashboard::queries).collect::<Vec<_>>();
        queries.sort_unstable();
        let text = queries.join("\n");
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        let names: Vec<&str> =
            words.filter(|word| word.starts_with("slo_") || word.starts_with("slod_")).collect();
        assert!(names.len() > 20, "{names:?}");
        let unknown = |name: &&str| !NAMES.iter().any(|file| file.contains(&format!("\"{name}\"")));
        assert_eq!(names.into_iter().find(unknown), None);
    }

    #[test]
    fn panels_do_not_overlap() {
        for dashboard in all() {
            let places = dashboard.places();
            for (number, one) in places.iter().enumerate() {
                assert!(one.x + one.w <= 24, "{one:?}");
                let overlaps = |other: &&model::Place| {
                    let is_beside = one.x + one.w <= other.x || other.x + other.w <= one.x;
                    let is_above = one.y + one.h <= other.y || other.y + other.h <= one.y;
                    !is_beside && !is_above
                };
                assert_eq!(places[number + 1..].iter().find(overlaps), None, "{one:?}");
            }
        }
    }
}
