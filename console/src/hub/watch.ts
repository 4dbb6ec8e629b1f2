import { Code, ConnectError } from '@connectrpc/connect';
import type { QueryClient } from '@tanstack/react-query';
import type { Event } from '../gen/tidemark/admin/v1/admin_pb';
import { streamDown, streamUp, currentLive } from './live';
import { throttle } from './throttle';

const POLL = 5_000;
const SILENCE = 40_000; // the hub says something every 15 s

/** Which queries an event makes stale: the first words of their keys. */
export function staleKeys(kind: string, id: string): string[][] {
  switch (kind) {
    case 'tick':
      return [['overview']];
    case 'device':
      return [['overview'], ['fleet'], id ? ['device', id] : ['device']];
    case 'fleet':
      return [['overview'], ['fleet'], ['device']];
    case 'conflicts':
      return [['overview'], ['conflicts']];
    case 'quarantine':
      return [['overview'], ['quarantine'], ['fleet']];
    case 'data':
      return [['data']];
    case 'people':
      return [['people'], ['state']];
    default:
      return [];
  }
}

/** All that a person may be looking at: what is asked again when there is no stream. */
const everything = [['overview'], ['fleet'], ['device'], ['conflicts'], ['quarantine'], ['people']];

type Open = (signal: AbortSignal) => AsyncIterable<Event>;

/**
 * watch listens to the hub's events until the signal ends, and has queries asked again as
 * they come: each kind at once, then at most as often as its answers take (a fleet of
 * 10,000 changes all the time). When the stream fails it asks every 5 s, and tries again.
 */
export async function watch(open: Open, client: QueryClient, signal: AbortSignal): Promise<void> {
  const ask = throttle((key: string) => client.invalidateQueries({ queryKey: JSON.parse(key) as string[] }), 1_000);
  let pause = 1_000;
  while (!signal.aborted) {
    try {
      await listen(open, signal, (e) => {
        if (currentLive().mode !== 'live') {
          streamUp();
          everything.forEach((k) => ask(JSON.stringify(k)));
        }
        pause = 1_000;
        staleKeys(e.kind, e.id).forEach((k) => ask(JSON.stringify(k)));
      });
    } catch (e) {
      if (signal.aborted) return;
      if (ConnectError.from(e).code === Code.Unauthenticated) {
        void client.invalidateQueries({ queryKey: ['state'] });
      }
    }
    if (signal.aborted) return;
    streamDown();
    await poll(client, pause, signal);
    pause = Math.min(pause * 2, 30_000);
  }
}

async function listen(open: Open, signal: AbortSignal, take: (e: Event) => void) {
  const own = new AbortController();
  const stop = () => own.abort();
  signal.addEventListener('abort', stop);
  let timer = setTimeout(stop, SILENCE);
  try {
    for await (const e of open(own.signal)) {
      clearTimeout(timer);
      timer = setTimeout(stop, SILENCE);
      take(e);
    }
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', stop);
  }
}

/** poll asks again every 5 s for about the time until the stream is tried again. */
async function poll(client: QueryClient, pause: number, signal: AbortSignal) {
  let left = pause;
  while (left > 0 && !signal.aborted) {
    const step = Math.min(left, POLL);
    await new Promise((ok) => setTimeout(ok, step));
    left -= step;
    if (signal.aborted) return;
    await Promise.all(everything.map((queryKey) => client.invalidateQueries({ queryKey })));
  }
}
