# Two commands matter: `make up` (a cluster with an example app) and `make test` (everything).

.PHONY: up down test build images clean

up: build images
	scripts/up

down:
	scripts/down

test:
	scripts/test

build:
	scripts/build

images: build
	examples/images

clean:
	cargo clean
	rm -rf .orlop
