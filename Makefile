# The one door to every command: CI and people use the same. CI calls `make test` and nothing else.

.DEFAULT_GOAL := help
.PHONY: help run test test-slow test-peers test-deps check fmt fmt-check lint doc unit sim loom fuzz bench bench-peers schema rules dashboards clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## Start slod with a simulated shop and a live view of its SLOs (Ctrl-C ends it)
	cargo run --release --quiet -- demo

test: test-deps check unit ## Everything that CI runs: checks, tests, documentation tests

test-slow: loom ## What a release needs beyond `make test`: properties with 10,000 cases each, and loom
	PROPTEST_CASES=10000 cargo test --release --quiet --lib
	PROPTEST_CASES=10000 cargo test --release --quiet --test it -- accuracy oracle
	PROPTEST_CASES=400 cargo test --release --quiet --test it -- promql::
	CRASH_KILLS=200 cargo test --release --quiet --test it -- crash a_killed_slod
	SIM_RUNS=1000 cargo test --release --quiet --test it -- sim::fresh_runs

test-peers: test-deps ## Tests beside a Prometheus 3 and the real Sloth (needs Go; builds them once, 15 minutes)
	PROMETHEUS_3="$$(scripts/install-peers prometheus)" SLOTH="$$(scripts/install-peers sloth)" \
		cargo test --quiet --test peers
	PROMETHEUS_3="$$(scripts/install-peers prometheus)" cargo test --quiet --test it -- senders

test-deps: ## Install what the tests drive: Prometheus, Alertmanager and VictoriaMetrics from Debian
	scripts/install-test-deps

check: fmt-check lint doc ## Format, lints and documentation, without running anything

fmt: ## Format the code
	cargo fmt

fmt-check:
	cargo fmt --check

lint: ## Clippy on all targets; a warning is an error
	cargo clippy --all-targets --quiet -- -D warnings
	cargo clippy --test peers --quiet -- -D warnings

doc: ## Build the documentation, private items included; a broken link is an error
	RUSTDOCFLAGS='-D warnings' cargo doc --no-deps --document-private-items --quiet

unit: ## All tests, without installing or checking anything first (logs: target/e2e-logs)
	cargo test --quiet

sim: ## Run slod in a world that fails on purpose: SEED (new ones), SIM_RUNS (1, or 3 new ones), SIM_STEPS (1800 s)
	SIM_SEED=$(SEED) SIM_RUNS=$(SIM_RUNS) SIM_STEPS=$(SIM_STEPS) \
		cargo test --quiet --test it -- --nocapture sim::fresh_runs

loom: ## Explore the interleavings of threads that count and the owner that closes slots
	RUSTFLAGS='--cfg slod_loom' cargo test --release --lib --target-dir target/loom -- window::model

fuzz: ## Try bodies that nobody would write, FUZZ_SECONDS (60) per fuzzer (needs nightly and cargo-fuzz)
	scripts/fuzz

bench: ## Run the benchmarks
	cargo bench

bench-peers: test-deps ## Measure slod beside Prometheus, VictoriaMetrics and vmagent (some 5 minutes; ARGS=--help)
	cargo bench --quiet --bench peers -- $(ARGS)

schema: ## Write config/slo.schema.json anew
	cargo run --quiet -- schema > target/slo.schema.json
	mv target/slo.schema.json config/slo.schema.json

rules: ## Write config/rules anew
	cargo run --quiet -- rules > target/slod.rules.yml
	cargo run --quiet -- rules --format prometheus-operator > target/slod.prometheusrule.yml
	mv target/slod.rules.yml target/slod.prometheusrule.yml config/rules/

dashboards: ## Write config/grafana anew
	cargo run --quiet -- dashboards config/grafana

clean: ## Remove everything that was built
	cargo clean
	cargo clean --manifest-path fuzz/Cargo.toml
