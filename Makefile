# `make demo` and `make test` do everything that is needed on a fresh Debian 12 with a Rust toolchain, as root.

.PHONY: demo test build lint bench help

help: ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  \1\t/'

demo: ## build and run examples/hello, and say what came out
	@tools/demo

test: ## every check and every test
	@tools/test

build: ## the release binary: target/release/plimsoll
	@tools/install-deps build
	cargo build --release --locked

bench: build ## compare building with Docker and Buildah, where they are on the PATH
	@tools/install-deps basekit
	@bench/build

lint: ## formatting and clippy only
	@tools/install-deps build
	@tools/test lint
