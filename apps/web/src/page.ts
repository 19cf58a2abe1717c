import type { Job } from '@monorepo/contract';
import { html } from 'hono/html';

/** The page: the jobs, or why they cannot be shown. Everything in it is escaped. */
export function page(jobs: readonly Job[], problem?: string) {
  return html`<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8" />
    <meta http-equiv="refresh" content="2" />
    <title>Jobs</title>
    <style>
      body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; }
      table { border-collapse: collapse; width: 100%; }
      th, td { border-bottom: 1px solid #ddd; padding: 0.25rem 0.5rem; text-align: left; overflow-wrap: anywhere; }
      .done { color: #176f2c; } .failed, [role='alert'] { color: #b3261e; }
    </style>
  </head>
  <body>
    <h1>Jobs</h1>
    ${problem === undefined ? '' : html`<p role="alert">${problem}</p>`}
    <table>
      <thead><tr><th>#</th><th>Kind</th><th>Status</th><th>Worker</th><th>Result</th></tr></thead>
      <tbody>${jobs.map(row)}</tbody>
    </table>
  </body>
</html>`;
}

function row(job: Job) {
  return html`
        <tr><td>${job.id}</td><td>${job.kind}</td><td class="${job.status}">${job.status}</td><td>${job.worker ?? ''}</td><td>${job.output ?? job.error ?? ''}</td></tr>`;
}
