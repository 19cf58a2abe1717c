
# ── {name} ──
FROM base AS {name}-production
RUN --mount=type=bind,from=production,target=/manifests \
    --mount=type=cache,id=pnpm-store,target=/pnpm/store \
    --mount=type=secret,id=ca \
    install-closure production {package}

FROM {name}-production AS {name}-build
RUN --mount=type=bind,from=manifests,target=/manifests \
    --mount=type=cache,id=pnpm-store,target=/pnpm/store \
    --mount=type=secret,id=ca \
    install-closure everything {package}
RUN --mount=type=bind,from=sources,target=/sources \
    --mount=type=cache,id=builds,target=/builds \
    build-closure {package}

FROM runtime AS {name}
LABEL org.opencontainers.image.title="{name}"
COPY --link --from={name}-production /app /app
COPY --link --from={name}-build /out /app
WORKDIR /app/{folder}
CMD {command}
