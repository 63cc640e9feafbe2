# What people do with this repository: `make run`, `make test`, `make install`, `make bench`.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := build

PREFIX ?= /usr/local
CARGO ?= cargo
TARGET_DIR := $(abspath $(or $(CARGO_TARGET_DIR),target))
SHOAL := $(TARGET_DIR)/release/shoal

# The binary's programs that get a link of their own name.
PROGRAMS := nsqd nsq_tail

# Besides these, tests need packages; as root `make test` installs the missing ones.
TOOLCHAINS := cargo cc go node python3
# Each is the command that is looked for, and the package that has it.
APT_PACKAGES := git:git npm:npm ensurepip:python3-venv

.PHONY: build run test test-needs lint unit blackbox install bench clean

build:
	$(CARGO) build --release --locked

run: build
	exec $(SHOAL)

test: test-needs lint unit blackbox

# Says what is missing, or installs it where that is allowed.
test-needs:
	@for tool in $(TOOLCHAINS); do
	    command -v $$tool >/dev/null || { echo "make test needs $$tool" >&2; exit 1; }
	done
	missing=()
	for need in $(APT_PACKAGES); do
	    case $${need%%:*} in
	    ensurepip) python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=($${need##*:}) ;;
	    *) command -v $${need%%:*} >/dev/null || missing+=($${need##*:}) ;;
	    esac
	done
	if (($${#missing[@]} == 0)); then
	    exit 0
	fi
	if [[ $$(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
	    echo "make test needs these packages: $${missing[*]}" >&2
	    exit 1
	fi
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$${missing[@]}"

lint:
	$(CARGO) fmt --all -- --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	if command -v cargo-deny >/dev/null; then $(CARGO) deny check; fi

unit:
	$(CARGO) test --workspace --exclude shoal-tests --locked

# The built binary, from outside, and with the clients that people use.
blackbox: build
	tests/clients/setup
	SHOAL_BIN=$(SHOAL) $(CARGO) test -p shoal-tests --locked

install: build
	install -D -m 755 $(SHOAL) $(DESTDIR)$(PREFIX)/bin/shoal
	for program in $(PROGRAMS); do
	    ln -sfn shoal $(DESTDIR)$(PREFIX)/bin/$$program
	done

# For example BENCH="--peer /usr/local/bin/nsqd --floor".
bench: build
	$(CARGO) build --release --locked -p perf
	$(TARGET_DIR)/release/perf --shoal $(SHOAL) $(BENCH)

clean:
	$(CARGO) clean

# A recipe is one script, so that its loops can be read; the steps of `test` keep their order.
.ONESHELL:
.NOTPARALLEL:
