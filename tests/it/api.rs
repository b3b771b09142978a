//! Prometheus' API over what slod publishes: what it says of the past, in promtool's hands, and asked what it cannot
//! answer.

mod asked;
mod past;
mod peers;
