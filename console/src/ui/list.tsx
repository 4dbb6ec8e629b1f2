import { useEffect, useRef, useState } from 'react';
import { useKeys, type Binding } from '../keys/keys';

export interface Cursor {
  at: number;
  set: (i: number) => void;
}

/**
 * useCursor moves through a list by j, k, arrows, Home and End, and opens by Enter. When
 * the list changes the cursor stays on the same thing, by id.
 */
export function useCursor(ids: string[], opts: { title: string; open: (id: string) => void; follow?: boolean; current?: string; more?: Binding[]; reveal?: (i: number) => void }): Cursor {
  const [id, setId] = useState<string>(opts.current ?? '');
  const last = useRef(0);
  let at = ids.indexOf(opts.current || id);
  if (at < 0) at = id === '' && !opts.current ? -1 : Math.min(last.current, ids.length - 1);
  useEffect(() => {
    if (at >= 0) last.current = at;
  }, [at]);
  const set = (i: number) => {
    const next = ids[i];
    if (next === undefined) return;
    setId(next);
    opts.reveal?.(i);
    if (opts.follow) opts.open(next);
  };
  const move = (d: number) => set(Math.max(0, Math.min(ids.length - 1, at < 0 ? 0 : at + d)));
  useKeys(opts.title, [
    { keys: 'j, ArrowDown', label: 'next', run: () => move(1) },
    { keys: 'k, ArrowUp', label: 'previous', run: () => move(-1) },
    { keys: 'Home', label: 'first', run: () => set(0) },
    { keys: 'End', label: 'last', run: () => set(ids.length - 1) },
    { keys: 'Enter', label: 'open', run: () => ids[at] !== undefined && opts.open(ids[at]!) },
    ...(opts.more ?? []),
  ]);
  return { at, set };
}

/** useSelection is a set of ids that x selects; what left the list leaves the set. */
export function useSelection(ids: string[]): { has: (id: string) => boolean; toggle: (id: string) => void; clear: () => void; all: () => void; list: string[] } {
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const list = ids.filter((id) => chosen.has(id));
  return {
    has: (id) => chosen.has(id),
    toggle: (id) => {
      const next = new Set(chosen);
      if (!next.delete(id)) next.add(id);
      setChosen(next);
    },
    clear: () => setChosen(new Set()),
    all: () => setChosen(new Set(ids)),
    list,
  };
}
