# The one entry point. "make" alone lists what there is.
SHELL := /bin/bash
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
# Where tools and the lab's programs are kept: outside of the work tree, for all of its clones.
export HOLDFAST_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/holdfast
export PATH := $(PATH):$(HOLDFAST_CACHE)/tools/bin
export CARGO_TERM_COLOR ?= never

# Test programs that no bare `cargo test` runs; cargo's --all-targets leaves them out.
APART = --test e2e --test chaos --test bench_ha

# --- what every change must pass; nothing here writes to the work tree ---

VERIFY = \
	'formatting: cargo fmt --check' \
	'scripts: tests/check-scripts' \
	'lints: cargo clippy --locked --all-targets -- -D warnings && cargo clippy --locked $(APART) -- -D warnings' \
	'documentation: RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items' \
	'generated files: deploy/generate --check' \
	'licences and bans: cargo deny --locked check bans licenses sources'

# Thousands of seeds want an optimised program: the image's profile and target, whose crates are built anyway.
FAST = --profile fast --target $(shell uname -m)-unknown-linux-musl

# What is measured for the books is what is published: a release, with its minutes of link-time optimisation.
RELEASE = --release --target $(shell uname -m)-unknown-linux-musl

SIMULATION = cargo test --locked $(FAST) --test simulation -- --nocapture

CHAOS = cargo test --locked --test chaos --

TEST = \
	'!tools: tests/tools all' \
	'!lab programs: tests/lab/lab prepare' \
	'!storage servers: tests/servers/all' \
	$(VERIFY) \
	'tests: HOLDFAST_SIM_SEEDS=300 cargo test --locked --no-fail-fast' \
	'lab: tests/lab/selftest' \
	'chaos: tests/chaos/each 1' \
	'chaos, wrong variants: $(CHAOS) --wrong yes --backend postgresql' \
	'!image: deploy/image/build' \
	'simulation: HOLDFAST_SIM_SEEDS=10000 $(SIMULATION)' \
	'end to end: tests/e2e/run short'

## demo        a vault cluster on a Kubernetes of its own, from nothing (as root)
.PHONY: demo
demo:
	@tests/lab/demo

## test        everything that continuous integration runs (as root); minutes per stage at the end
.PHONY: test
test:
	@tests/run-stages $(TEST)

## verify      formatting, lints, documentation, generated files, licences; changes nothing
.PHONY: verify
verify:
	@tests/tools deny
	@tests/run-stages $(VERIFY)

## fix         what verify finds and a program can repair
.PHONY: fix
fix: generate
	cargo clippy --fix --allow-dirty --allow-staged --all-targets
	cargo clippy --fix --allow-dirty --allow-staged $(APART)
	cargo fmt

## generate    write the generated files again (crds/, the chart's CRDs, deploy/)
.PHONY: generate
generate:
	@deploy/generate

## image       build/holdfast-image.tar: the static program as an OCI image, without a container engine
.PHONY: image
image:
	@tests/tools image
	@deploy/image/build

## lab-up      a Kubernetes of one control plane and three nodes on this machine (LAB=name, NODES=3)
.PHONY: lab-up
lab-up:
	@tests/lab/lab prepare
	@tests/lab/lab up

## lab-down    end it and leave nothing behind (LAB=demo: the demo's)
.PHONY: lab-down
lab-down:
	@tests/lab/lab down

## e2e         every test on a real Kubernetes at full length; results in docs/results/
.PHONY: e2e
e2e: image
	@tests/lab/lab prepare
	@tests/e2e/run full

## e2e-short   the same, one round and a sample: what make test runs
.PHONY: e2e-short
e2e-short: image
	@tests/lab/lab prepare
	@tests/e2e/run short

## conformance every storage and lock on its real servers, law by law, as a table
.PHONY: conformance
conformance:
	@tests/servers/all
	@cargo test --locked --test storage -- table --nocapture

## sim         the seeded simulation (SEEDS=10000)
.PHONY: sim
sim:
	@tests/tools image
	@HOLDFAST_SIM_SEEDS=$(or $(SEEDS),10000) $(SIMULATION)

## chaos       three servers on a real storage while everything fails (BACKEND=kubernetes, LOCK=type, MINUTES=1, SEED=n, ONLY=kinds)
.PHONY: chaos
chaos:
	@case "$(or $(BACKEND),kubernetes) $(LOCK)" in *kubernetes*) tests/lab/lab prepare ;; esac
	@$(CHAOS) --backend $(or $(BACKEND),kubernetes) --minutes $(or $(MINUTES),1) \
		$(if $(LOCK),--lock $(LOCK)) $(if $(SEED),--seed $(SEED)) $(if $(ONLY),--only $(ONLY))

## bench-ha    failover, commits and reads on every storage, measured and judged (BACKEND=types, ROUNDS=20, ONLY=parts)
.PHONY: bench-ha
bench-ha:
	@tests/tools image
	@tests/lab/lab prepare
	@tests/servers/all
	@cargo test --locked $(RELEASE) --test bench_ha -- --rounds $(or $(ROUNDS),20) $(if $(BACKEND),--backend $(BACKEND)) $(if $(ONLY),--only $(ONLY))

## chaos-wrong whether chaos sees clusters that are wrong (BACKEND=postgresql)
.PHONY: chaos-wrong
chaos-wrong:
	@$(CHAOS) --wrong yes --backend $(or $(BACKEND),postgresql)

## bench       throughput and failover times, measured and judged
.PHONY: bench
bench: image
	@tests/lab/lab prepare
	@tests/e2e/run bench

## bench-large promotion with a million secrets and 100,000 tokens (BACKEND=etcd, postgresql or kubernetes)
.PHONY: bench-large
bench-large:
	@[ "$(or $(BACKEND),etcd)" != kubernetes ] || tests/lab/lab prepare
	@[ "$(or $(BACKEND),etcd)" = kubernetes ] || tests/servers/$(or $(BACKEND),etcd) >/dev/null
	@BACKEND=$(or $(BACKEND),etcd) cargo test --locked $(RELEASE) --test processes -- \
		promotion_of_a_large_vault --ignored --nocapture

## clean       what was built in this work tree (the cache stays: $HOLDFAST_CACHE)
.PHONY: clean
clean:
	rm -rf build
	cargo clean

.PHONY: help
help:
	@echo "Holdfast: highly available vault clusters on Kubernetes"
	@echo
	@sed -n 's/^## /  make /p' $(MAKEFILE_LIST)
	@echo
	@echo "Tools and the lab's programs are kept in $(HOLDFAST_CACHE)."
	@echo "The lab by hand: tests/lab/lab help; its guide: docs/lab.md"
