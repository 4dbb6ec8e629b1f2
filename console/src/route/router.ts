import { useMemo, useSyncExternalStore } from 'react';

/**
 * Everything has an address: #/conflicts/ID?state=new. It lives in the fragment, which
 * never reaches the hub: the setup link's secret stays out of every log.
 */
export interface Route {
  parts: string[]; // of the path, decoded
  query: URLSearchParams;
}

export function parseRoute(hash: string): Route {
  const s = hash.replace(/^#?\/?/, '');
  const cut = s.indexOf('?');
  const path = cut < 0 ? s : s.slice(0, cut);
  return {
    parts: path.split('/').filter(Boolean).map(decode),
    query: new URLSearchParams(cut < 0 ? '' : s.slice(cut + 1)),
  };
}

function decode(s: string): string {
  try {
    return decodeURIComponent(s);
  } catch {
    return s;
  }
}

export type Query = Record<string, string | string[] | undefined>;

/** href makes an address; what is empty in the query is left out. */
export function href(parts: string[], query: Query = {}): string {
  const q = new URLSearchParams();
  for (const [k, v] of Object.entries(query)) {
    for (const one of Array.isArray(v) ? v : [v]) if (one) q.append(k, one);
  }
  const tail = q.toString();
  return '#/' + parts.map(encodeURIComponent).join('/') + (tail ? '?' + tail : '');
}

const changed = new Set<() => void>();
function subscribe(f: () => void) {
  changed.add(f);
  window.addEventListener('hashchange', f);
  window.addEventListener('popstate', f);
  return () => {
    changed.delete(f);
    window.removeEventListener('hashchange', f);
    window.removeEventListener('popstate', f);
  };
}

export function useRoute(): Route {
  const hash = useSyncExternalStore(subscribe, () => window.location.hash);
  return useMemo(() => parseRoute(hash), [hash]);
}

/** go shows another address; with replace the one left is forgotten (filters while typing). */
export function go(to: string, replace = false) {
  if (to === window.location.hash) return;
  if (replace) window.history.replaceState(null, '', to);
  else window.history.pushState(null, '', to);
  changed.forEach((f) => f());
}

/** setQuery changes some of the address's filters and keeps the rest. */
export function setQuery(change: Query) {
  const { parts, query } = parseRoute(window.location.hash);
  const next: Query = {};
  for (const k of new Set(query.keys())) next[k] = query.getAll(k);
  go(href(parts, { ...next, ...change }), true);
}
