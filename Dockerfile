# The image of every role: one binary, the four shared libraries that it needs, and the
# certificate authorities. No shell.
#
#   docker build -t hexagram:dev .
#
# Where no Rust image can be pulled it takes a binary that was built outside, for this
# architecture and a C library no newer than the base's:
#
#   docker build -t hexagram:dev --build-arg RUST_IMAGE=debian:bookworm-slim \
#       --build-arg BINARY=dist/hexagram --build-arg CERTIFICATES=dist/ca-certificates.crt .

# Has cargo, a C compiler and certificate authorities; with BINARY and CERTIFICATES given, any that has cp.
ARG RUST_IMAGE=rust:1-bookworm
# Its C library is the one in the image: no older than the builder's.
ARG BASE_IMAGE=debian:bookworm-slim

# One stage for both ways: a classic builder builds every stage, needed or not.
FROM ${RUST_IMAGE} AS build
ARG BINARY=
ARG CERTIFICATES=
WORKDIR /src
COPY . .
RUN if [ -z "$BINARY" ]; then \
        CARGO_PROFILE_RELEASE_STRIP=symbols cargo build --locked --release -p hexagram && \
        BINARY=target/release/hexagram; \
    fi && \
    cp "$BINARY" /hexagram && chmod 0755 /hexagram && \
    cp "${CERTIFICATES:-/etc/ssl/certs/ca-certificates.crt}" /ca-certificates.crt && \
    chmod 0644 /ca-certificates.crt

FROM ${BASE_IMAGE} AS root
COPY --from=build /hexagram /image/usr/bin/hexagram
COPY --from=build /ca-certificates.crt /image/etc/ssl/certs/ca-certificates.crt
# The libraries under the names by which the loader looks for them. Without
# nsswitch.conf the C library asks DNS before /etc/hosts.
RUN cd /image && \
    libraries=$(ldd usr/bin/hexagram | grep -o '/[^ ]*') && \
    for library in $libraries; do cp -L --parents "$library" .; done && \
    echo 'hosts: files dns' >etc/nsswitch.conf && \
    echo 'hexagram:x:65532:65532::/:/usr/sbin/nologin' >etc/passwd && \
    echo 'hexagram:x:65532:' >etc/group

FROM scratch
ARG VERSION=
ARG REVISION=
LABEL org.opencontainers.image.title="Hexagram" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.description="One MCP endpoint for a whole fleet of clients: a stateless edge in front of sharded workers" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=root /image/ /
USER 65532:65532
# A library that is missing, or too old, fails the build and not the pod.
RUN ["/usr/bin/hexagram", "--version"]
EXPOSE 8080 9090 7100
ENTRYPOINT ["/usr/bin/hexagram"]
