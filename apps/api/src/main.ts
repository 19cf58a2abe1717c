import { logger, onStop, settings } from '@monorepo/service';
import { server } from './server.js';

const { port } = settings(process.env);
const log = logger('api');
const app = server(log);
onStop(log, () => app.close());
await app.listen({ port, host: '0.0.0.0' });
