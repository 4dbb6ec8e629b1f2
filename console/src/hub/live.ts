import { useSyncExternalStore } from 'react';

/**
 * How the page hears of news: by the hub's stream, by asking every few seconds when the
 * stream fails, or not at all when the hub does not answer.
 */
export type Mode = 'starting' | 'live' | 'polling' | 'away';
export interface Live {
  mode: Mode;
  heardAt: number; // ms, this machine's clock; 0: never
  why: string;
}

let live: Live = { mode: 'starting', heardAt: 0, why: '' };
const listeners = new Set<() => void>();

function set(next: Partial<Live>) {
  const was = live;
  live = { ...live, ...next };
  if (was.mode !== live.mode || was.why !== live.why) listeners.forEach((f) => f());
}

let streaming = false;

/** heard notes that the hub answered something. */
export function heard() {
  set({ heardAt: Date.now(), mode: live.mode === 'away' ? (streaming ? 'live' : 'polling') : live.mode, why: '' });
}

/** missed notes that it did not. What is shown stays as of the last time it did. */
export function missed(why: string) {
  streaming = false;
  set({ mode: 'away', why });
}

export function streamUp() {
  streaming = true;
  set({ mode: 'live', heardAt: Date.now(), why: '' });
}

export function streamDown() {
  streaming = false;
  if (live.mode !== 'away') set({ mode: 'polling' });
}

export function currentLive(): Live {
  return live;
}

export function useLive(): Live {
  return useSyncExternalStore(
    (f) => {
      listeners.add(f);
      return () => listeners.delete(f);
    },
    () => live,
  );
}

// ---- the hub's clock ----

let offset = 0;

/** setHubTime notes what time it is at the hub: ages are told by its clock, not by this machine's. */
export function setHubTime(ms: number) {
  offset = ms - Date.now();
}
export function hubNow(): number {
  return Date.now() + offset;
}
