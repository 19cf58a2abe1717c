import { serve } from '@hono/node-server';
import { logger, onStop, settings } from '@monorepo/service';
import { app } from './app.js';

const { port, apiUrl } = settings(process.env);
const log = logger('web');
const server = serve({ fetch: app(apiUrl, log).fetch, port }, (address) => {
  log.info({ port: address.port, apiUrl }, 'listening');
});

onStop(
  log,
  () =>
    new Promise((resolve) => {
      server.close(() => resolve());
      if ('closeAllConnections' in server) server.closeAllConnections();
    }),
);
