//! `slod serve`, and the daemon part of `slod demo`.

use std::{
    io::{self, IsTerminal},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use tokio::{
    runtime::Runtime,
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};
use tracing::level_filters::LevelFilter;

use super::{
    DemoArgs, ServeArgs,
    demo::{self, HISTORY},
};
use crate::{
    config::{self, Config, Flags, specs},
    daemon::{Daemon, Shared, Source, SystemClock},
    engine, ingest, spec,
};

pub(super) fn serve(args: ServeArgs) -> anyhow::Result<ExitCode> {
    start_log(args.log.log_level);
    let flags = Flags {
        listen_address: args.listen_address,
        storage_path: args.storage_path,
        enable_lifecycle: args.enable_lifecycle,
    };
    let config = config::load(Some(&args.config_file), &flags)?;
    let specs = specs::load_under(&config.specs, &config.spec_settings());
    let errors = report_diagnostics(&specs);
    let source = Source { config_file: args.config_file, flags };
    runtime()?.block_on(async {
        let (stop, hangup) = (stop_signal()?, signal(SignalKind::hangup())?);
        let daemon = Daemon::build(config, specs.slos, errors, Some(source)).await?;
        tokio::spawn(reload_at(hangup, daemon.shared()));
        daemon.run(stop).await
    })?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn demo(args: &DemoArgs) -> anyhow::Result<ExitCode> {
    // The table owns the terminal; what must be said is said by it.
    start_log(LevelFilter::ERROR);
    let data = tempfile::tempdir().context("cannot make a directory for the demonstration's state")?;
    let flags = Flags {
        listen_address: Some(args.listen_address.clone()),
        storage_path: Some(data.path().to_owned()),
        ..Flags::default()
    };
    let config = config::load(None, &flags)?;
    // The demonstration has one sender, which delivers an hour of history first, all series together.
    let ingest = ingest::Config { warm_up: Duration::ZERO, late_after: HISTORY * 2, ..config.ingest };
    let engine = engine::Config { delay: Duration::from_secs(1), ..config.engine };
    let config = Config { ingest, engine, ..config };
    let specs = spec::read("config/demo-slos.yaml", demo::SLOS);
    let errors = report_diagnostics(&specs);
    runtime()?.block_on(async {
        let stop = stop_signal()?;
        let daemon = Daemon::build(config, specs.slos, errors, None).await?;
        let view = view_of(&daemon)?;
        let running = tokio::spawn(daemon.run(stop.clone()));
        demo::run(view, stop).await?;
        running.await?
    })?;
    Ok(ExitCode::SUCCESS)
}

fn view_of(daemon: &Daemon) -> anyhow::Result<demo::Demo> {
    let address = daemon.local_address()?;
    let shared = daemon.shared();
    Ok(demo::Demo {
        write_url: format!("http://{address}/api/v1/write").parse()?,
        urls: vec![
            format!("http://{address}/metrics   the SLOs as Prometheus sees them"),
            format!("http://{address}/          what else there is"),
        ],
        clock: Arc::new(SystemClock::default()),
        latest_report: Box::new(move || shared.report().unwrap_or_default().snapshot()),
        is_terminal: io::stdout().is_terminal(),
    })
}

fn start_log(level: LevelFilter) {
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr)
        .with_target(false)
        .init();
}

/// Logs what is wrong with the specs; returns how many errors there are.
fn report_diagnostics(specs: &spec::Specs) -> usize {
    let mut errors = 0;
    for diagnostic in &specs.diagnostics {
        if diagnostic.is_error() {
            errors += 1;
            tracing::error!("not served: {diagnostic}");
        } else {
            tracing::warn!("{diagnostic}");
        }
    }
    tracing::info!(slos = specs.slos.len(), errors, "specs read");
    errors
}

fn runtime() -> anyhow::Result<Runtime> {
    Runtime::new().context("cannot start the asynchronous runtime")
}

/// Reads the specs anew at every SIGHUP.
async fn reload_at(mut hangup: Signal, shared: Arc<Shared>) {
    while hangup.recv().await.is_some() {
        let shared = Arc::clone(&shared);
        // Whether it worked is in the log and the metrics.
        let _ = tokio::task::spawn_blocking(move || shared.reload()).await;
    }
}

/// Turns true at SIGTERM or SIGINT.
fn stop_signal() -> anyhow::Result<watch::Receiver<bool>> {
    let (mut term, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! {
            _ = term.recv() => (),
            _ = interrupt.recv() => (),
        }
        sender.send_replace(true);
        // Alive until the process ends: a closed channel would look like a signal.
        std::future::pending::<()>().await;
    });
    Ok(receiver)
}
