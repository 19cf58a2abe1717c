import { createServer } from 'node:http';
import { pino, type Logger } from 'pino';

export type { Logger } from 'pino';

/** What the environment says, with the defaults for a local run. */
export interface Settings {
  port: number;
  apiUrl: string;
}

export function settings(env: NodeJS.ProcessEnv): Settings {
  const port = Number(env['PORT'] ?? 8080);
  if (!Number.isInteger(port) || port < 0 || port > 65_535) {
    throw new Error(`PORT must be a number from 0 to 65535, not "${env['PORT']}"`);
  }
  return { port, apiUrl: (env['API_URL'] ?? 'http://127.0.0.1:8080').replace(/\/+$/, '') };
}

/** JSON lines on standard output, each with the service's name. */
export function logger(service: string, level = process.env['LOG_LEVEL'] ?? 'info'): Logger {
  return pino({ level, base: { service }, timestamp: pino.stdTimeFunctions.isoTime });
}

/**
 * Calls `stop` once on SIGTERM or SIGINT and ends the process when it is done, or after `graceMs`: a container that
 * ignores its stop signal costs every deploy ten seconds.
 */
export function onStop(log: Logger, stop: () => Promise<void>, graceMs = 1_500): void {
  let stopping = false;
  const handle = (signal: NodeJS.Signals): void => {
    if (stopping) return;
    stopping = true;
    log.info({ signal }, 'stopping');
    setTimeout(() => {
      log.warn({ graceMs }, 'not stopped in time');
      process.exit(1);
    }, graceMs).unref();
    stop().then(
      () => {
        log.info('stopped');
        process.exit(0);
      },
      (err: unknown) => {
        log.error({ err }, 'failed to stop');
        process.exit(1);
      },
    );
  };
  process.on('SIGTERM', handle);
  process.on('SIGINT', handle);
}

/** A running health endpoint, for services that serve nothing else. */
export interface HealthServer {
  port: number;
  close(): Promise<void>;
}

/** Answers `GET /healthz` with `status()` on `port`; 0 picks a free one. */
export async function serveHealth(port: number, status: () => object): Promise<HealthServer> {
  const server = createServer((request, response) => {
    const known = request.method === 'GET' && request.url === '/healthz';
    response.writeHead(known ? 200 : 404, { 'content-type': 'application/json' });
    response.end(JSON.stringify(known ? { status: 'ok', ...status() } : { error: 'not found' }));
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, resolve);
  });
  const address = server.address();
  return {
    port: typeof address === 'object' && address !== null ? address.port : port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
