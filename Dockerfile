# SPDX-License-Identifier: MIT
# Two stages: one that builds, one that runs with nothing but the libraries hati links.
FROM debian:12-slim AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends gcc libc6-dev cmake ninja-build pkg-config \
      python3 nodejs npm \
      libmicrohttpd-dev liblmdb-dev libjansson-dev libuv1-dev libxxhash-dev \
      nettle-dev libgnutls28-dev libcmocka-dev libpq-dev libmurmurhash-dev libedit-dev \
      libcurl4-gnutls-dev libsodium-dev libzstd-dev \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN cmake --preset release -DBUILD_TESTING=OFF -DHATI_DOCS=ON && cmake --build build --target hati \
 && strip --strip-debug build/hati

FROM debian:12-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends libmicrohttpd12 liblmdb0 libjansson4 \
      libuv1 libnettle8 libgnutls30 libpq5 libmurmurhash2 libedit2 \
      libcurl3-gnutls libsodium23 libzstd1 ca-certificates \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 6767 --home-dir /data --shell /usr/sbin/nologin hati \
 && install -d -o hati -g hati -m 0700 /data
COPY --from=build /src/build/hati /usr/local/bin/hati
USER hati
VOLUME /data
ENV HATI_DATA_DIR=/data
EXPOSE 4242 6767
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s CMD ["hati", "healthcheck"]
ENTRYPOINT ["hati"]
CMD ["start"]
